"""What an application speaks: ASGI, or WSGI (PEP 3333) in a pool of threads."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from velocity.errors import ApplicationError

if TYPE_CHECKING:
    from velocity.config.program import Interface

__all__ = ["adapt", "speaks_wsgi"]

_WSGI_THREADS = 10
_MAX_UNMEASURED = 16 << 20
"""Bytes of a body without a length that are kept."""


def adapt(application: Any, interface: Interface, target: str) -> tuple[Any, bool]:
    """An application as ASGI 3, and whether it may know what lifespan is.

    Raises:
        ApplicationError: it is neither.
    """
    if interface == "wsgi" or (interface == "auto" and speaks_wsgi(application)):
        from a2wsgi import WSGIMiddleware

        return _measured(WSGIMiddleware(application, workers=_WSGI_THREADS)), False
    if interface == "asgi2":
        return _single(application), True
    if isinstance(application, type) and not _takes(application, 3):
        raise ApplicationError(
            "APPLICATION_INVALID",
            f"{target} is a class, and no application",
            "name an instance of it, or add --factory",
        )
    return application, True


def _single(application: Any) -> Any:
    """ASGI 2 was called twice: for an instance with the scope, and that with `receive` and `send`."""

    async def single(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await application(scope)(receive, send)

    return single


def _measured(application: Any) -> Any:
    """PEP 3333 knows no body without CONTENT_LENGTH: one that comes without is read first."""

    async def measured(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or any(name == b"content-length" for name, _ in scope["headers"]):
            await application(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > _MAX_UNMEASURED:
                fields = [(b"content-type", b"text/plain; charset=utf-8")]
                await send({"type": "http.response.start", "status": 411, "headers": fields})
                await send({"type": "http.response.body", "body": b"a body as large as this needs a Content-Length\n"})
                return
        length = (b"content-length", str(len(body)).encode())
        messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Any:
            return messages.pop() if messages else await receive()

        await application({**scope, "headers": [*scope["headers"], length]}, again, send)

    return measured


def speaks_wsgi(application: Any) -> bool:
    """Whether it takes environ and start_response, as far as can be told without calling it."""
    call = application if inspect.isroutine(application) else getattr(application, "__call__", application)  # noqa: B004
    if inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(call):
        return False
    return _takes(application, 2) and not _takes(application, 3)


def _takes(application: Any, count: int) -> bool:
    try:
        signature = inspect.signature(application)
        signature.bind(*cast("list[None]", [None] * count))
    except (TypeError, ValueError):
        return False
    return True
