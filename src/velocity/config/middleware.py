"""What happens to requests on their way: rate limits, the WAF and middlewares, as configuration files have them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from velocity.config.quantities import parse_field_name, parse_field_value
from velocity.config.section import (
    ONE_OR_MORE,
    Also,
    Bytes,
    Count,
    Duration,
    FieldName,
    FieldValue,
    FileName,
    Method,
    Network,
    Origin,
    PathText,
    Section,
    Strings,
    one_or_more,
)
from velocity.config.values import BadValueError, closest

__all__ = [
    "ALIASES",
    "MIDDLEWARES",
    "BasicAuthRule",
    "CompressRule",
    "CorsRule",
    "EarlyHintsRule",
    "HeaderRules",
    "HeadersRule",
    "IpRule",
    "Middleware",
    "OidcRule",
    "RateKeyRule",
    "RateLimitRule",
    "RequestSizeRule",
    "SecretFile",
    "SecurityHeaders",
    "WafPattern",
    "WafRules",
    "is_password_hash",
]


def _fields(value: Any) -> tuple[tuple[str, str], ...]:
    """Header fields as a mapping; a list says a field several times."""
    if not isinstance(value, dict):
        raise BadValueError("header fields are names and values", "for example {X-Robots-Tag: noindex}")
    pairs: list[tuple[str, str]] = []
    for name, item in value.items():
        pairs += ((parse_field_name(name), parse_field_value(one)) for one in one_or_more(item))
    return tuple(pairs)


_FieldMap = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(_fields),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "integer", "array"]}}),
]
_FieldNames = Annotated[tuple[FieldName, ...], ONE_OR_MORE]


class HeaderRules(Section):
    """Changes to header fields, in this order; values are templates."""

    remove: _FieldNames = ()
    set: _FieldMap = ()
    add: _FieldMap = ()
    default: _FieldMap = ()
    """Set where there is none."""


class RateKeyRule(Section):
    """Whom a rate limit counts: one of these."""

    header: FieldName | None = None
    cookie: str | None = None

    @model_validator(mode="after")
    def _one(self) -> RateKeyRule:
        if (self.header is None) == (self.cookie is None):
            raise BadValueError("name a header or a cookie", "for example {header: X-API-Key}")
        return self


def _rate_key(value: Any) -> Any:
    """`header:X-API-Key` is short for `{header: X-API-Key}`."""
    if not isinstance(value, str):
        return value
    kind, colon, name = value.partition(":")
    if kind in ("client", "path") and not colon:
        return kind
    if kind == "ip" and not colon:
        return "client"
    if kind in ("header", "cookie") and name.strip():
        return {kind: name.strip()}
    raise BadValueError(f"unknown key {value[:40]!r}", "write client, path, header:NAME or cookie:NAME")


class RateLimitRule(Section):
    """At most `limit` requests in any `window`."""

    limit: Count
    window: Duration
    key: Annotated[Literal["client", "path"] | RateKeyRule, Also(_rate_key, {"type": "string"})] = "client"

    @model_validator(mode="after")
    def _some_time(self) -> RateLimitRule:
        if not self.window:
            raise BadValueError("a window of no time", "for example window: 1m")
        return self


_TARGETS = Literal["path", "query", "headers", "body"]
_LOOK_AROUND = re.compile(r"(?<!\\)\(\?(?:[=!]|<[=!])")
_BACK_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]")


def _regex(value: str) -> str:
    """What would need backtracking is refused here; the rest of the syntax is the engine's to judge."""
    if not value or len(value) > 4096:
        raise BadValueError("a pattern has 1 to 4096 characters", "split it into several")
    if _LOOK_AROUND.search(value):
        raise BadValueError("look-around is not supported", "patterns run in linear time: match what is there")
    if _BACK_REFERENCE.search(value):
        raise BadValueError("back-references are not supported", "patterns run in linear time: write the text again")
    return value


_Regex = Annotated[str, PlainValidator(lambda value: _regex(_text(value))), WithJsonSchema({"type": "string"})]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadValueError("this has to be text", "put it in quotes")
    return value


class WafPattern(Section):
    """A pattern that no request may have in it."""

    pattern: _Regex
    name: str | None = None
    """For logs and `exclude`; `custom.N` without."""
    targets: Annotated[tuple[_TARGETS, ...], ONE_OR_MORE] = ("path", "query", "headers", "body")


def _pattern(value: Any) -> Any:
    """A pattern alone is one without a name."""
    return {"pattern": value} if isinstance(value, str) else value


class WafRules(Section):
    """Requests that look like attacks."""

    enabled: bool = True
    mode: Literal["block", "log"] = "block"
    """`log` lets them pass and tells."""
    default_rules: bool = True
    rules: tuple[
        Annotated[WafPattern, Also(_pattern, {"type": "string"})],
        ...,
    ] = ()
    exclude: Strings = ()
    """Names of rules that do not apply, `sqli` or `sqli.union`."""
    max_body: Bytes = 128 << 10
    """How much of a body is looked at."""


class SecretFile(Section):
    """A secret, in a file of its own."""

    file: FileName


def _secret(value: Any) -> Any:
    if isinstance(value, str):  # which is not repeated
        raise BadValueError("a secret has no place in here", "keep it in a file: client_secret: {file: FILE}")
    return value


def _cookie_secret(value: Any) -> Any:
    if isinstance(value, str):
        raise BadValueError("a secret has no place in here", "keep it in a file: cookie_secret: {file: FILE}")
    return value


class SecurityHeaders(Section):
    """Header fields that browsers protect people by; null removes one."""

    strict_transport_security: FieldValue | None = "max-age=31536000"
    content_security_policy: FieldValue | None = (
        "default-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
    )
    x_content_type_options: FieldValue | None = "nosniff"
    x_frame_options: FieldValue | None = "SAMEORIGIN"
    referrer_policy: FieldValue | None = "strict-origin-when-cross-origin"


class _Rule(Section):
    name: str | None = None
    """What routes call it by."""
    apply: Literal["all", "named"] = "all"
    """`named` is only for routes that name it."""


class OidcRule(_Rule):
    """OpenID Connect."""

    kind: Literal["oidc"]
    issuer: str
    client_id: str
    client_secret: Annotated[SecretFile | None, BeforeValidator(_secret)] = None
    client_secret_file: FileName | None = None
    scopes: Strings = ("openid", "profile", "email")
    callback_path: PathText = "/.velocity/oidc/callback"
    logout_path: PathText = "/.velocity/oidc/logout"
    cookie: FieldName = "velocity_session"
    session: Duration = 8 * 3600 * 1000
    audiences: Strings = ()
    require: dict[str, Annotated[tuple[str, ...], ONE_OR_MORE]] = Field(default={})
    """Claims, and the values of which each must have one: `{groups: [ops]}`."""
    claim_headers: dict[str, FieldName] = Field(default={})
    claims: Strings = ()
    """Further claims, for templates: `{{ claims.email }}`."""
    cookie_secret: Annotated[SecretFile | None, BeforeValidator(_cookie_secret)] = None
    """What sessions are sealed with; without, they end with the process."""
    ca_file: FileName | None = None

    @model_validator(mode="after")
    def _check(self) -> OidcRule:
        if not re.fullmatch(r"https?://[^\s?#]+", self.issuer):
            raise BadValueError(f"{self.issuer[:80]!r} is no issuer", "write https://HOST/PATH")
        if self.client_secret is not None and self.client_secret_file is not None:
            raise BadValueError("client_secret and client_secret_file exclude each other", "leave out one of the two")
        if self.callback_path == self.logout_path:
            raise BadValueError("callback_path and logout_path are the same", "give each its own")
        return self


class HeadersRule(_Rule):
    """Header fields; outside of `request`, they are those of the response."""

    kind: Literal["headers"]
    request: HeaderRules | None = None
    response: HeaderRules | None = None
    remove: _FieldNames = ()
    set: _FieldMap = ()
    add: _FieldMap = ()
    default: _FieldMap = ()


class CorsRule(_Rule):
    """Cross-origin requests."""

    kind: Literal["cors"]
    origins: Annotated[tuple[Origin, ...], ONE_OR_MORE] = ("*",)
    methods: Annotated[tuple[Method, ...], ONE_OR_MORE] = ("GET", "HEAD", "POST")
    headers: _FieldNames = ()
    expose: _FieldNames = ()
    credentials: bool = False
    max_age: Duration = 600_000

    @model_validator(mode="after")
    def _credentials_need_origins(self) -> CorsRule:
        if self.credentials and "*" in self.origins:
            raise BadValueError("credentials for every origin", "name the origins that may send them")
        return self


class CompressRule(_Rule):
    """Answers that are compressed on the way out."""

    kind: Literal["compress"]
    codings: Annotated[tuple[Literal["br", "zstd", "gzip"], ...], ONE_OR_MORE, Field(min_length=1)] = (
        "br",
        "zstd",
        "gzip",
    )
    min_size: Bytes = 256


_HASH = re.compile(r"\$argon2id\$[!-~]{20,500}|\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}")


def is_password_hash(text: str) -> bool:
    """Whether it is argon2id (PHC) or bcrypt."""
    return _HASH.fullmatch(text) is not None


def _users(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise BadValueError("users are names and password hashes", "or keep them in a file: users_file: FILE")
    for name, hashed in value.items():
        if not name or ":" in name or not name.isprintable():
            raise BadValueError(f"{name[:40]!r} cannot be the name of a user", "leave out colons")
        if not isinstance(hashed, str) or not is_password_hash(hashed):
            raise BadValueError(f"the password of {name[:40]} is not hashed", "use argon2id or bcrypt: htpasswd -B")
    return tuple(value.items())


class BasicAuthRule(_Rule):
    """User and password."""

    kind: Literal["basic_auth"]
    realm: FieldValue = "restricted"
    users: Annotated[
        tuple[tuple[str, str], ...],
        PlainValidator(_users),
        WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
    ] = ()
    users_file: FileName | None = None
    """Lines of NAME:HASH, as htpasswd -B writes them."""

    @model_validator(mode="after")
    def _somebody(self) -> BasicAuthRule:
        if not self.users and self.users_file is None:
            raise BadValueError("there are no users", "name some, or a users_file")
        return self


class IpRule(_Rule):
    """Networks that may or may not come."""

    kind: Literal["ip"]
    allow: Annotated[tuple[Network, ...], ONE_OR_MORE] = ()
    deny: Annotated[tuple[Network, ...], ONE_OR_MORE] = ()


class RequestSizeRule(_Rule):
    """Larger request bodies are refused."""

    kind: Literal["request_size"]
    max: Bytes


class EarlyHintsRule(_Rule):
    """103 before the answer."""

    kind: Literal["early_hints"]
    links: Annotated[tuple[FieldValue, ...], ONE_OR_MORE, Field(min_length=1)]


class _RateLimitMiddleware(_Rule, RateLimitRule):
    """A rate limit that routes name."""

    kind: Literal["rate_limit"]


class _WafMiddleware(_Rule, WafRules):
    """A WAF that routes name."""

    kind: Literal["waf"]


ALIASES = {"ip_access": "ip", "early-hints": "early_hints", "request-size": "request_size", "basic-auth": "basic_auth"}
MIDDLEWARES = (
    "oidc", "headers", "cors", "compress", "basic_auth", "ip", "request_size", "early_hints", "rate_limit", "waf"
)  # fmt: skip


def _known_kind(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", value.get("type"))
    if kind is None:
        raise BadValueError("a middleware without a kind", f"known are {', '.join(MIDDLEWARES)}")
    kind = ALIASES.get(str(kind), kind)
    if kind not in MIDDLEWARES:
        raise BadValueError(f"unknown kind {str(kind)[:40]!r}", closest(str(kind), MIDDLEWARES))
    return {**{key: item for key, item in value.items() if key != "type"}, "kind": kind}


Middleware = Annotated[
    Annotated[
        OidcRule
        | HeadersRule
        | CorsRule
        | CompressRule
        | BasicAuthRule
        | IpRule
        | RequestSizeRule
        | EarlyHintsRule
        | _RateLimitMiddleware
        | _WafMiddleware,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_known_kind),
]
