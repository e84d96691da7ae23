"""Server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from velocity.edge.responses import encoded
from velocity.edge.streaming import closing, until_disconnected

if TYPE_CHECKING:
    from velocity.edge.exchange import Exchange
    from velocity.edge.responses import EdgeResponse, Events

__all__ = ["EventContent", "ServerSentEvent"]

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event.

    Attributes:
        data: text; anything else is sent as JSON.
        event: its type; None is `message`.
        id: what `Last-Event-ID` will be after a reconnection.
        retry: milliseconds to wait before a reconnection.
    """

    data: Any = ""
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def encode(self) -> bytes:
        """As it is sent.

        Raises:
            ValueError: a type or an id with a line break.
        """
        lines = []
        for name, value in (("event", self.event), ("id", self.id)):
            if value is not None:
                if any(sign in value for sign in "\r\n\0"):
                    raise ValueError(f"the {name} of an event has a line break")
                lines.append(f"{name}: {value}")
        if self.retry is not None:
            lines.append(f"retry: {int(self.retry)}")
        text = self.data if isinstance(self.data, str) else encoded(self.data).decode()
        lines += (f"data: {line}" for line in _LINE_END.split(text))
        return ("\n".join(lines) + "\n\n").encode()


class EventContent:
    """Events as they come, and comments in between, by which proxies and clients know that the connection lives."""

    def __init__(self, events: Events, heartbeat: float | None) -> None:
        if heartbeat is not None and heartbeat <= 0:
            raise ValueError("a heartbeat takes time: seconds, or None for no heartbeat")
        self._events = events
        self._heartbeat = heartbeat

    async def send(self, response: EdgeResponse, exchange: Exchange) -> None:
        """Send the head, and every event when it is there."""
        await exchange.start(response.status, response.headers.raw)
        async with closing(self._events) as events:
            if exchange.bodiless:
                await exchange.body(b"", more=False)
                return
            turn = anyio.Lock()
            last = anyio.current_time()
            ended = False

            async def emit(data: bytes, *, more: bool = True) -> None:
                nonlocal last, ended
                async with turn:
                    if ended:  # a heartbeat waited for its turn meanwhile
                        return
                    ended = not more
                    await exchange.body(data, more=more)
                    last = anyio.current_time()

            async def beat(every: float) -> None:
                while True:
                    await anyio.sleep(max(last + every - anyio.current_time(), 0))
                    if anyio.current_time() >= last + every:
                        await emit(b":\n\n")

            async with until_disconnected(exchange) as start:
                if self._heartbeat is not None:
                    start(lambda: beat(self._heartbeat or 0))
                async for event in events:
                    one = event if isinstance(event, ServerSentEvent) else ServerSentEvent(event)
                    await emit(one.encode())
                await emit(b"", more=False)
