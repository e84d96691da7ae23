"""Start and stop of an application (the lifespan protocol of ASGI)."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from velocity.edge.injection import call

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.edge.app import EdgeApp
    from velocity.edge.types import Receive, Send

__all__ = ["Hooks", "Lifespan"]

H = TypeVar("H", bound="Callable[[], Any]")

Lifespan: TypeAlias = "Callable[[EdgeApp], AbstractAsyncContextManager[Any]]"


class Hooks:
    """What runs before the first request and after the last.

    Args:
        context: a context manager for the whole life; None has only functions.
    """

    def __init__(self, context: Lifespan | None) -> None:
        self._context = context
        self._startup: list[Callable[[], Any]] = []
        self._shutdown: list[Callable[[], Any]] = []

    def on_startup(self, function: H) -> H:
        """Call a function before the first request, in order."""
        self._startup.append(function)
        return function

    def on_shutdown(self, function: H) -> H:
        """Call a function after the last request, the last one first."""
        self._shutdown.append(function)
        return function

    async def enter(self, app: EdgeApp, stack: AsyncExitStack) -> None:
        """Start, and leave on the stack what stops it."""
        if self._context is not None:
            await stack.enter_async_context(self._context(app))
        for function in self._shutdown:
            stack.push_async_callback(call, function, {})
        for function in self._startup:
            await call(function, {})


async def serve(app: EdgeApp, receive: Receive, send: Send) -> None:
    """Speak the protocol: start when told to, stop when told to, and say so."""
    phase = "startup"
    try:
        async with AsyncExitStack() as stack:
            await receive()
            await app.enter(stack)
            await send({"type": "lifespan.startup.complete"})
            phase = "shutdown"
            await receive()
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        await send({"type": f"lifespan.{phase}.failed", "message": message})
        raise
    await send({"type": "lifespan.shutdown.complete"})
