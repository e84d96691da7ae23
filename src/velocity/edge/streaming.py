"""Content that is sent while it is made, until the client goes away."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from velocity.edge.channel import ClientDisconnectedError

if TYPE_CHECKING:
    from velocity.edge.exchange import Exchange
    from velocity.edge.responses import EdgeResponse, Pieces

__all__ = ["StreamContent", "closing", "until_disconnected"]

_END = object()


@asynccontextmanager
async def until_disconnected(exchange: Exchange) -> AsyncIterator[Callable[[Callable[[], Awaitable[None]]], None]]:
    """Cancel what is inside when the client goes away, which is no error.

    Yields:
        A function that starts another task, which ends with this.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as group:

        async def run(task: Callable[[], Awaitable[None]]) -> None:
            with suppress(ClientDisconnectedError):
                await task()
            group.cancel_scope.cancel()

        def start(task: Callable[[], Awaitable[None]]) -> None:
            group.start_soon(run, task)

        start(exchange.channel.disconnected)
        try:
            yield start
        except ClientDisconnectedError:
            pass
        except Exception as error:
            failure = error  # raised below, as it is and not in a group
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


def closing(source: AsyncIterable[Any]) -> Any:
    """A context in which a generator is used, after which it is closed, wherever it stands."""
    return aclosing(source) if isinstance(source, AsyncGenerator) else nullcontext(source)


class StreamContent:
    """Pieces as they come."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    async def send(self, response: EdgeResponse, exchange: Exchange) -> None:
        """Send the head, and every piece when it is there."""
        source = self._pieces if isinstance(self._pieces, AsyncIterable) else _in_thread(iter(self._pieces))
        await exchange.start(response.status, response.headers.raw)
        async with closing(source) as pieces:
            if exchange.bodiless:
                await exchange.body(b"", more=False)
                return
            async with until_disconnected(exchange):
                async for piece in pieces:
                    if piece:
                        await exchange.body(piece.encode() if isinstance(piece, str) else bytes(piece), more=True)
                await exchange.body(b"", more=False)


async def _in_thread(pieces: Iterator[bytes | str]) -> AsyncGenerator[bytes | str, None]:
    while True:
        piece = await to_thread.run_sync(next, pieces, _END)
        if piece is _END:
            return
        yield piece  # type: ignore[misc]  # what is not the end is a piece
