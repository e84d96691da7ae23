"""Rules that Velocity's data plane carries out itself: no Python runs for a request that they answer or refuse.

They are kept in the models of `edge.yaml`, so that what an application says and what a file says is one thing.
`EdgeApp.plan_rules` gives them to the server; under any other server `velocity.edge.guard` does the same in Python,
except for the web application firewall. What the two would do differently stays in Python: see `velocity.edge.native`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import ValidationError

from velocity.config import action
from velocity.config.edge import EdgeConfig
from velocity.config.middleware import HeadersRule, RateLimitRule, SecurityHeaders, WafRules
from velocity.edge.native import is_native, is_native_text
from velocity.edge.routing import WEBSOCKET, beats, overlap, pattern_segments
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import JsonValue

    from velocity.config.section import Section

__all__ = ["RuleRoute", "Rules", "checked", "patterns_of", "rate_limit", "templated"]

M = TypeVar("M", bound="Section")

RuleRoute: TypeAlias = (
    action.JsonRoute
    | action.TextRoute
    | action.TemplateRoute
    | action.StaticFileRoute
    | action.FilesRoute
    | action.RedirectRoute
)


class Rules:
    """The rules of an application.

    Args:
        added: called with every route.

    Attributes:
        rate_limit: None is none.
        waf: None is none.
        security_headers: False sends none.
        headers: further fields of every answer.
        routes: in the order in which they were added.
        enforced: whether the server in front carries them out, which it also may say in the scope of a request.
    """

    def __init__(self, added: Callable[[RuleRoute], None]) -> None:
        self._fixed = False
        self.rate_limit: RateLimitRule | None = None
        self.waf: WafRules | None = None
        self.security_headers: SecurityHeaders | bool = True
        self.headers: tuple[HeadersRule, ...] = ()
        self.routes: list[RuleRoute] = []
        self.enforced = False
        self._added = added

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _POLICIES and self._fixed:
            self.check_open()
        super().__setattr__(name, value)

    def check_open(self) -> None:
        """Refuse changes that would have no effect.

        Raises:
            ConfigError: RULES_FIXED, the server has taken the rules.
        """
        if self._fixed:
            raise ConfigError(
                "RULES_FIXED",
                "the data plane has the rules of this application, which change no more",
                "say them when the module is imported, or on startup",
            )

    def fix(self) -> None:
        """Let nothing change any more."""
        self._fixed = True

    @property
    def only_in_python(self) -> str:
        """Why the data plane cannot do what every request meets; empty where it can."""
        texts = [value for rule in self.headers for _, value in rule.default]
        bad = next((text for text in texts if not is_native_text(text)), None)
        return "" if bad is None else f"{bad!r} of a header field is more than the names of variables"

    # --- answers without Python ---

    def json(self, path: str, body: JsonValue, *, status: int = 200, methods: Iterable[str] = ("GET",)) -> None:
        """JSON in which every text is a template: `{"message": "Hello, {{ name }}"}` for `/hello/{name}`."""
        self._route(action.JsonRoute, path, methods, kind="json", body=body, status=status)

    def text(self, path: str, body: str, *, status: int = 200, methods: Iterable[str] = ("GET",)) -> None:
        """Text, as it is."""
        self._route(action.TextRoute, path, methods, kind="text", body=body, status=status)

    def template(self, path: str, name: str, *, status: int = 200, methods: Iterable[str] = ("GET",)) -> None:
        """A page from a template of `templates_dir`."""
        self._route(action.TemplateRoute, path, methods, kind="template", name=name, status=status)

    def file(self, path: str, file: str | Path, *, content_type: str | None = None) -> None:
        """One file."""
        named = str(Path(file).absolute())
        self._route(action.StaticFileRoute, path, ("GET",), kind="static_file", file=named, content_type=content_type)

    def files(
        self,
        path: str,
        root: str | Path,
        *,
        index: Iterable[str] = ("index.html",),
        cache_control: str | None = None,
        dotfiles: bool = False,
    ) -> None:
        """A folder; nothing outside of it is served."""
        self._route(
            action.FilesRoute,
            path.rstrip("/") or "/",
            ("GET",),
            kind="files",
            root=str(Path(root).absolute()),
            index=tuple(index),
            cache_control=cache_control,
            dotfiles=dotfiles,
        )

    def redirect(self, path: str, to: str, *, status: int = 308, methods: Iterable[str] = ("GET",)) -> None:
        """Another address, a template: `/new/{{ name }}`."""
        self._route(action.RedirectRoute, path, methods, kind="redirect", to=to, status=status)

    def _route(self, model: type[Any], path: str, methods: Iterable[str], **values: Any) -> None:
        self.check_open()
        route: RuleRoute = checked(model, {"path": path, "methods": list(methods), **values}, f"the rule for {path}")
        self._added(route)
        self.routes.append(route)

    # --- what the server is given ---

    def compiled(self, python: Iterable[tuple[str, frozenset[str]]], *, answers: bool = True) -> EdgeConfig:
        """The rules as the edge configuration that the server runs.

        The data plane comes first, so it gets no route that would take from Python what is Python's: requests that a
        handler, or a rule that stays in Python, answers more exactly.

        Args:
            python: path and methods of every route that is no rule.
            answers: whether there are to be routes at all.
        """
        others = [(pattern_segments(path), methods) for path, methods in python]
        routes = list(self.routes) if answers else []
        staying = [route for route in routes if not is_native(route) or _is_hidden(route, others)]
        while staying:
            routes = [route for route in routes if route not in staying]
            others += _taken_by(staying)
            staying = [route for route in routes if _is_hidden(route, others)]
        ordered = sorted(routes, key=_order)
        return EdgeConfig(
            rate_limit=self.rate_limit,
            waf=self.waf,
            security_headers=self.security_headers,
            middlewares=self.headers,
            routes=tuple(ordered),
        )


_POLICIES = frozenset({"rate_limit", "waf", "security_headers", "headers"})


def _taken_by(routes: Iterable[RuleRoute]) -> list[tuple[tuple[str, ...], frozenset[str]]]:
    return [(pattern_segments(path), frozenset(route.methods)) for route in routes for path in patterns_of(route)]


def _is_hidden(route: RuleRoute, others: Iterable[tuple[tuple[str, ...], frozenset[str]]]) -> bool:
    """Whether there are requests that match a route and are for one of the others all the same."""
    methods = _all(frozenset(route.methods))
    for mine in map(pattern_segments, patterns_of(route)):
        for theirs, their_methods in others:
            if (_all(their_methods) & methods or "*" in their_methods) and beats(theirs, mine):
                return True
            # A WebSocket begins with a GET, and HEAD is answered by GET only where nothing else does.
            if "GET" in methods and their_methods == {WEBSOCKET} and overlap(theirs, mine):
                return True
            if "HEAD" in their_methods and "HEAD" not in route.methods and _is_same(theirs, mine):
                return True
    return False


def _all(methods: frozenset[str]) -> frozenset[str]:
    return methods | {"HEAD"} if "GET" in methods else methods


def _is_same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two patterns match the same paths."""
    return len(one) == len(other) and all(
        mine == theirs or (0 < _exactness(mine) == _exactness(theirs)) for mine, theirs in zip(one, other, strict=True)
    )


def _order(route: RuleRoute) -> tuple[list[int], bool]:
    """The first that matches answers there; here it is the most exact one, and HEAD before GET, which brings it."""
    return [_exactness(one) for one in pattern_segments(patterns_of(route)[0])], "HEAD" not in route.methods


def rate_limit(limit: int, per: float | str | timedelta, key: str) -> RateLimitRule:
    """At most `limit` requests in any window.

    Raises:
        ConfigError: RULE_INVALID.
    """
    if isinstance(per, timedelta):
        per = per.total_seconds()
    window = per if isinstance(per, str) else f"{round(per * 1000)}ms"
    return checked(RateLimitRule, {"limit": limit, "window": window, "key": key}, "the rate limit")


def checked(model: type[M], values: Mapping[str, Any], what: str) -> M:
    """A model of configuration with these values.

    Raises:
        ConfigError: RULE_INVALID, in one line.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        cause = (first.get("ctx") or {}).get("error")
        text = str(cause or first["msg"])
        raise ConfigError("RULE_INVALID", f"{what}: {where}: {text}", getattr(cause, "hint", "")) from None


def patterns_of(route: RuleRoute) -> list[str]:
    """The paths that a rule answers, as patterns."""
    kind, path = route.path
    if route.kind == "files" or kind == "prefix":
        base = path.removesuffix("/")
        return [f"{base}/{{*rest}}", *([base, f"{base}/"] if base else ["/"])]
    return [path]


def _exactness(segment: str) -> int:
    return 2 if segment.startswith("{*") else 1 if segment.startswith("{") else 0


def templated(value: JsonValue, render: Callable[[str], str]) -> JsonValue:
    """JSON with every text but the names of members rendered, and these in the order that the data plane has."""
    if isinstance(value, str):
        return render(value)
    if isinstance(value, list):
        return [templated(one, render) for one in value]
    if isinstance(value, dict):
        return {name: templated(one, render) for name, one in sorted(value.items())}
    return value
