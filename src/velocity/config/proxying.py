"""Other servers, as configuration files have them: where they are, and how requests are passed on to them.

upstream: http://127.0.0.1:3000

upstream:
- http://10.0.0.1:3000
- {url: http://10.0.0.2:3000, weight: 2}
- {url: http://10.0.0.3:3000, backup: true}
balance: least_connections
health: /healthz
cache: {memory: 128MiB, stale_if_error: 1h}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from velocity.config.middleware import HeaderRules, SecretFile
from velocity.config.plan import (
    Balance,
    Cache,
    CacheKey,
    Certificate,
    Ejection,
    Health,
    Proxy,
    Retries,
    Timeouts,
    UpstreamTls,
)
from velocity.config.plan import Upstream as PlannedUpstream
from velocity.config.section import (
    ONE_OR_MORE,
    Also,
    Bytes,
    CookieName,
    Duration,
    FieldName,
    FieldValue,
    FileName,
    Host,
    Network,
    PathText,
    Resolver,
    Section,
    Status,
    Upstream,
)
from velocity.config.values import BadValueError
from velocity.files import sibling

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ProxyTimeouts", "RetryRule", "Rewrites", "UpstreamOptions", "plan_proxy"]

_BALANCE = {
    "round_robin": "round_robin",
    "least_connections": "least_connections",
    "two_choices": "two_choices",
    "sticky": "sticky",
    "client": "client_hash",
    "path": "path_hash",
    "header": "header_hash",
    "cookie": "cookie_hash",
}


class ProxyTimeouts(Section):
    """How long an upstream may take."""

    connect: Duration | None = None
    response: Duration | None = None
    """To the response head."""
    idle: Duration | None = None
    """Between two bytes of a body."""

    @model_validator(mode="after")
    def _positive(self) -> ProxyTimeouts:
        for name in ("connect", "response", "idle"):
            if getattr(self, name) == 0:
                raise BadValueError(f"a timeout of 0 for {name} would refuse every request", "leave it out, or wait")
        return self


class RetryRule(Section):
    """When a request is tried again, on another connection or upstream: only where that can do no harm."""

    attempts: Annotated[int, Field(ge=0, le=10)] | None = None
    """None tries every other upstream, up to two, and a lone one once more."""
    statuses: Annotated[tuple[Status, ...], ONE_OR_MORE] = ()
    """Answers to idempotent requests that count as failures, for example [502, 503]."""
    body: Bytes = 65_536
    """Bodies of up to this size are kept until there is an answer."""


def _attempts(value: Any) -> Any:
    """A number alone is that of attempts."""
    return {"attempts": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Rewrites(Section):
    """Header fields of what is passed on, and of what comes back."""

    request: HeaderRules | None = None
    response: HeaderRules | None = None


class UpstreamServer(Section):
    """One of several."""

    url: Upstream
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    backup: bool = False
    """Asked only when no other can be."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """What connections to it begin with: whose they are."""

    @model_validator(mode="after")
    def _over_tcp(self) -> UpstreamServer:
        if self.proxy_protocol is not None and self.url.startswith(("h3://", "velocity://")):
            raise BadValueError(f"{self.url} has no PROXY protocol: that is for TCP", "take it out, or write https://")
        return self


def _server(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


def _secret(value: Any) -> Any:
    if isinstance(value, str):  # which is not repeated
        raise BadValueError("a secret has no place in here", "keep it in a file: secret: {file: FILE}")
    return value


class BalanceRule(Section):
    """Which of several servers gets a request."""

    by: Literal["round_robin", "least_connections", "two_choices", "client", "path", "header", "cookie", "sticky"]
    name: CookieName | None = None
    """Of the header or cookie, or of the cookie that is set."""
    secret: Annotated[SecretFile | None, BeforeValidator(_secret)] = None
    """What the cookie that is set is keyed with."""

    @model_validator(mode="after")
    def _named(self) -> BalanceRule:
        if self.secret is not None and self.by != "sticky":
            raise BadValueError("only sticky balance has a secret", "take it out, or write by: sticky")
        if self.by in ("header", "cookie", "sticky") and self.name is None:
            what = "sticky balance needs the name of a cookie" if self.by == "sticky" else None
            raise BadValueError(
                what or f"balance by a {self.by} needs its name", f"write {{by: {self.by}, name: NAME}}"
            )
        return self


def _balance(value: Any) -> Any:
    return {"by": value} if isinstance(value, str) else value


class HealthRule(Section):
    """Asking upstreams how they are."""

    path: PathText = "/"
    interval: Duration = 10_000
    timeout: Duration = 5_000
    rise: Annotated[int, Field(ge=1, le=100)] = 2
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """So many answers in a row make a server healthy again, or not."""
    status: Status | None = None
    """None takes every status from 200 to 399."""


def _health(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class EjectionRule(Section):
    """Leaving a server alone that fails."""

    failures: Annotated[int, Field(ge=0, le=1000)] = 3
    """In a row; 0 never leaves it alone."""
    duration: Annotated[Duration, Field(alias="for")] = 10_000


class UpstreamTlsRule(Section):
    """How an upstream proves who it is, and we to it."""

    ca_file: FileName | None = None
    """Roots instead of the system's."""
    server_name: Host | None = None
    """SNI, and the name in its certificate."""
    insecure: bool = False
    """Believe anybody."""
    certificate: FileName | None = None
    private_key: FileName | None = None

    @model_validator(mode="after")
    def _whole(self) -> UpstreamTlsRule:
        if (self.certificate is None) != (self.private_key is None):
            raise BadValueError("certificate and private_key belong together", "name both, or neither")
        if self.insecure and self.ca_file is not None:
            raise BadValueError("insecure and ca_file exclude each other", "leave out one of the two")
        return self


class CacheKeyRule(Section):
    """What answers depend on: one of these."""

    header: FieldName | None = None
    cookie: FieldValue | None = None

    @model_validator(mode="after")
    def _one(self) -> CacheKeyRule:
        if (self.header is None) == (self.cookie is None):
            raise BadValueError("name a header or a cookie", "for example header:X-Tenant")
        return self


def _cache_key(value: Any) -> Any:
    """`header:X-Tenant` is short for `{header: X-Tenant}`."""
    if not isinstance(value, str):
        return value
    kind, _, name = value.partition(":")
    if kind in ("header", "cookie") and name.strip():
        return {kind: name.strip()}
    raise BadValueError(f"unknown key {value[:40]!r}", "write header:NAME or cookie:NAME; the URI is a key always")


class CacheRule(Section):
    """Keeping answers for those who ask next (RFC 9111)."""

    memory: Bytes = 64 << 20
    """For everything that is kept there, and a quarter of it for what is on its way."""
    disk: Bytes = 0
    """For bodies of more than 256 KiB; 0 keeps them in memory."""
    path: FileName | None = None
    """The folder for those. It is emptied at every start."""
    max_object: Bytes | None = None
    """None is 8 MiB, or a quarter of the disk or memory if that is less."""
    default_ttl: Duration = 0
    """How long an answer is fresh that does not say so; 0 does not keep it."""
    stale_while_revalidate: Duration = 0
    stale_if_error: Duration = 0
    """For answers that do not say so (RFC 5861), how long after they have become stale."""
    key: Annotated[tuple[Annotated[CacheKeyRule, Also(_cache_key, {"type": "string"})], ...], ONE_OR_MORE] = ()
    """What answers depend on besides the URI and their Vary: `header:NAME`, `cookie:NAME`."""
    ignore_set_cookie: bool = False
    """Keep answers that set cookies, without those."""
    status_header: bool = True
    """Whether answers say what became of them: Cache-Status (RFC 9211)."""
    purge_from: Annotated[tuple[Network, ...], ONE_OR_MORE] = ()
    """Who may purge."""

    @model_validator(mode="after")
    def _consistent(self) -> CacheRule:
        if (self.path is None) != (self.disk == 0):
            raise BadValueError("disk and path of a cache belong together", "name both: {disk: 1GiB, path: DIR}")
        if self.memory < _SMALLEST_CACHE or 0 < self.disk < _SMALLEST_CACHE:
            raise BadValueError("a cache of less than 1 MiB keeps next to nothing", "make memory and disk larger")
        if self.max_object is not None and not 0 < self.max_object <= self.room // 4:
            place = "disk" if self.disk else "memory"
            raise BadValueError(
                f"max_object is more than a quarter of the {place} of the cache" if self.max_object else
                "a max_object of 0 would keep nothing",
                f"make it {self.room // 4:,} bytes or less, or {place} larger",
            )  # fmt: skip
        return self

    @property
    def room(self) -> int:
        """Bytes for the largest bodies."""
        return self.disk or self.memory


_SMALLEST_CACHE = 1 << 20


def _cache(value: Any) -> Any:
    """`true` is a cache as it is without any of its keys, `false` none."""
    if value is True:
        return {}
    return None if value is False else value


class UpstreamOptions(Section):
    """How requests are passed on."""

    upstream: Annotated[
        tuple[Annotated[UpstreamServer, Also(_server, {"type": "string"})], ...], ONE_OR_MORE, Field(min_length=1)
    ]
    """One or several."""
    balance: Annotated[BalanceRule, Also(_balance, {"type": "string"})] | None = None
    preserve_host: bool = False
    strip_prefix: bool | PathText = False
    """`true` for the path of the route, or what to cut."""
    streaming: bool = True
    retries: Annotated[RetryRule, Also(_attempts, {"type": "integer"})] = RetryRule()
    timeouts: ProxyTimeouts = ProxyTimeouts()
    health: Annotated[HealthRule, Also(_health, {"type": "string"})] | None = None
    eject: EjectionRule = EjectionRule()
    slow_start: Duration = 0
    """How long an upstream that has come back has less than its weight."""
    resolver: Resolver | None = None
    """The DNS server to ask where services are, for upstreams such as `http://_http._tcp.example.com`."""
    max_response: Bytes | None = None
    """The largest body of an answer."""
    tls: UpstreamTlsRule = UpstreamTlsRule()
    headers: Rewrites = Rewrites()
    cache: Annotated[CacheRule | None, Also(_cache, {"type": "boolean"})] = None


def plan_proxy(options: UpstreamOptions, strip_prefix: str, folder: Path) -> Proxy:
    """The handler for these options.

    Args:
        options: as the file has them.
        strip_prefix: what is cut from a path, empty for nothing.
        folder: that of the file, in which names of certificates are looked for.
    """
    servers = options.upstream
    attempts = options.retries.attempts
    return Proxy(
        upstreams=tuple(
            PlannedUpstream(url=one.url, weight=one.weight, backup=one.backup, proxy_protocol=one.proxy_protocol)
            for one in servers
        ),
        balance=_planned_balance(options.balance, folder),
        preserve_host=options.preserve_host,
        strip_prefix=strip_prefix,
        streaming=options.streaming,
        retries=Retries(
            attempts=min(max(len(servers) - 1, 1), 2) if attempts is None else attempts,
            statuses=options.retries.statuses,
            body_bytes=options.retries.body,
        ),
        timeouts=_planned_timeouts(options.timeouts),
        tls=_planned_tls(options.tls, folder),
        health=_planned_health(options.health),
        ejection=Ejection(failures=options.eject.failures, for_ms=options.eject.duration),
        slow_start_ms=options.slow_start,
        resolver=options.resolver,
        max_response_bytes=options.max_response,
        cache=_planned_cache(options.cache, folder),
    )


def _planned_balance(rule: BalanceRule | None, folder: Path) -> Balance:
    if rule is None:
        return Balance()
    secret = None if rule.secret is None else folder / rule.secret.file
    return Balance.model_validate({"by": _BALANCE[rule.by], "name": rule.name, "secret_file": secret})


def _planned_timeouts(given: ProxyTimeouts) -> Timeouts:
    defaults = Timeouts()
    return Timeouts(
        connect_ms=given.connect or defaults.connect_ms,
        response_ms=given.response or defaults.response_ms,
        idle_ms=given.idle or defaults.idle_ms,
    )


def _planned_tls(rule: UpstreamTlsRule, folder: Path) -> UpstreamTls:
    certificate = None
    if rule.certificate is not None and rule.private_key is not None:
        key = folder / rule.private_key
        alternative = sibling(key, "mldsa")
        certificate = Certificate(
            chain_file=folder / rule.certificate,
            key_file=key,
            alternative_key_file=alternative if alternative.is_file() else None,
        )
    return UpstreamTls(
        ca_file=None if rule.ca_file is None else folder / rule.ca_file,
        server_name=rule.server_name,
        insecure=rule.insecure,
        certificate=certificate,
    )


def _planned_health(rule: HealthRule | None) -> Health | None:
    if rule is None:
        return None
    return Health(
        path=rule.path,
        interval_ms=rule.interval,
        timeout_ms=rule.timeout,
        rise=rule.rise,
        fall=rule.fall,
        status=rule.status,
    )


def _planned_cache(rule: CacheRule | None, folder: Path) -> Cache | None:
    if rule is None:
        return None
    return Cache(
        memory_bytes=rule.memory,
        disk_bytes=rule.disk,
        path=None if rule.path is None else folder / rule.path,
        max_object_bytes=min(8 << 20, rule.room // 4) if rule.max_object is None else rule.max_object,
        default_ttl_ms=rule.default_ttl,
        stale_while_revalidate_ms=rule.stale_while_revalidate,
        stale_if_error_ms=rule.stale_if_error,
        key=tuple(map(_planned_key, rule.key)),
        ignore_set_cookie=rule.ignore_set_cookie,
        status_header=rule.status_header,
        purge_from=rule.purge_from,
    )


def _planned_key(rule: CacheKeyRule) -> CacheKey:
    if rule.header is not None:
        return CacheKey(of="header", name=rule.header)
    return CacheKey(of="cookie", name=rule.cookie or "")
