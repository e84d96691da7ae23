"""The Plan: the one contract between Python, which decides, and the engine, which moves bytes.

`crates/velocity-engine/src/plan.rs` is the mirror of this file. Unknown keys are refused on both
sides, and the golden tests hold both to the same JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "Alpn",
    "Balance",
    "BasicAuth",
    "Cache",
    "CacheKey",
    "Certificate",
    "ClientAuth",
    "Compress",
    "Cors",
    "EarlyHints",
    "Ejection",
    "ErrorPage",
    "Fallback",
    "File",
    "Files",
    "Filter",
    "Handler",
    "Headers",
    "Health",
    "IpAccess",
    "Json",
    "Limits",
    "Listener",
    "Log",
    "Match",
    "Oidc",
    "Plan",
    "Profile",
    "Profiles",
    "Proxy",
    "ProxyProtocol",
    "Python",
    "RateKey",
    "RateLimit",
    "Redirect",
    "RequestSize",
    "Respond",
    "Retries",
    "Route",
    "Site",
    "Template",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamTls",
    "Waf",
    "WafRule",
]

Alpn = Literal["velocity/1", "h3", "h2", "http/1.1"]
Profile = Literal["light", "balanced", "secure"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Slotted:
    """A part of which there may be a hundred thousand: a dataclass, for which Python takes less time and memory."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")


class Listener(_Part):
    """One address, for UDP and TCP as its protocols need."""

    address: str
    """`127.0.0.1:4433` or `[::]:443`; port 0 asks the kernel for one."""
    alpn: tuple[Alpn, ...]
    """Preferred first."""


class Certificate(_Part):
    """One certificate of the server. Key bytes never pass through Python.

    Which names it is for is read from its subjectAltName; the first of the Plan answers for all others.
    """

    chain_file: Path
    """PEM, leaf first: hybrid, or classical where there is no hybrid one."""
    key_file: Path
    """The classical key, PKCS#8 or what OpenSSL writes, PEM."""
    alternative_key_file: Path | None = None
    """The ML-DSA key of a hybrid chain; None for a classical one."""
    classical_chain_file: Path | None = None
    """A lean chain for the same classical key, for clients without `velocity/1`; None sends `chain_file` to all."""


class Profiles(_Part):
    """The profile policy: `default` where the client has no preference, `permit` what is allowed at all."""

    default: Profile = "balanced"
    permit: tuple[Profile, ...] = ("light", "balanced", "secure")


class ClientAuth(_Part):
    """Client certificates (RFC 9846 section 4.3.2)."""

    roots_file: Path
    """PEM: whose certificates are good."""
    mode: Literal["request", "require"] = "request"
    """Whether a client may come without one."""
    revocation_files: tuple[Path, ...] = ()
    """Revocation lists, DER or PEM."""


class Fallback(_Part):
    """Where a client that offers `velocity/1` and does not get it should go."""

    alpn: Alpn = "h3"
    host: str | None = None
    """None is the host it asked for."""
    port: int | None = None
    """None is the port it came to."""


class Tls(_Part):
    """Everything about the handshake."""

    certificates: tuple[Certificate, ...]
    profiles: Profiles = Profiles()
    client_auth: ClientAuth | None = None
    fallback: Fallback = Fallback()


class Limits(_Part):
    """What peers may make the server hold. Durations in milliseconds, sizes in bytes."""

    max_sessions: int | None = None
    """Connections at once over all protocols; None is unlimited."""
    max_datagram_size: int | None = None
    """Largest UDP payload sent; None lets path MTU discovery decide, up to 1452."""
    handshake_timeout_ms: int = 10_000
    idle_timeout_ms: int = 60_000
    header_timeout_ms: int = 30_000
    max_header_bytes: int = 65_536
    max_streams: int = 100
    """Concurrent requests on one connection; RFC 9114 section 6.1 asks for at least 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files(_Slotted):
    """Handler: a folder."""

    kind: Literal["files"] = "files"
    root: Path
    index: tuple[str, ...] = ("index.html",)
    listings: bool = False
    cache_control: str | None = None
    dotfiles: bool = False
    compress: bool = True
    hot_cache_bytes: int = 64 << 20
    strip_prefix: str = ""
    """Cut from the path before it is looked for, `/assets`."""
    fallback_file: str | None = None
    """Answers, with 200, what is not there: `index.html` of a single-page application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File(_Slotted):
    """Handler: one file, whatever the path."""

    kind: Literal["file"] = "file"
    path: Path
    status: int = 200
    content_type: str | None = None
    """None goes by the name of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond(_Slotted):
    """Handler: a fixed answer."""

    kind: Literal["respond"] = "respond"
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Json(_Slotted):
    """Handler: JSON in which every string, keys excepted, is a template."""

    kind: Literal["json"] = "json"
    status: int = 200
    body: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(_Slotted):
    """Handler: a page rendered from a template of `Plan.templates`."""

    kind: Literal["template"] = "template"
    name: str
    status: int = 200
    content_type: str | None = None
    """None goes by the name of the template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect(_Slotted):
    """Handler: another address."""

    kind: Literal["redirect"] = "redirect"
    location: str
    """A template: `https://{{ host }}{{ path }}`."""
    status: Literal[301, 302, 303, 307, 308] = 308


class Timeouts(_Part):
    """What an upstream may take, in milliseconds."""

    connect_ms: int = 5_000
    response_ms: int = 60_000
    """To the response head."""
    idle_ms: int = 120_000
    """Between two bytes of a body."""


class Upstream(_Part):
    """One of the servers that a route passes requests on to."""

    url: str
    """`http://`, `https://`, `h2c://`, `h3://` or `velocity://` with host and port; or `unix:/run/app.sock`.

    A host that begins with `_` is a service whose servers DNS knows.
    """
    weight: int = 1
    backup: bool = False
    """Asked only when no other can be."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """What connections to it begin with: for whom they are made."""


class Balance(_Part):
    """Which of several servers gets a request."""

    by: Literal[
        "round_robin",
        "least_connections",
        "two_choices",
        "sticky",
        "client_hash",
        "header_hash",
        "cookie_hash",
        "path_hash",
    ] = "round_robin"
    name: str | None = None
    """Of the header or cookie that is hashed, without which a request goes by the address of its client; or of the
    cookie that is set."""
    secret_file: Path | None = None
    """What the cookie that is set is keyed with. Without it, whoever guesses the URL of an upstream sees that."""


class Retries(_Part):
    """When a request is sent again."""

    attempts: int = 0
    statuses: tuple[int, ...] = ()
    """Answers to idempotent requests that count as failures."""
    body_bytes: int = 65_536
    """Bodies of up to this size are kept until there is an answer."""


class UpstreamTls(_Part):
    """How an upstream proves who it is, and we to it."""

    ca_file: Path | None = None
    """Roots instead of the system's."""
    server_name: str | None = None
    """SNI, and the name in the certificate; None is the host of the upstream."""
    insecure: bool = False
    certificate: Certificate | None = None


class Health(_Part):
    """Asking upstreams, without anybody else asking, how they are."""

    path: str = "/"
    interval_ms: int = 10_000
    timeout_ms: int = 5_000
    rise: int = 2
    fall: int = 3
    """So many in a row make a server healthy again, or not."""
    status: int | None = None
    """None takes every status from 200 to 399."""


class Ejection(_Part):
    """Leaving an upstream alone that fails."""

    failures: int = 3
    """In a row; 0 never leaves it alone."""
    for_ms: int = 10_000


class CacheKey(_Part):
    """A part of a request that answers depend on."""

    of: Literal["header", "cookie"]
    name: str


class Cache(_Part):
    """Keeping answers for those who ask next (RFC 9111). Durations in milliseconds, sizes in bytes."""

    memory_bytes: int = 64 << 20
    disk_bytes: int = 0
    """0 for none."""
    path: Path | None = None
    """The folder for what lies on the disk."""
    max_object_bytes: int = 8 << 20
    """At most a quarter of the disk, or of the memory without one."""
    default_ttl_ms: int = 0
    """How long an answer is fresh that does not say so; 0 does not store it."""
    stale_while_revalidate_ms: int = 0
    stale_if_error_ms: int = 0
    """For answers that do not say so, how long after they have become stale."""
    key: tuple[CacheKey, ...] = ()
    """What answers depend on besides the URI and what their Vary names."""
    ignore_set_cookie: bool = False
    """Store answers that set cookies, without those."""
    status_header: bool = True
    """Whether answers say what became of them: `Cache-Status` (RFC 9211)."""
    purge_from: tuple[str, ...] = ()
    """Networks of those who may purge."""


class Proxy(_Part):
    """Handler: other servers."""

    kind: Literal["proxy"] = "proxy"
    upstreams: tuple[Upstream, ...]
    balance: Balance = Balance()
    preserve_host: bool = False
    strip_prefix: str = ""
    streaming: bool = True
    """Whether an answer goes on while it comes in; otherwise it is read first, if it is short."""
    retries: Retries = Retries()
    timeouts: Timeouts = Timeouts()
    tls: UpstreamTls = UpstreamTls()
    health: Health | None = None
    ejection: Ejection = Ejection()
    slow_start_ms: int = 0
    """How long an upstream that has come back has less than its weight; 0 for not at all."""
    resolver: str | None = None
    """Address and port of the DNS server to ask where services are; None is the system's."""
    max_response_bytes: int | None = None
    """The largest body of an answer."""
    cache: Cache | None = None


class Python(_Part):
    """Handler: an application in Python."""

    kind: Literal["python"] = "python"
    app: str
    """`module:attribute`, followed by `()` where that makes the application."""
    root_path: str = ""
    """What of the path says which application it is for, without a slash at its end."""
    files: Files | None = None
    """Asked first; what is not there is for the application."""
    limit_concurrency: int | None = None
    """Requests at once; more get 503."""
    ws_per_message_deflate: bool = True
    """Whether messages of WebSockets are compressed where the client offers it."""
    ws_max_message_bytes: int = 16 << 20
    """The largest message of a WebSocket that is taken."""
    ws_ping_ms: int | None = 20_000
    """How long a client may be silent before it is pinged, and then again before it is given up; None is never."""
    timeout_ms: int | None = None
    """For the head of an answer."""


Handler: TypeAlias = Annotated[
    Files | File | Respond | Json | Template | Redirect | Proxy | Python, Field(discriminator="kind")
]


class RateKey(_Part):
    """Whom a rate limit counts: the client's address (IPv6 by /64), or the value of a header or cookie, or the path."""

    of: Literal["client", "header", "cookie", "path"] = "client"
    name: str | None = None
    """Of the header or cookie; requests without it are counted by address."""


class RateLimit(_Part):
    """Filter: at most `limit` requests in any `window_ms`, else 429."""

    kind: Literal["rate_limit"] = "rate_limit"
    limit: int
    window_ms: int
    key: RateKey = RateKey()


class WafRule(_Part):
    """A pattern that no request may have in it."""

    name: str
    pattern: str
    """Syntax of Rust's regex crate: linear time, no look-around, no back-references."""
    targets: tuple[Literal["path", "query", "headers", "body"], ...] = ("path", "query", "headers", "body")


class Waf(_Part):
    """Filter: requests that look like attacks."""

    kind: Literal["waf"] = "waf"
    mode: Literal["block", "log"] = "block"
    default_rules: bool = True
    rules: tuple[WafRule, ...] = ()
    exclude: tuple[str, ...] = ()
    """Names of rules that do not apply, `sqli` or `sqli.union`."""
    max_body_bytes: int = 128 << 10
    """How much of a body is looked at."""


class Headers(_Part):
    """Filter: header fields of a request or response, as pairs of name and template."""

    kind: Literal["headers"] = "headers"
    of: Literal["request", "response"] = "response"
    default: tuple[tuple[str, str], ...] = ()
    """Set where there is none."""
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class Cors(_Part):
    """Filter: cross-origin requests (Fetch standard, section 3.2)."""

    kind: Literal["cors"] = "cors"
    origins: tuple[str, ...] = ("*",)
    """`https://app.example`, `https://*.example.com`, or `*`."""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age_s: int = 600


class Compress(_Part):
    """Filter: answers that are compressed on the way out."""

    kind: Literal["compress"] = "compress"
    codings: tuple[Literal["br", "zstd", "gzip"], ...] = ("br", "zstd", "gzip")
    min_bytes: int = 256


class BasicAuth(_Part):
    """Filter: user and password (RFC 7617)."""

    kind: Literal["basic_auth"] = "basic_auth"
    realm: str = "restricted"
    users: tuple[tuple[str, str], ...]
    """Pairs of name and password hash: argon2id (PHC) or bcrypt."""


class IpAccess(_Part):
    """Filter: networks, `10.0.0.0/8`. Whoever is denied, or not allowed where anybody is, gets 403."""

    kind: Literal["ip_access"] = "ip_access"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class RequestSize(_Part):
    """Filter: larger request bodies get 413."""

    kind: Literal["request_size"] = "request_size"
    max_bytes: int


class EarlyHints(_Part):
    """Filter: 103 (RFC 8297) before the answer."""

    kind: Literal["early_hints"] = "early_hints"
    links: tuple[str, ...]
    """Values of Link: `</style.css>; rel=preload; as=style`."""


class Oidc(_Part):
    """Filter: OpenID Connect. Browsers log in (authorization code, PKCE), API calls bring a bearer token."""

    kind: Literal["oidc"] = "oidc"
    issuer: str
    client_id: str
    client_secret_file: Path | None = None
    """None for a public client."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    callback_path: str = "/.velocity/oidc/callback"
    logout_path: str = "/.velocity/oidc/logout"
    cookie: str = "velocity_session"
    session_ms: int = 8 * 3600 * 1000
    audiences: tuple[str, ...] = ()
    """Further audiences of bearer tokens; `client_id` always is one."""
    require: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Claims, and the values of which each must have one; else 403."""
    claim_headers: tuple[tuple[str, str], ...] = ()
    """Pairs of claim and request header field that tells handlers."""
    claims: tuple[str, ...] = ()
    """What sessions hold besides: claims of templates and of filters that share them."""
    cookie_secret_file: Path | None = None
    """What sessions are sealed with, at least 32 bytes; None is a secret that ends with the process."""
    ca_file: Path | None = None
    """Roots for the provider's certificate; None is the system's."""


Filter: TypeAlias = Annotated[
    RateLimit | Waf | Headers | Cors | Compress | BasicAuth | IpAccess | RequestSize | EarlyHints | Oidc,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match(_Slotted):
    """Which paths: the whole of it, its first segments, or segments with `{name}` and a last `{*rest}`."""

    kind: Literal["exact", "prefix", "pattern"]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(_Slotted):
    """Requests, and who answers them."""

    name: str
    """For logs: `content.sites[0]`, `edge.routes[2]`."""
    match: Match
    methods: tuple[str, ...] = ()
    """Upper case; empty for all. GET includes HEAD."""
    filters: tuple[int, ...] = ()
    """Places in `Plan.filters`, in the order they see a request."""
    handler: Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage(_Slotted):
    """What to show instead of an answer without a body of its own."""

    status: str
    """`404`, `4xx`, `5xx`: the most exact one is shown."""
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(_Slotted):
    """Host names, and the routes of which the first that matches answers."""

    hosts: tuple[str, ...] = ()
    """Exact, or `*.example.com`; exact ones win, then the longest wildcard, then the site without any."""
    profiles: Profiles | None = None
    """Another policy than the server's, by SNI."""
    routes: tuple[Route, ...]
    error_pages: tuple[ErrorPage, ...] = ()


class ProxyProtocol(_Part):
    """The PROXY protocol on its way in."""

    trusted: tuple[str, ...]
    """Networks of those who speak it."""
    required: bool = True
    """Whether they always do."""


class Log(_Part):
    """What is logged beyond the level."""

    access: bool = True


class Plan(_Part):
    """Everything the engine needs to serve."""

    version: Literal[1] = 1
    listeners: tuple[Listener, ...]
    tls: Tls
    limits: Limits = Limits()
    sites: tuple[Site, ...]
    filters: tuple[Filter, ...] = ()
    """Named by their place, so that routes can share one and its state."""
    templates: Path | None = None
    """The folder of all templates."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose `Forwarded` and `X-Forwarded-For` say who the client is."""
    proxy_protocol: ProxyProtocol | None = None
    """Who says at the beginning of a TCP connection whose it is; None for nobody."""
    log: Log = Log()
    workers: int | None = None
    """Threads; None is one for each CPU this process may run on."""

    def to_json(self) -> str:
        """The canonical form: keys in the order of this file, no spaces, every key present."""
        return self.model_dump_json()
