"""One request and its answer, as an ASGI application sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velocity.edge.channel import Channel, ClientDisconnectedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from velocity.edge.types import Message, Receive, Scope, Send

__all__ = ["Exchange"]


class Exchange:
    """What an answer is sent through.

    Attributes:
        started: whether the head of the answer is sent, after which nothing else can be said.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.channel = Channel(receive)
        self.started = False
        self._send = send

    @property
    def bodiless(self) -> bool:
        """Whether the answer has no content, whatever its header fields say (RFC 9110 section 9.3.2)."""
        return bool(self.scope["method"] == "HEAD")

    def offers(self, extension: str) -> bool:
        """Whether the server has an extension of ASGI, `http.response.pathsend`."""
        return extension in (self.scope.get("extensions") or {})

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head.

        Raises:
            ClientDisconnectedError: nobody is there to read it; `body` and `path` likewise.
        """
        self.started = True
        await self._say({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the content."""
        await self._say({"type": "http.response.body", "body": data, "more_body": more})

    async def path(self, path: str) -> None:
        """Have the server send a whole file."""
        await self._say({"type": "http.response.pathsend", "path": path})

    async def _say(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError as error:  # as servers tell it since version 2.4 of the HTTP part of ASGI
            raise ClientDisconnectedError("the client went away before its answer was complete") from error
