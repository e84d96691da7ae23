"""The client: what to try, in which order, and what to make of the answers. Bytes move in the core.

Every public name is here, and imported when somebody asks for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from velocity.client.api import delete, get, head, options, patch, post, put, request, stream
    from velocity.client.asynchronous import AsyncClient
    from velocity.client.auth import Auth, BasicAuth, BearerAuth, DigestAuth, FunctionAuth, NetRCAuth
    from velocity.client.caching import Cache, DirectoryStore, MemoryStore
    from velocity.client.cookies import Cookies
    from velocity.client.easy import EasyClient, EasyClientConfig
    from velocity.client.exceptions import (
        BodyTooLarge,
        BodyTruncated,
        CertificateError,
        ClientError,
        ConnectError,
        ConnectTimeout,
        CookieConflict,
        DecodingError,
        DecompressionBomb,
        HeadersTooLarge,
        HTTPStatusError,
        InvalidURL,
        LocalProtocolError,
        NetworkError,
        PolicyError,
        PoolTimeout,
        ProtocolError,
        ProxyError,
        ReadError,
        ReadTimeout,
        RemoteProtocolError,
        RequestError,
        RequestNotRead,
        ResolveError,
        ResponseNotRead,
        StreamClosed,
        StreamConsumed,
        StreamError,
        TimeoutException,
        TLSError,
        TooManyRedirects,
        TransportError,
        UnsupportedProtocol,
        WriteError,
        WriteTimeout,
    )
    from velocity.client.headers import Headers
    from velocity.client.httpx_transport import AsyncHTTPXTransport, HTTPXTransport
    from velocity.client.mock import ASGITransport, MockTransport
    from velocity.client.negotiated import Negotiated
    from velocity.client.query import QueryParams
    from velocity.client.requests import Request
    from velocity.client.responses import Response
    from velocity.client.settings import Decompression, Limits, Proxy, Retry, Timeout
    from velocity.client.sync import Client
    from velocity.client.transport import AsyncBaseTransport, AsyncHTTPTransport, BaseTransport, HTTPTransport
    from velocity.client.uri import URL

_NAMES = {
    "api": ("delete", "get", "head", "options", "patch", "post", "put", "request", "stream"),
    "asynchronous": ("AsyncClient",),
    "auth": ("Auth", "BasicAuth", "BearerAuth", "DigestAuth", "FunctionAuth", "NetRCAuth"),
    "caching": ("Cache", "DirectoryStore", "MemoryStore"),
    "cookies": ("Cookies",),
    "easy": ("EasyClient", "EasyClientConfig"),
    "exceptions": (
        "BodyTooLarge", "BodyTruncated", "CertificateError", "ClientError", "ConnectError", "ConnectTimeout",
        "CookieConflict", "DecodingError", "DecompressionBomb", "HTTPStatusError", "HeadersTooLarge", "InvalidURL",
        "LocalProtocolError", "NetworkError", "PolicyError", "PoolTimeout", "ProtocolError", "ProxyError", "ReadError",
        "ReadTimeout", "RemoteProtocolError", "RequestError", "RequestNotRead", "ResolveError", "ResponseNotRead",
        "StreamClosed", "StreamConsumed", "StreamError", "TLSError", "TimeoutException", "TooManyRedirects",
        "TransportError", "UnsupportedProtocol", "WriteError", "WriteTimeout",
    ),
    "headers": ("Headers",),
    "httpx_transport": ("AsyncHTTPXTransport", "HTTPXTransport"),
    "mock": ("ASGITransport", "MockTransport"),
    "negotiated": ("Negotiated",),
    "query": ("QueryParams",),
    "requests": ("Request",),
    "responses": ("Response",),
    "settings": ("Decompression", "Limits", "Proxy", "Retry", "Timeout"),
    "sync": ("Client",),
    "transport": ("AsyncBaseTransport", "AsyncHTTPTransport", "BaseTransport", "HTTPTransport"),
    "uri": ("URL",),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "URL",
    "ASGITransport",
    "AsyncBaseTransport",
    "AsyncClient",
    "AsyncHTTPTransport",
    "AsyncHTTPXTransport",
    "Auth",
    "BaseTransport",
    "BasicAuth",
    "BearerAuth",
    "BodyTooLarge",
    "BodyTruncated",
    "Cache",
    "CertificateError",
    "Client",
    "ClientError",
    "ConnectError",
    "ConnectTimeout",
    "CookieConflict",
    "Cookies",
    "DecodingError",
    "Decompression",
    "DecompressionBomb",
    "DigestAuth",
    "DirectoryStore",
    "EasyClient",
    "EasyClientConfig",
    "FunctionAuth",
    "HTTPStatusError",
    "HTTPTransport",
    "HTTPXTransport",
    "Headers",
    "HeadersTooLarge",
    "InvalidURL",
    "Limits",
    "LocalProtocolError",
    "MemoryStore",
    "MockTransport",
    "Negotiated",
    "NetRCAuth",
    "NetworkError",
    "PolicyError",
    "PoolTimeout",
    "ProtocolError",
    "Proxy",
    "ProxyError",
    "QueryParams",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "Request",
    "RequestError",
    "RequestNotRead",
    "ResolveError",
    "Response",
    "ResponseNotRead",
    "Retry",
    "StreamClosed",
    "StreamConsumed",
    "StreamError",
    "TLSError",
    "Timeout",
    "TimeoutException",
    "TooManyRedirects",
    "TransportError",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
    "delete",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "request",
    "stream",
]

if not TYPE_CHECKING:  # or type checkers would believe that every name is there

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
