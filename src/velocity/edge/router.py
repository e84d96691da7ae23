"""Routes as applications declare them: handlers are decorated, routers included, other applications mounted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

from velocity.config.values import BadValueError
from velocity.edge.routing import ANY, WEBSOCKET, pattern_segments
from velocity.edge.signature import place_of
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from velocity.edge.markers import Depends
    from velocity.edge.middleware import Middleware
    from velocity.edge.types import ASGIApp

__all__ = ["Declaration", "RouteOptions", "Router"]

H = TypeVar("H", bound=Callable[..., Any])
M = TypeVar("M", bound="Middleware")


class RouteOptions(TypedDict, total=False):
    """What a route may say besides its path.

    Attributes:
        status: of what its handler returns, if that is no answer yet; 200.
        summary: for the OpenAPI document; else the first line of the docstring.
        description: likewise; else the rest of the docstring.
        tags: likewise.
        operation_id: likewise; else the name of the handler.
        deprecated: likewise.
        hidden: leaves the route out of the document.
        dependencies: called for their effect, before anything else.
        middleware: functions around this handler, the outermost first.
        max_body: bytes of a request body; None is no limit. Without it, that of the application.
    """

    status: int
    summary: str
    description: str
    tags: Sequence[str]
    operation_id: str
    deprecated: bool
    hidden: bool
    dependencies: Sequence[Depends]
    middleware: Sequence[Middleware]
    max_body: int | None


@dataclass(frozen=True, slots=True)
class Declaration:
    """A route before anybody has looked at its handler.

    Attributes:
        kind: what the handler is: one of requests, one of WebSockets, or an ASGI application.
        path: a pattern; for a mounted application, the prefix.
        methods: upper case.
        handler: what answers.
        options: what else was said.
        origins: of a WebSocket: which pages may open it; None is those of this host.
        place: file and line, for people.
    """

    kind: Literal["http", "websocket", "mount"]
    path: str
    methods: tuple[str, ...]
    handler: Any
    options: RouteOptions
    place: str
    origins: tuple[str, ...] | None = None


class Router:
    """Routes that belong together.

    Args:
        prefix: in front of every path, `/users`.
        tags: of every route, for the OpenAPI document.
        dependencies: called for every route, before anything else.
        middleware: functions around every handler, the outermost first.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        tags: Sequence[str] = (),
        dependencies: Sequence[Depends] = (),
        middleware: Sequence[Middleware] = (),
    ) -> None:
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ConfigError("PATH_INVALID", f"the prefix {prefix!r} is no beginning of a path", "for example /users")
        self._prefix = prefix
        self._tags = tuple(tags)
        self._dependencies = tuple(dependencies)
        self._middlewares = list(middleware)
        self._declared: list[Declaration] = []
        self._included = False

    # --- handlers ---

    def route(self, path: str, methods: Sequence[str] = ("GET",), **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Answer requests with a function.

        Args:
            path: `/users/{id}`; `{*rest}` takes several segments. A router with a prefix may leave it empty.
            methods: GET brings HEAD, and all bring OPTIONS.
            options: see `RouteOptions`.
        """

        def decorate(handler: H) -> H:
            from velocity.config.quantities import parse_method

            try:
                names = tuple(dict.fromkeys(parse_method(method) for method in methods))
            except BadValueError as error:
                raise ConfigError("METHOD_INVALID", f"{place_of(handler)}: {error}", error.hint) from None
            self._declare(Declaration("http", path, names, handler, options, place_of(handler)))
            return handler

        return decorate

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Answer GET and HEAD."""
        return self.route(path, ("GET",), **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Answer POST."""
        return self.route(path, ("POST",), **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Answer PUT."""
        return self.route(path, ("PUT",), **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Answer PATCH (RFC 5789)."""
        return self.route(path, ("PATCH",), **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Answer DELETE."""
        return self.route(path, ("DELETE",), **options)

    def websocket(
        self, path: str, *, origins: Sequence[str] | None = None, dependencies: Sequence[Depends] = ()
    ) -> Callable[[H], H]:
        """Serve WebSockets with an asynchronous function.

        Args:
            path: `/rooms/{name}`.
            origins: `https://app.example` and so on, whose pages may open it; None is this host, and `*` any. What
                comes without an origin is no page of anybody.
            dependencies: called for their effect, before anything else.
        """

        def decorate(handler: H) -> H:
            options: RouteOptions = {"dependencies": dependencies}
            allowed = None if origins is None else tuple(origin.lower().rstrip("/") for origin in origins)
            self._declare(Declaration("websocket", path, (WEBSOCKET,), handler, options, place_of(handler), allowed))
            return handler

        return decorate

    def middleware(self, function: M) -> M:
        """Put a function around every handler of this router; see `velocity.edge.middleware`."""
        self._middlewares.append(function)
        return function

    # --- other routers and applications ---

    def include(self, router: Router, prefix: str = "") -> None:
        """Take over the routes of a router, which gets no further ones.

        Args:
            router: its routes keep their own prefix, tags, dependencies and middleware.
            prefix: in front of that.

        Raises:
            ConfigError: ROUTE_DUPLICATE.
        """
        router._included = True
        for one in router._declared:
            self._declare(replace(one, path=prefix + one.path, options=router._common(one)))

    def mount(self, path: str, app: ASGIApp) -> None:
        """Give everything below a path to another ASGI application, whose `root_path` it becomes."""
        base = path.rstrip("/")
        self._declare(
            Declaration("mount", base, (ANY, WEBSOCKET), app, {}, f"the application mounted at {base or '/'}")
        )

    def _declare(self, declaration: Declaration) -> None:
        if self._included:
            raise ConfigError(
                "ROUTE_TOO_LATE",
                f"{declaration.place}: {declaration.path} comes after its router was included",
                "include routers when they are complete",
            )
        one = replace(declaration, path=self._prefix + declaration.path)
        if declaration.kind != "mount" and one.path:
            pattern_segments(one.path)
        self._declared.append(one)
        self._take(one)

    def _common(self, one: Declaration) -> RouteOptions:
        """The options of a route with what holds for the whole router."""
        options: RouteOptions = {**one.options}
        options["tags"] = (*self._tags, *options.get("tags", ()))
        options["dependencies"] = (*self._dependencies, *options.get("dependencies", ()))
        options["middleware"] = (*self._middlewares, *options.get("middleware", ()))
        return options

    def _take(self, declaration: Declaration) -> None:
        """What else is to be done with a route: nothing, until it belongs to an application."""
