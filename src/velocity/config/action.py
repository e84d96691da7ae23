"""Routes as configuration files have them: which requests, and what answers.

Three ways to write one are one model:

    {path: /healthz, methods: [GET], kind: static, status: 200, body: ok}
    {match: {path: /healthz, methods: [GET]}, action: {type: static, status: 200, body: ok}}
    {path: /healthz, text: ok}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from velocity.config.middleware import Middleware, RateLimitRule, WafRules
from velocity.config.program import Interface, Lifespan, parse_target
from velocity.config.proxying import UpstreamOptions
from velocity.config.section import (
    ONE_OR_MORE,
    Bytes,
    Count,
    Duration,
    FieldValue,
    FileName,
    Hosts,
    Method,
    PathText,
    Pattern,
    Section,
    Status,
    Strings,
)
from velocity.config.values import BadValueError, closest
from velocity.errors import ConfigError

__all__ = [
    "KINDS",
    "RENAMED",
    "SHORT",
    "FilesRoute",
    "JsonRoute",
    "Policies",
    "ProxyRoute",
    "PythonRoute",
    "RedirectRoute",
    "Route",
    "RouteBase",
    "StaticFileRoute",
    "StaticRoute",
    "TemplateRoute",
    "TextRoute",
]


class Policies(Section):
    """What happens to requests on the way, beyond what the whole server does."""

    rate_limit: RateLimitRule | None = None
    waf: WafRules | bool | None = None
    """`false` takes the WAF of the server away."""
    middlewares: tuple[str | Middleware, ...] = ()
    """Names of middlewares of this file, or middlewares."""
    skip: Strings = ()
    """Names of what does not apply here: of middlewares, `rate_limit`, `waf`, `security_headers`."""


class RouteBase(Policies):
    """What every route has."""

    path: Pattern
    methods: Annotated[tuple[Method, ...], ONE_OR_MORE] = ()
    hostname: Hosts = ()
    """None for every site."""


class JsonRoute(RouteBase):
    """JSON, in which every text is a template."""

    kind: Literal["json"]
    status: Status = 200
    body: JsonValue = None


class TextRoute(RouteBase):
    """Text, as it is."""

    kind: Literal["text"]
    status: Status = 200
    body: str = ""
    content_type: FieldValue = "text/plain; charset=utf-8"


class StaticRoute(RouteBase):
    """A fixed answer."""

    kind: Literal["static"]
    status: Status = 200
    body: str = ""
    content_type: FieldValue = "text/plain; charset=utf-8"


class TemplateRoute(RouteBase):
    """A page from a template."""

    kind: Literal["template"]
    name: FileName
    """Of a file in `templates_dir`."""
    status: Status = 200
    content_type: FieldValue | None = None


class StaticFileRoute(RouteBase):
    """One file."""

    kind: Literal["static_file"]
    file: FileName
    status: Status = 200
    content_type: FieldValue | None = None


class FilesRoute(RouteBase):
    """A folder."""

    kind: Literal["files"]
    root: FileName
    index: Strings = ("index.html",)
    listings: bool = False
    cache_control: FieldValue | None = None
    dotfiles: bool = False
    compress: bool = True
    strip_prefix: bool | PathText = True
    hot_cache: Bytes = 64 << 20


def _target(value: str) -> str:
    try:
        return parse_target(value)
    except ConfigError as error:
        raise BadValueError(error.message, error.hint) from None


class RedirectRoute(RouteBase):
    """Another address."""

    kind: Literal["redirect"]
    to: FieldValue
    """A template: `https://{{ host }}/new`."""
    status: Literal[301, 302, 303, 307, 308] = 308


class PythonRoute(RouteBase):
    """An application in Python."""

    kind: Literal["python"]
    app: Annotated[str, AfterValidator(_target)]
    """`module:attribute`."""
    factory: bool = False
    """Whether the attribute makes the application when it is called."""
    app_dir: FileName | None = None
    """Where modules are looked for first; the folder of this file when None."""
    root_path: bool | PathText = False
    """`true` for the path of the route, or what of a path says which application it is for."""
    lifespan: Lifespan = "auto"
    interface: Interface = "auto"
    workers: Count | None = None
    """Processes of its own; the server's process when None."""
    limit_concurrency: Count | None = None
    ws_per_message_deflate: bool = True
    """Compress messages of WebSockets where the client offers it."""
    ws_max_size: Annotated[Bytes, Field(ge=1, le=1 << 30)] = 16 << 20
    """The largest message of a WebSocket that is taken."""
    ws_ping_interval: Duration = 20_000
    """How long a client may be silent before it is pinged, and then again before it is given up; 0 is never."""
    timeout: Duration | None = None
    """For the head of an answer."""


class ProxyRoute(RouteBase, UpstreamOptions):
    """Another server."""

    kind: Literal["proxy"]


KINDS = ("json", "text", "static", "template", "static_file", "files", "redirect", "proxy", "python")

SHORT = {
    "json": ("json", "body"),
    "text": ("text", "body"),
    "template": ("template", "name"),
    "file": ("static_file", "file"),
    "root": ("files", "root"),
    "redirect": ("redirect", "to"),
    "proxy": ("proxy", "upstream"),
    "upstream": ("proxy", "upstream"),
    "app": ("python", "app"),
}
"""By key: the kind of route it stands for, and the key of that kind which has its value."""

RENAMED = {
    "static_file": {"path": "file"},
    "redirect": {"location": "to"},
    "proxy": {"upstreams": "upstream"},
    "template": {"template": "name"},
}
"""By kind: what a key may also be called."""


def _one_form(value: Any) -> Any:
    """A route as `{path, methods, kind, ...}`, however it was written."""
    if not isinstance(value, dict):
        return value
    value = _from_match(value) if "match" in value or "action" in value else dict(value)
    kind = value.get("kind")
    if kind is None:
        found = [key for key in value if key in SHORT]
        if len(found) != 1:
            raise BadValueError(
                "what should answer is not said" if not found else f"{' and '.join(sorted(found))} exclude each other",
                f"set kind to one of {', '.join(KINDS)}",
            )
        kind, name = SHORT[found[0]]
        value["kind"] = kind
        value[name] = value.pop(found[0])
    elif kind not in KINDS:
        raise BadValueError(f"unknown kind {str(kind)[:40]!r}", closest(str(kind), KINDS))
    for other, name in RENAMED.get(kind, {}).items():
        if other in value and other != "path" and name not in value:
            value[name] = value.pop(other)
    return value


def _from_match(value: dict[str, Any]) -> dict[str, Any]:
    match, action = value.get("match"), value.get("action")
    if not isinstance(match, dict) or not isinstance(action, dict):
        raise BadValueError(
            "match and action belong together, and both are blocks",
            "match: {path: /healthz}, action: {type: static, body: ok}",
        )
    rest = {key: item for key, item in value.items() if key not in ("match", "action")}
    flat = {**match, **{("kind" if key == "type" else key): item for key, item in action.items()}}
    # static_file in this form has the path of the file within action
    if "path" in action:
        if "file" in flat or action.get("type") != "static_file":
            raise BadValueError("the path of a request belongs to match", "move it there")
        flat |= {"path": match.get("path"), "file": action["path"]}
    for key in rest:
        if key in flat:
            raise BadValueError(f"{key} is there twice", "say it once")
    return {**flat, **rest}


Route = Annotated[
    Annotated[
        JsonRoute
        | TextRoute
        | StaticRoute
        | TemplateRoute
        | StaticFileRoute
        | FilesRoute
        | RedirectRoute
        | ProxyRoute
        | PythonRoute,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_one_form),
]
