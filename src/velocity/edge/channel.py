"""What a client sends: the body of its request in pieces, and then that it went away.

ASGI has one stream of messages for both, and an answer that is being streamed must notice the one while the handler
may still read the other. So there is one reader of the stream; whoever pulls a message that is not for them leaves it
here, one at a time, which bounds what is held.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from velocity.edge.types import Receive

__all__ = ["Channel", "ClientDisconnectedError"]


class ClientDisconnectedError(Exception):
    """The client went away before its request was complete."""


class Channel:
    """The incoming side of one request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._lock: anyio.Lock | None = None
        self._pieces: deque[bytes] = deque()
        self._taken: anyio.Event | None = None
        self._complete = False
        self._gone = False

    async def piece(self) -> bytes | None:
        """The next piece of the body, None after the last.

        Raises:
            ClientDisconnectedError: there will be no more, though there should be.
        """
        while True:
            if self._pieces:
                piece = self._pieces.popleft()
                if self._taken is not None:
                    self._taken.set()
                if piece:
                    return piece
            elif self._complete:
                return None
            elif self._gone:
                raise ClientDisconnectedError("the client went away before its request was complete")
            else:
                await self._pull(for_body=True)

    async def disconnected(self) -> None:
        """Return once the client is gone."""
        while not self._gone:
            if self._pieces and not self._complete:
                self._taken = anyio.Event()
                await self._taken.wait()
            else:
                await self._pull(for_body=False)

    async def _pull(self, *, for_body: bool) -> None:
        # Most requests have one reader, and none of this is made for them before it is needed.
        self._lock = self._lock or anyio.Lock(fast_acquire=True)
        async with self._lock:
            # Somebody else may have pulled it meanwhile.
            if self._gone or (self._pieces if not self._complete else for_body):
                return
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone = True
            elif message["type"] == "http.request":
                self._pieces.append(message.get("body", b""))
                self._complete = not message.get("more_body", False)
