"""`serve.simple.yaml`: a server, what it serves, and what it tells.

server:
  listen: 0.0.0.0:443
  tls: {certificate: fullchain.pem, private_key: privkey.pem}
content:
  sites:
    - {hostname: example.com, root: /srv/www/example}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from velocity.config.action import Policies, Route
from velocity.config.middleware import SecurityHeaders
from velocity.config.plan import Alpn
from velocity.config.proxying import UpstreamOptions
from velocity.config.section import (
    ONE_OR_MORE,
    Bytes,
    Count,
    Duration,
    FieldValue,
    FileName,
    Hosts,
    Listen,
    Network,
    PathText,
    Pattern,
    Port,
    ProfilePolicy,
    Protocols,
    Section,
    Strings,
    text_of,
)
from velocity.config.values import BadValueError, parse_alpn, parse_domain

__all__ = [
    "CertificateFiles",
    "ClientCertificates",
    "Content",
    "FallbackEndpoint",
    "ProxyProtocolRule",
    "ServerLimits",
    "ServerSection",
    "SimpleConfig",
    "SiteEntry",
    "SiteProxy",
    "SiteRedirect",
    "TelemetrySection",
    "TicketSection",
    "TlsSection",
]


class CertificateFiles(Section):
    """A chain and its key, PEM. Their siblings, `fullchain.classical.pem` and `privkey.mldsa.pem`, are found."""

    certificate: FileName
    private_key: FileName


class ClientCertificates(Section):
    """Who may come, by certificate."""

    roots: FileName
    """PEM."""
    mode: Literal["request", "require"] = "request"
    """Whether a client may come without one."""
    crl: Annotated[tuple[FileName, ...], ONE_OR_MORE] = ()


class TlsSection(Section):
    """The server's certificates, and what it asks of clients."""

    certificate: FileName | None = None
    private_key: FileName | None = None
    certificates: tuple[CertificateFiles, ...] = ()
    """Further ones, chosen by the name that a client asks for."""
    self_signed: bool = False
    domains: Annotated[tuple[Annotated[str, BeforeValidator(text_of(parse_domain))], ...], ONE_OR_MORE] = ()
    """Names in a self-signed certificate; those of the sites when there are none."""
    require_ech: bool = False
    client_auth: ClientCertificates | None = None

    @model_validator(mode="after")
    def _whole(self) -> TlsSection:
        if (self.certificate is None) != (self.private_key is None):
            given, missing = "certificate", "private_key"
            if self.certificate is None:
                given, missing = missing, given
            raise BadValueError(f"{given} needs {missing}", "name the chain and its private key together")
        if self.self_signed and (self.certificate is not None or self.certificates):
            raise BadValueError("self_signed and certificate exclude each other", "leave out one of the two")
        return self


def _one_protocol(value: Any) -> Alpn:
    found = text_of(parse_alpn)(value)
    if len(found) != 1:
        raise BadValueError("a fallback is one protocol", "for example h3")
    return found[0]


class FallbackEndpoint(Section):
    """Where a client that offers `velocity/1` and does not get it should go."""

    alpn: Annotated[Alpn, PlainValidator(_one_protocol), WithJsonSchema({"type": "string"})] = "h3"
    host: Annotated[str, BeforeValidator(text_of(parse_domain))] | None = None
    port: Port | None = None


class TelemetrySection(Section):
    """What the server tells of itself."""

    metrics_listen: str | None = None
    structured_logs: bool | None = None
    """JSON where true, text where false; JSON unless on a terminal when left out."""
    access_log: bool = True
    otlp: dict[str, Any] | None = None


class ServerLimits(Section):
    """What peers may make the server hold."""

    max_sessions: Count | None = None
    max_datagram_size: Annotated[int, Field(ge=1200, le=65527)] | None = None
    handshake_timeout: Duration = 10_000
    idle_timeout: Duration = 60_000
    header_timeout: Duration = 30_000
    max_header_size: Annotated[Bytes, Field(ge=1024, le=16 << 20)] = 65_536
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 100

    @model_validator(mode="after")
    def _positive(self) -> ServerLimits:
        for name in ("handshake_timeout", "idle_timeout", "header_timeout"):
            if not getattr(self, name):
                raise BadValueError(f"{name} is 0: nobody would be that fast", "for example 30s")
        return self


class ProxyProtocolRule(Section):
    """Load balancers that say at the beginning of a TCP connection whose it is."""

    trusted: Annotated[tuple[Network, ...], ONE_OR_MORE, Field(min_length=1)]
    """Their networks."""
    required: bool = True
    """Whether a connection of theirs has to begin with that."""


_Security = SecurityHeaders | bool


class ServerSection(Section):
    """Where it listens, as whom, and how."""

    listen: Listen | None = None
    alpn: Protocols | None = None
    tls: TlsSection = TlsSection()
    profiles: ProfilePolicy | None = None
    fallback: FallbackEndpoint = FallbackEndpoint()
    telemetry: TelemetrySection | None = None
    limits: ServerLimits = ServerLimits()
    trusted_proxies: Annotated[tuple[Network, ...], ONE_OR_MORE] = ()
    proxy_protocol: ProxyProtocolRule | None = None
    security_headers: _Security | None = None
    """Off, unless there is an edge configuration."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    grace_period: Duration | None = None


def _no_hidden_file(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise BadValueError(f"{value[:80]!r} is outside of the site", "name a file relative to its root")
    return value


_Inside = Annotated[FileName, AfterValidator(_no_hidden_file)]


def _status(value: Any) -> Any:
    if not isinstance(value, dict):
        raise BadValueError("error pages are statuses and files", "for example {404: 404.html, 5xx: error.html}")
    for status in value:
        text = status.lower()
        if not (text in ("4xx", "5xx") or (text.isascii() and text.isdigit() and 400 <= int(text[:4]) <= 599)):
            raise BadValueError(f"{status[:20]!r} is no status of an error", "write 404, 4xx or 5xx")
    return {status.lower(): file for status, file in value.items()}


class SiteRedirect(Section):
    """An old path and where it went; `/old/*` keeps what follows as `{{ rest }}`."""

    source: Annotated[Pattern, Field(alias="from")]
    to: FieldValue
    status: Literal[301, 302, 303, 307, 308] = 308


class SiteEntry(Policies):
    """A folder as a site, or a part of one."""

    hostname: Hosts = ()
    """None, or `*`, for every name that no other site has."""
    path: PathText = "/"
    root: FileName | None = None
    index: Strings = ("index.html",)
    listings: bool = False
    cache_control: FieldValue | None = None
    dotfiles: bool = False
    compress: bool = True
    hot_cache: Bytes = 64 << 20
    spa: bool | _Inside = False
    """Answers what is not there with the index, or with this file."""
    error_pages: Annotated[dict[str, _Inside], BeforeValidator(_status)] = Field(default={})
    redirects: tuple[SiteRedirect, ...] = ()
    redirect: FieldValue | None = None
    """Sends every request elsewhere: `https://www.example.com{{ path }}`."""
    routes: tuple[Route, ...] = ()
    """Routes of this site only."""
    profiles: ProfilePolicy | None = None
    strip_prefix: bool | PathText = True

    @model_validator(mode="after")
    def _something(self) -> SiteEntry:
        if self.root is None and self.redirect is None and not self.routes:
            raise BadValueError("a site without a root", "name the folder: root: DIR")
        if self.root is not None and self.redirect is not None:
            raise BadValueError("root and redirect exclude each other", "leave out one of the two")
        return self


class SiteProxy(Policies, UpstreamOptions):
    """Requests that another server answers."""

    hostname: Hosts = ()
    path: PathText = "/"


class Content(Section):
    """What is served."""

    sites: tuple[SiteEntry, ...] = ()
    proxies: tuple[SiteProxy, ...] = ()
    routes: tuple[Route, ...] = ()


class TicketSection(Section):
    """Session tickets."""

    max_age: Duration | None = None
    rotate_after: Duration | None = None
    storage: FileName | None = None


class SimpleConfig(Section):
    """The whole file."""

    server: ServerSection = ServerSection()
    content: Content = Content()
    telemetry: TelemetrySection | None = None
    profiles: ProfilePolicy | None = None
    tickets: TicketSection | None = None

    @model_validator(mode="after")
    def _once(self) -> SimpleConfig:
        for name in ("telemetry", "profiles"):
            if getattr(self, name) is not None and getattr(self.server, name) is not None:
                raise BadValueError(f"{name} is there twice: by itself and in server", "keep one of the two")
        return self

    @property
    def tells(self) -> TelemetrySection:
        """The telemetry block, wherever it stands."""
        return self.telemetry or self.server.telemetry or TelemetrySection()

    @property
    def policy(self) -> ProfilePolicy:
        """The profile policy, wherever it stands."""
        return self.profiles or self.server.profiles or ProfilePolicy()
