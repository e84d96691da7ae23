"""Transports without a network: a function, or an application in the same process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from velocity.client.responses import Response
from velocity.client.transport import AsyncBaseTransport, BaseTransport

if TYPE_CHECKING:
    from velocity.client.requests import Request

__all__ = ["ASGITransport", "MockTransport"]

Message: TypeAlias = MutableMapping[str, Any]


class MockTransport(BaseTransport, AsyncBaseTransport):
    """Answers with what a function says.

        client = velocity.Client(transport=velocity.MockTransport(lambda request: velocity.Response(204)))

    Args:
        handler: gets the request, its content gathered; for an `AsyncClient` it may be asynchronous.
    """

    def __init__(self, handler: Callable[[Request], Response | Awaitable[Response]]) -> None:
        self.handler = handler

    def handle_request(self, request: Request) -> Response:
        """Ask the function."""
        request.read()
        response = self.handler(request)
        if not isinstance(response, Response):
            raise TypeError(f"the handler has to give a Response, not {type(response).__name__}")
        return response

    async def handle_async_request(self, request: Request) -> Response:
        """Ask the function."""
        await request.aread()
        response = self.handler(request)
        return await response if inspect.isawaitable(response) else response


class ASGITransport(AsyncBaseTransport):
    """Asks an ASGI application in this process. Its lifespan is not run.

    Args:
        app: the application.
        raise_app_exceptions: whether what it raises is raised here; else it is 500.
        root_path: where it believes to be mounted.
        client: where requests seem to come from.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] = ("127.0.0.1", 123),
    ) -> None:
        self._app = app
        self._raise = raise_app_exceptions
        self._root_path = root_path
        self._client = client

    async def handle_async_request(self, request: Request) -> Response:
        """Run the application until its answer begins; its content is read while it goes on."""
        conversation = _Conversation(request)
        task = asyncio.ensure_future(self._run(request, conversation))
        conversation.task = task
        try:
            start = await conversation.next()
        except BaseException:
            task.cancel()
            raise
        if start is None:
            failure = task.exception() if task.done() and not task.cancelled() else None
            if failure is not None and self._raise:
                raise failure
            return Response(500, request=request)
        return Response(start["status"], headers=start.get("headers", ()), stream=conversation, request=request)

    async def _run(self, request: Request, conversation: _Conversation) -> None:
        try:
            await self._app(self._scope(request), conversation.receive, conversation.send)
        except Exception as error:
            conversation.error = error if self._raise else None
            if self._raise:
                raise
        finally:
            conversation.end()

    def _scope(self, request: Request) -> dict[str, Any]:
        url = request.url
        host = (b"host", url.netloc)
        headers = [pair for pair in request.headers.raw if pair[0] != b"host"]
        named = [pair for pair in request.headers.raw if pair[0] == b"host"] or [host]
        path = url.target.partition("?")[0]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": path.encode("ascii"),
            "query_string": url.query,
            "root_path": self._root_path,
            "headers": [*named, *headers],
            "client": self._client,
            "server": (url.host, url.origin[2]),
            "extensions": {},
        }


class _Conversation:
    """Messages to and from an application that runs beside the one who reads its answer."""

    def __init__(self, request: Request) -> None:
        self.task: asyncio.Future[None] | None = None
        self.error: BaseException | None = None
        self._content = request.stream.__aiter__()
        self._asked_all = False
        self._complete = False
        self._out: asyncio.Queue[Message | None] = asyncio.Queue(1)
        self._ended = asyncio.Event()

    async def receive(self) -> Message:
        if not self._asked_all:
            async for piece in self._content:
                return {"type": "http.request", "body": piece, "more_body": True}
            self._asked_all = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._ended.is_set():
            return
        await self._out.put(message)

    async def next(self) -> Message | None:
        """What the application says next; None when it has ended."""
        getting = asyncio.ensure_future(self._out.get())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((getting, ended), return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            return None if self._out.empty() else self._out.get_nowait()
        finally:
            getting.cancel()
            ended.cancel()

    def end(self) -> None:
        self._ended.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self.next()
            if message is None:
                if self.error is not None:
                    raise self.error
                return
            if message["type"] != "http.response.body":
                continue
            more = message.get("more_body", False)
            self._complete = not more
            yield bytes(message.get("body", b""))

    async def aclose(self) -> None:
        """The reader has what it wanted. An application that has said everything may finish, another one is told."""
        self.end()
        if self.task is None:
            return
        while not self._out.empty():
            self._out.get_nowait()  # somebody waits for room
        if not self._complete:
            _, waiting = await asyncio.wait((self.task,), timeout=1)
            for task in waiting:
                task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
