"""The one piece of Python on the way of a request: a coroutine that calls the application, and sees how it ends."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any, Protocol

from velocity import _core
from velocity.asgi.loading import describe, own_lines
from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Bridge"]


class _Exchange(Protocol):
    """A request and its answer, as the core makes them."""

    @property
    def receive(self) -> Callable[[], Any]: ...
    @property
    def send(self) -> Callable[[dict[str, Any]], Any]: ...
    @property
    def is_gone(self) -> bool: ...
    @property
    def target(self) -> str: ...
    def finish(self) -> str | None: ...


class Bridge:
    """An application that the engine can ask, for as long as it is open.

    Args:
        application: speaks ASGI 3.
        name: for messages.
        state: of its lifespan; None without one.
        max_requests: after so many `enough` is called.
        enough: called once, from the event loop.
    """

    def __init__(
        self,
        application: Any,
        name: str,
        *,
        state: dict[str, Any] | None = None,
        max_requests: int | None = None,
        enough: Callable[[], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.core = _core.Application(
            _runner(application, name),
            _spawner(self._loop),
            self._loop,
            state=state,
            limit=max_requests,
            enough=enough,
        )
        self._loop.add_reader(self.core.fileno(), self.core.deliver)

    @property
    def running(self) -> int:
        """Requests that the application has not finished with."""
        return self.core.running

    def close(self) -> None:
        """Listen to the engine no more."""
        self._loop.remove_reader(self.core.fileno())


def _spawner(loop: asyncio.AbstractEventLoop) -> Callable[[Any], Any]:
    """What makes a task of a coroutine: where Python can, one that begins at once."""
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
        return functools.partial(asyncio.Task, loop=loop, eager_start=True)
    return loop.create_task


def _runner(application: Any, name: str) -> Callable[[_Exchange, dict[str, Any]], Coroutine[Any, Any, None]]:
    async def run(exchange: _Exchange, scope: dict[str, Any]) -> None:
        try:
            await application(scope, exchange.receive, exchange.send)
        except GeneratorExit:
            raise
        except BaseException as error:
            # Whatever it is, SystemExit included: it costs this request and nothing else.
            _failed(exchange, name, error)
        else:
            problem = exchange.finish()
            if problem is not None:
                logs.log("error", "app_failed", f"{name}: {problem}", request=exchange.target)

    return run


def _failed(exchange: _Exchange, name: str, error: BaseException) -> None:
    gone = exchange.is_gone
    exchange.finish()
    if isinstance(error, asyncio.CancelledError):
        logs.log("warn", "app_cancelled", f"{name} was told to give up", request=exchange.target)
    elif gone and isinstance(error, OSError):
        logs.log("debug", "app_interrupted", f"{name}: {describe(error)}", request=exchange.target)
    else:
        logs.log(
            "error",
            "app_failed",
            f"{name}: {describe(error)}",
            request=exchange.target,
            traceback="\n".join(own_lines(error)),
        )
