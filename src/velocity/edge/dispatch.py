"""From a scope to an answer: a route is looked up, middleware and handler are called, what they raise is answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from velocity.edge.background import BackgroundTasks
from velocity.edge.channel import ClientDisconnectedError
from velocity.edge.exchange import Exchange
from velocity.edge.injection import Injector, call
from velocity.edge.middleware import chained
from velocity.edge.problems import HTTPProblem, problem_response
from velocity.edge.requests import EdgeRequest, route_path
from velocity.edge.responses import EdgeResponse, converted
from velocity.edge.routing import WEBSOCKET, Found, RouteTree
from velocity.edge.websocket import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from velocity.edge.app import EdgeApp
    from velocity.edge.middleware import Middleware, Next
    from velocity.edge.router import Declaration
    from velocity.edge.rules import RuleRoute
    from velocity.edge.signature import Signature
    from velocity.edge.types import Receive, Scope, Send

__all__ = ["Dispatcher", "Route"]

_log = logging.getLogger("velocity.edge")


@dataclass(frozen=True, slots=True)
class Route:
    """A route of an application.

    Attributes:
        declaration: as it was written.
        signature: what its handler wants to know; None for mounted applications and rules.
        middleware: around this handler, the outermost first.
        max_body: bytes of a request body; None is no limit.
        rule: what the data plane can answer, which no middleware sees.
    """

    declaration: Declaration
    signature: Signature | None = None
    middleware: tuple[Middleware, ...] = ()
    max_body: int | None = None
    rule: RuleRoute | None = None


class Dispatcher:
    """Answers requests and WebSockets of an application.

    Args:
        app: the application.
        tree: its routes.
        middlewares: around every answer but those of rules and mounted applications, the outermost first.
    """

    def __init__(self, app: EdgeApp, tree: RouteTree[Route], middlewares: list[Middleware]) -> None:
        self._app = app
        self._tree = tree
        self._middlewares = middlewares
        self.exceptions: dict[type[Exception], Callable[..., Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        path = route_path(scope)
        method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
        found = self._tree.find(path, method)
        if found.route is not None and found.route.declaration.kind == "mount":
            await self._mounted(found.route, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(found, WebSocket(scope, receive, send, self._app, found.params))
        else:
            await self._request(found, Exchange(scope, receive, send), path)

    @staticmethod
    async def _mounted(route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        inner = dict(scope)
        inner["root_path"] = str(scope.get("root_path", "")).rstrip("/") + route.declaration.path
        await route.declaration.handler(inner, receive, send)

    # --- requests ---

    async def _request(self, found: Found[Route], exchange: Exchange, path: str) -> None:
        route = found.route
        request = EdgeRequest(exchange, self._app, found.params, route.max_body if route else self._app.max_body)
        try:
            async with AsyncExitStack() as stack:
                stack.callback(request.close)
                response = await self._answered(found, request, path, stack)
                await self._sent(response, request, exchange)
                await response.background.run()
        except ClientDisconnectedError:
            pass  # there is nobody to tell

    async def _answered(
        self, found: Found[Route], request: EdgeRequest, path: str, stack: AsyncExitStack
    ) -> EdgeResponse:
        route = found.route
        if route is None:
            return await chained(self._middlewares, self._nothing(found, path), self._guarded)(request)
        if route.rule is not None:
            return await chained((), lambda request: self._app.answer_rule(route, request), self._guarded)(request)

        async def handle(request: EdgeRequest) -> EdgeResponse:
            return await self._handled(route, request, stack)

        return await chained((*self._middlewares, *route.middleware), handle, self._guarded)(request)

    @staticmethod
    async def _handled(route: Route, request: EdgeRequest, stack: AsyncExitStack) -> EdgeResponse:
        assert route.signature is not None  # noqa: S101 - for the type checker: only rules and mounts have none
        tasks = BackgroundTasks()
        declaration, signature = route.declaration, route.signature
        own = AsyncExitStack()
        if signature.dependencies:
            await stack.enter_async_context(own)
        try:
            arguments = await Injector(request, own, tasks).arguments(signature)
            value = await call(declaration.handler, arguments, signature.asynchronous)
            response = converted(value, declaration.options.get("status", 200))
        except Exception as error:
            # Dependencies learn of it while it is raised: a transaction is rolled back, and not committed.
            await own.__aexit__(type(error), error, error.__traceback__)
            raise
        response.background.extend(tasks)
        return response

    def _nothing(self, found: Found[Route], path: str) -> Next:
        """What is said where there is no route: 404, 405, the methods, or the other slash."""

        async def answer(request: EdgeRequest) -> EdgeResponse:
            page = self._app.own_page(path)
            if page is not None and not found.allowed:
                if request.method in ("GET", "HEAD"):
                    return page()
                raise HTTPProblem(405, f"{request.method} is not for this page", headers={"allow": "GET, HEAD"})
            allow = {"allow": ", ".join(found.allowed)}
            if found.allowed and request.method == "OPTIONS":
                return EdgeResponse(b"", 204, allow)
            other = self._tree.other_slash(path, request.method)
            if other is not None:
                query = request.scope.get("query_string", b"").decode("latin-1")
                root = str(request.scope.get("root_path", "")).rstrip("/")
                location = quote(root + other, safe="/!$&'()*+,;=:@~") + (f"?{query}" if query else "")
                return EdgeResponse.redirect(location, 308)
            if found.allowed:
                raise HTTPProblem(405, f"{request.method} is not for this resource", headers=allow)
            raise HTTPProblem(404, "there is nothing at this address")

        return answer

    def _guarded(self, inner: Next) -> Next:
        async def run(request: EdgeRequest) -> EdgeResponse:
            try:
                return await inner(request)
            except ClientDisconnectedError:
                raise
            except Exception as error:
                return await self._answer_to(error, request)

        return run

    async def _answer_to(self, error: Exception, request: EdgeRequest) -> EdgeResponse:
        """The answer to an exception: by the handler of its nearest class, or as a problem."""
        handler = next((self.exceptions[kind] for kind in type(error).__mro__ if kind in self.exceptions), None)
        if handler is not None:
            try:
                return converted(await call_positional(handler, request, error), 500)
            except HTTPProblem as problem:
                error = problem
            except Exception as worse:
                error = worse
        if isinstance(error, HTTPProblem):
            return problem_response(error, request.headers)
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
        return problem_response(HTTPProblem(500), request.headers)

    async def _sent(self, response: EdgeResponse, request: EdgeRequest, exchange: Exchange) -> None:
        """Send an answer; what goes wrong before its head is sent has an answer too."""
        try:
            await response.send(exchange)
        except ClientDisconnectedError:
            return  # what is to be done after it is done all the same
        except Exception as error:
            if exchange.started:
                raise  # the server ends the stream, so that nobody takes half an answer for a whole one
            await (await self._answer_to(error, request)).send(exchange)

    # --- WebSockets ---

    async def _websocket(self, found: Found[Route], websocket: WebSocket) -> None:
        route = found.route
        try:
            async with AsyncExitStack() as stack:
                try:
                    if route is None:
                        raise HTTPProblem(404, "there is nothing at this address")
                    _check_origin(route, websocket)
                    assert route.signature is not None  # noqa: S101 - for the type checker
                    arguments = await Injector(websocket, stack).arguments(route.signature)
                    await call(route.declaration.handler, arguments)
                    await websocket.close()
                except HTTPProblem as problem:
                    if websocket.accepted:
                        await websocket.close(1008, problem.detail or problem.title)
                    elif not websocket.closed:
                        await websocket.refuse(problem_response(problem, websocket.headers))
        except WebSocketDisconnect:
            pass  # the usual end
        except Exception as error:
            _log.error("the WebSocket %s failed", websocket.path, exc_info=error)
            if websocket.accepted:
                await websocket.close(1011)
            elif not websocket.closed:
                await websocket.refuse(problem_response(HTTPProblem(500), websocket.headers))


def _check_origin(route: Route, websocket: WebSocket) -> None:
    """Pages of other hosts bring the cookies of their visitors (RFC 6455 section 10.2).

    Raises:
        HTTPProblem: 403.
    """
    origin = websocket.headers.get("origin")
    if origin is None:
        return
    allowed = route.declaration.origins
    if allowed is None:
        known = urlsplit(origin).netloc.lower() == websocket.host.lower()
    else:
        known = "*" in allowed or origin.lower() in allowed
    if not known:
        raise HTTPProblem(403, "pages of this origin may not open this WebSocket")


async def call_positional(handler: Callable[..., Any], request: EdgeRequest, error: Exception) -> Any:
    """Call a handler of exceptions."""
    result: Any = handler(request, error)
    return await result if isinstance(result, Awaitable) else result
