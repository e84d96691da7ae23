"""Functions around handlers.

    @app.middleware
    async def timed(request: EdgeRequest, call_next: Next) -> EdgeResponse:
        begin = time.monotonic()
        response = await call_next(request)
        response.headers["server-timing"] = f"app;dur={(time.monotonic() - begin) * 1000:.1f}"
        return response

The first that is added is the outermost. What an inner one or the handler raises comes back as an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from velocity.edge.requests import EdgeRequest
from velocity.edge.responses import EdgeResponse

__all__ = ["Middleware", "Next", "chained"]

Next: TypeAlias = Callable[[EdgeRequest], Awaitable[EdgeResponse]]
Middleware: TypeAlias = Callable[[EdgeRequest, Next], Awaitable[EdgeResponse]]


def chained(middlewares: Sequence[Middleware], innermost: Next, guard: Callable[[Next], Next]) -> Next:
    """One function of many.

    Args:
        middlewares: the outermost first.
        innermost: what answers in the end.
        guard: makes an answer of what a function raises.
    """
    chain = guard(innermost)
    for middleware in reversed(middlewares):
        chain = guard(_around(middleware, chain))
    return chain


def _around(middleware: Middleware, inner: Next) -> Next:
    async def run(request: EdgeRequest) -> EdgeResponse:
        response = await middleware(request, inner)
        if not isinstance(response, EdgeResponse):
            name = getattr(middleware, "__qualname__", type(middleware).__name__)
            raise TypeError(f"the middleware {name} returned {type(response).__name__}, and no EdgeResponse")
        return response

    return run
