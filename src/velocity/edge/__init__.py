"""Edge applications: `EdgeApp`, an ASGI framework whose rules the data plane can carry out without Python."""

from velocity.edge.app import EdgeApp
from velocity.edge.background import BackgroundTasks
from velocity.edge.channel import ClientDisconnectedError
from velocity.edge.forms import Form, UploadFile
from velocity.edge.headers import Headers, MutableHeaders, Values
from velocity.edge.markers import Body, Cookie, Depends, FormData, Header, Path, Query
from velocity.edge.middleware import Middleware, Next
from velocity.edge.problems import HTTPProblem, RequestInvalid
from velocity.edge.requests import Address, EdgeRequest, Tls
from velocity.edge.responses import EdgeResponse
from velocity.edge.router import Router
from velocity.edge.sse import ServerSentEvent
from velocity.edge.websocket import WebSocket, WebSocketDisconnect

__all__ = [
    "Address",
    "BackgroundTasks",
    "Body",
    "ClientDisconnectedError",
    "Cookie",
    "Depends",
    "EdgeApp",
    "EdgeRequest",
    "EdgeResponse",
    "Form",
    "FormData",
    "HTTPProblem",
    "Header",
    "Headers",
    "Middleware",
    "MutableHeaders",
    "Next",
    "Path",
    "Query",
    "RequestInvalid",
    "Router",
    "ServerSentEvent",
    "Tls",
    "UploadFile",
    "Values",
    "WebSocket",
    "WebSocketDisconnect",
]
