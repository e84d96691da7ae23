"""WebSockets (RFC 6455), as the handlers of `@app.websocket` have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from velocity.edge.requests import Connection
from velocity.edge.responses import encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from velocity.edge.app import EdgeApp
    from velocity.edge.responses import EdgeResponse
    from velocity.edge.types import Receive, Scope, Send

__all__ = ["WebSocket", "WebSocketDisconnect"]


class WebSocketDisconnect(Exception):  # noqa: N818 - it is how every conversation ends
    """The client is gone.

    Attributes:
        code: RFC 6455 section 7.4; 1005 where it said none.
        reason: what it said.
    """

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        super().__init__(f"the client closed the WebSocket with {code}{': ' if reason else ''}{reason}")
        self.code = code
        self.reason = reason


class WebSocket(Connection):
    """One WebSocket. What is received or sent before `accept` accepts it."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        app: EdgeApp,
        params: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, app, params)
        self._receive = receive
        self._send = send
        self._connected = False
        self._accepted = False
        self._closed = False

    @property
    def subprotocols(self) -> Sequence[str]:
        """What the client speaks, as it prefers."""
        return tuple(self.scope.get("subprotocols", ()))

    @property
    def accepted(self) -> bool:
        """Whether the handshake is done."""
        return self._accepted

    @property
    def closed(self) -> bool:
        """Whether either side has ended it."""
        return self._closed

    async def accept(self, subprotocol: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Complete the handshake.

        Args:
            subprotocol: one of `subprotocols`.
            headers: further fields of the answer.
        """
        from velocity.edge.headers import MutableHeaders

        await self._connect()
        self._accepted = True
        fields = MutableHeaders.of(headers).raw
        await self._say({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})

    async def refuse(self, response: EdgeResponse) -> None:
        """Refuse the handshake with an answer; servers without that extension of ASGI make 403 of it."""
        await self._connect()
        self._closed = True
        if "websocket.http.response" not in (self.scope.get("extensions") or {}) or not isinstance(
            response.content, bytes
        ):
            await self._say({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        response.headers.setdefault("content-length", str(len(response.content)))
        start = {"type": "websocket.http.response.start", "status": response.status, "headers": response.headers.raw}
        await self._say(start)
        await self._say({"type": "websocket.http.response.body", "body": response.content, "more_body": False})

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            WebSocketDisconnect: there will be none.
        """
        if not self._accepted:
            await self.accept()
        if self._closed:
            raise WebSocketDisconnect
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            raise WebSocketDisconnect(message.get("code") or 1005, message.get("reason") or "")
        text = message.get("text")
        return text if text is not None else bytes(message.get("bytes") or b"")

    async def receive_text(self) -> str:
        """The next message, which has to be text; the WebSocket is closed with 1003 otherwise.

        Raises:
            WebSocketDisconnect: there will be none.
        """
        message = await self.receive()
        if isinstance(message, str):
            return message
        await self.close(1003, "text is spoken here")
        raise WebSocketDisconnect(1003, "text is spoken here")

    async def receive_bytes(self) -> bytes:
        """The next message, as bytes.

        Raises:
            WebSocketDisconnect: there will be none.
        """
        message = await self.receive()
        return message.encode() if isinstance(message, str) else message

    async def receive_json(self) -> Any:
        """The next message as JSON; the WebSocket is closed with 1007 if it is none.

        Raises:
            WebSocketDisconnect: there will be none.
        """
        message = await self.receive()
        try:
            return from_json(message, allow_inf_nan=False)
        except ValueError:
            await self.close(1007, "JSON is spoken here")
            raise WebSocketDisconnect(1007, "JSON is spoken here") from None

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Messages until the client goes."""
        while True:
            try:
                message = await self.receive()
            except WebSocketDisconnect:
                return
            yield message

    async def send(self, message: str | bytes) -> None:
        """Send text or bytes.

        Raises:
            WebSocketDisconnect: the client is gone.
        """
        if not self._accepted:
            await self.accept()
        if self._closed:
            raise WebSocketDisconnect
        kind = "text" if isinstance(message, str) else "bytes"
        await self._say({"type": "websocket.send", kind: message})

    async def send_json(self, value: Any) -> None:
        """Send JSON of anything that pydantic can serialize, as text."""
        await self.send(encoded(value).decode())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End it; before `accept`, refuse it. A second time is nothing."""
        if self._closed:
            return
        await self._connect()
        self._closed = True
        await self._say({"type": "websocket.close", "code": code, "reason": reason[:120]})

    async def _connect(self) -> None:
        """The first message says that there is somebody."""
        if not self._connected:
            self._connected = True
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._closed = True
                raise WebSocketDisconnect(message.get("code") or 1005)

    async def _say(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:
            self._closed = True
            raise WebSocketDisconnect(1006) from None
