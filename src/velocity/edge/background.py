"""What is done after an answer is sent."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any, ParamSpec

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BackgroundTasks"]

P = ParamSpec("P")

_log = logging.getLogger("velocity.edge")


class BackgroundTasks:
    """Functions to call once the answer is sent, in order; a handler with such a parameter gets those of its answer.

    One that fails is told in the log, and the others go on.
    """

    def __init__(self) -> None:
        self._tasks: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def add(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function later; one that is not asynchronous is called in a thread."""
        self._tasks.append((function, args, kwargs))

    def extend(self, other: BackgroundTasks) -> None:
        """Take over what another has to do."""
        self._tasks += other._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self) -> None:
        """Call all of them."""
        for function, args, kwargs in self._tasks:
            try:
                if inspect.iscoroutinefunction(function):
                    await function(*args, **kwargs)
                else:
                    result = await to_thread.run_sync(functools.partial(function, *args, **kwargs))
                    if inspect.isawaitable(result):
                        await result
            except Exception:
                _log.exception("a background task failed: %s", getattr(function, "__qualname__", function))
