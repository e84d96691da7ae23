"""`EdgeApp`: an ASGI 3 application of handlers with typed parameters, and of rules that need no Python.

app = EdgeApp()

@app.get("/hello/{name}")
async def hello(name: str, times: int = 1) -> dict[str, str]:
    return {"message": f"Hello, {name}! " * times}

app.run()
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from velocity.config.middleware import HeadersRule, SecurityHeaders, WafRules
from velocity.edge import lifespan as lifespans
from velocity.edge.answers import answer
from velocity.edge.dispatch import Dispatcher, Route
from velocity.edge.docs import Documentation
from velocity.edge.guard import Guard
from velocity.edge.lifespan import Hooks
from velocity.edge.responses import EdgeResponse
from velocity.edge.router import Declaration, Router
from velocity.edge.routing import RouteTree, pattern_segments
from velocity.edge.rules import Rules, checked, patterns_of, rate_limit
from velocity.edge.signature import read_signature
from velocity.edge.templates import Templates, page_type
from velocity.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AsyncExitStack
    from datetime import timedelta

    from velocity.config.edge import EdgeConfig
    from velocity.edge.lifespan import Lifespan
    from velocity.edge.markers import Depends
    from velocity.edge.middleware import Middleware
    from velocity.edge.requests import EdgeRequest
    from velocity.edge.rules import RuleRoute
    from velocity.edge.types import ASGIApp, Receive, Scope, Send

__all__ = ["EdgeApp"]

P = ParamSpec("P")
E = TypeVar("E", bound=Exception)
X = TypeVar("X", bound="Callable[..., Any]")
F = TypeVar("F", bound="Callable[[], Any]")


class EdgeApp(Router):
    """An application.

    Args:
        title: for the OpenAPI document.
        version: of the application, likewise.
        description: likewise, Markdown.
        templates_dir: a folder of templates; a relative one is relative to the working directory.
        max_body: bytes of a request body that are read, 1 MiB; None is no limit.
        openapi_path: where the OpenAPI document is; None is nowhere.
        docs_path: where the page that shows it is; None is nowhere.
        lifespan: an asynchronous context manager around the whole life of the application.
        dependencies: called for every route, before anything else.
        middleware: functions around every answer, the outermost first.

    Attributes:
        rules: what the data plane does by itself; `with_rate_limit` and its like fill it.
        state: anything that belongs to the application.
        templates: the templates of `templates_dir`.
    """

    def __init__(
        self,
        *,
        title: str = "Velocity EdgeApp",
        version: str = "0.1.0",
        description: str = "",
        templates_dir: str | Path | None = None,
        max_body: int | None = 1 << 20,
        openapi_path: str | None = "/openapi.json",
        docs_path: str | None = "/docs",
        lifespan: Lifespan | None = None,
        dependencies: Sequence[Depends] = (),
        middleware: Sequence[Middleware] = (),
    ) -> None:
        super().__init__(dependencies=dependencies, middleware=middleware)
        self.title = title
        self.version = version
        self.description = description
        self.max_body = max_body
        self.state = SimpleNamespace()
        self.templates = Templates(Path(templates_dir).absolute() if templates_dir is not None else None)
        self.rules = Rules(self._take_rule)
        self.routes: list[Route] = []
        self._tree: RouteTree[Route] = RouteTree()
        self._hooks = Hooks(lifespan)
        self._dispatch = Dispatcher(self, self._tree, self._middlewares)
        self._documentation = Documentation(self, openapi_path, docs_path)
        self._around: list[Callable[[ASGIApp], ASGIApp]] = []
        self._stack: ASGIApp | None = None
        self._guard = Guard(self, self.rules)

    # --- rules ---

    def with_rate_limit(self, limit: int, per: float | str | timedelta = 60, *, key: str = "client") -> EdgeApp:
        """At most so many requests in any window, for each client; others get 429.

        Args:
            limit: requests.
            per: the window: seconds, `1m`, or a timedelta.
            key: whom to count: `client` (IPv6 by /64), `path`, `header:NAME` or `cookie:NAME`.

        Raises:
            ConfigError: RULE_INVALID.
        """
        self.rules.rate_limit = rate_limit(limit, per, key)
        return self

    def with_waf(
        self,
        *,
        mode: str = "block",
        default_rules: bool = True,
        rules: Sequence[str | Mapping[str, Any]] = (),
        exclude: Sequence[str] = (),
    ) -> EdgeApp:
        """Refuse requests that look like attacks. The data plane does it; other servers do not, which is logged.

        Args:
            mode: `block`, or `log` to let them pass and tell.
            default_rules: those that come with Velocity.
            rules: patterns of Rust's regex crate, or as `edge.yaml` has them.
            exclude: names of rules that do not apply, `sqli` or `sqli.union`.

        Raises:
            ConfigError: RULE_INVALID.
        """
        values = {"mode": mode, "default_rules": default_rules, "rules": list(rules), "exclude": list(exclude)}
        self.rules.waf = checked(WafRules, values, "the web application firewall")
        return self

    def with_security_headers(self, enabled: bool = True, **fields: str | None) -> EdgeApp:
        """The header fields that browsers protect people by. They are on: this changes them, or takes them away.

        Args:
            enabled: False sends none.
            fields: `content_security_policy="default-src 'self'"`; None leaves one out.

        Raises:
            ConfigError: RULE_INVALID.
        """
        self.rules.security_headers = checked(SecurityHeaders, fields, "security headers") if fields else enabled
        return self

    def with_headers(self, fields: Mapping[str, str]) -> EdgeApp:
        """Header fields of every answer that has none of the name; values are templates, `{{ path }}`.

        Raises:
            ConfigError: RULE_INVALID.
        """
        values = {"kind": "headers", "default": dict(fields)}
        self.rules.headers = (*self.rules.headers, checked(HeadersRule, values, "header fields"))
        return self

    def plan_rules(self) -> EdgeConfig:
        """The rules as an edge configuration, for a server that carries them out itself.

        Such a server sets `rules.enforced`, or `rules` in the extension `velocity` of each scope, and then nothing is
        carried out twice. Routes that the data plane would answer otherwise than Python are not among them; nor are any
        where an ASGI middleware is around the application, for that sees every answer.
        """
        python = [
            (pattern, frozenset(route.declaration.methods))
            for route in self.routes
            if route.rule is None
            for pattern in _patterns(route.declaration)
        ]
        return self.rules.compiled(python, answers=not self._around)

    @property
    def default_fields(self) -> list[tuple[str, str]]:
        """Header fields of every answer that has none of the name, in lower case."""
        wanted = self.rules.security_headers
        chosen = SecurityHeaders() if wanted is True else wanted or None
        security = chosen.model_dump() if chosen is not None else {}
        own = [(name, value) for rule in self.rules.headers for name, value in rule.default]
        return [*own, *((name.replace("_", "-"), value) for name, value in security.items() if value is not None)]

    async def answer_rule(self, route: Route, request: EdgeRequest) -> EdgeResponse:
        """Answer a request by a rule, where the data plane did not."""
        assert route.rule is not None  # noqa: S101 - for the type checker
        return await answer(route.rule, request, self.templates)

    # --- around handlers ---

    def add_middleware(
        self, factory: Callable[Concatenate[ASGIApp, P], ASGIApp], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Put an ASGI middleware around the whole application; the first that is added is the outermost.

        Args:
            factory: called with the application inside.
            args: what else it takes.
            kwargs: likewise.

        Raises:
            ConfigError: RULES_FIXED, the data plane gives answers that it would not see.
        """
        self.rules.check_open()
        self._around.append(lambda inner: factory(inner, *args, **kwargs))
        self._stack = None

    def exception_handler(self, kind: type[E]) -> Callable[[X], X]:
        """Answer exceptions of a class and its subclasses with a function of the request and the exception.

        It returns what handlers return; what is no answer yet gets the status 500.
        """

        def decorate(handler: X) -> X:
            self._dispatch.exceptions[kind] = handler
            return handler

        return decorate

    def on_startup(self, function: F) -> F:
        """Call a function before the first request."""
        return self._hooks.on_startup(function)

    def on_shutdown(self, function: F) -> F:
        """Call a function after the last request; the last one first."""
        return self._hooks.on_shutdown(function)

    async def enter(self, stack: AsyncExitStack) -> None:
        """Start, with the applications that are mounted, and leave on the stack what stops them."""
        await self._hooks.enter(self, stack)
        for route in self.routes:
            if isinstance(route.declaration.handler, EdgeApp):
                await route.declaration.handler.enter(stack)

    # --- answers ---

    def render(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> EdgeResponse:
        """A page from a template.

        Args:
            name: of a file in `templates_dir`.
            context: the variables in it.
            status: 200 to 599.
            headers: further fields.

        Raises:
            ConfigError: TEMPLATE_MISSING.
        """
        return EdgeResponse(self.templates.render(name, context or {}), status, headers, page_type(name))

    def own_page(self, path: str) -> Callable[[], EdgeResponse] | None:
        """What makes a page about the application itself, at a path that has no route."""
        return self._documentation.page(path)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document (3.1), as JSON."""
        return self._documentation.document()

    # --- serving ---

    def run(self, **options: Any) -> None:
        """Serve the application with Velocity until it is told to stop.

        Args:
            options: those of `velocity.asgi.serve`, as the command line has them: `listen="127.0.0.1:4433"`.

        Raises:
            StartError: ASGI_SERVER_MISSING, and what else keeps it from starting.
        """
        try:
            serve = importlib.import_module("velocity.asgi").serve
        except (ModuleNotFoundError, AttributeError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name != "velocity.asgi":
                raise
            raise StartError(
                "ASGI_SERVER_MISSING",
                "this installation of Velocity serves no applications",
                "serve it with another ASGI server: uvicorn MODULE:app",
            ) from None
        serve(self, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an ASGI 3 application.

        Raises:
            ValueError: a kind of scope that is neither http, websocket nor lifespan.
        """
        if scope["type"] == "lifespan":
            await lifespans.serve(self, receive, send)
        elif scope["type"] in ("http", "websocket"):
            if self._stack is None:
                self._stack = self._dispatch
                for wrap in reversed(self._around):
                    self._stack = wrap(self._stack)
            await self._guard(scope, receive, send, self._stack)
        else:
            raise ValueError(f"a scope of the kind {scope['type']!r} is not served")

    # --- routes ---

    def _take(self, declaration: Declaration) -> None:
        if self.rules.routes:
            self.rules.check_open()  # it might be more exact than one of them
        if declaration.kind == "mount":
            route = Route(declaration)
        else:
            options = declaration.options
            names = [one.strip("{*}") for one in pattern_segments(declaration.path) if one.startswith("{")]
            signature = read_signature(
                declaration.handler,
                names,
                (*self._dependencies, *options.get("dependencies", ())),
                websocket=declaration.kind == "websocket",
            )
            route = Route(
                declaration,
                signature,
                tuple(options.get("middleware", ())),
                options.get("max_body", self.max_body),
            )
        for pattern in _patterns(declaration):
            self._tree.add(pattern, declaration.methods, route, declaration.place)
        self.routes.append(route)

    def _take_rule(self, rule: RuleRoute) -> None:
        path = patterns_of(rule)[0]
        declaration = Declaration("http", path, rule.methods, None, {"hidden": True}, f"the rule for {rule.path[1]}")
        route = Route(declaration, max_body=self.max_body, rule=rule)
        for pattern in patterns_of(rule):
            self._tree.add(pattern, rule.methods, route, declaration.place)
        self.routes.append(route)


def _patterns(declaration: Declaration) -> list[str]:
    """The patterns of a route; a mounted application has what is below its prefix, and the prefix."""
    if declaration.kind != "mount":
        return [declaration.path]
    base = declaration.path
    return [f"{base}/{{*rest}}", *([base, f"{base}/"] if base else ["/"])]
