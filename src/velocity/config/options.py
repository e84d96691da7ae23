"""What `velocity serve` can be told, checked. One rule of precedence: flag, then environment, then default.

Each validator turns what people type into what the Plan holds, and says in one line what is wrong
and what to type instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from velocity.config.plan import Alpn, Profile
from velocity.config.program import Interface, Lifespan, Loop, Program, parse_target
from velocity.config.quantities import (
    parse_duration,
    parse_field_name,
    parse_field_value,
    parse_network,
    parse_size,
)
from velocity.config.values import (
    DEFAULT_ALPN,
    DEFAULT_LISTEN,
    BadValueError,
    parse_alpn,
    parse_domain,
    parse_listen,
    parse_profile,
)
from velocity.errors import ConfigError

__all__ = ["ServeOptions"]


def _words(value: Any) -> Any:
    """Environment variables carry lists with commas; flags are repeated."""
    if isinstance(value, str):
        value = [value]
    return tuple(word for item in value or () for word in str(item).split(",") if word.strip())


def _domain_list(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise BadValueError("no name is given", "for example: localhost")
    return tuple(dict.fromkeys(parse_domain(value) for value in values))


def _listen_list(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise BadValueError("no address is named", f"for example: {DEFAULT_LISTEN}")
    parsed = tuple(parse_listen(value) for value in values)
    fixed = [value for value in parsed if not value.endswith(":0")]
    if len(set(fixed)) != len(fixed):
        raise BadValueError("the same address is named twice", "name each address once")
    return parsed


def _profile_list(values: tuple[str, ...]) -> tuple[Profile, ...]:
    if not values:
        raise BadValueError("no profile is named", "for example: balanced,secure")
    return tuple(dict.fromkeys(parse_profile(value) for value in values))


def _network_list(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise BadValueError("no network is named", "for example: 10.0.0.0/8")
    return tuple(dict.fromkeys(parse_network(value) for value in values))


def _one_alpn(value: Any) -> Any:
    names = parse_alpn(value)
    if len(names) != 1 or names[0] == "velocity/1":
        raise BadValueError(f"{value!r} is nothing to fall back to", "choose one of h3, h2, http/1.1")
    return names[0]


def _host(value: str | None) -> str | None:
    return None if value is None else parse_domain(value)


def _path(value: Any) -> Any:
    """An empty path would be the current folder: nobody means that by a variable that is not set."""
    if value == "":
        raise BadValueError("the path is empty", "leave the flag out, or name a file or folder")
    return value


def _cache_control(value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isprintable() and value.strip()):
        raise BadValueError(f"{value!r} cannot be sent as Cache-Control", "for example: public, max-age=3600")
    return value


def _root_path(value: str) -> str:
    path = value.rstrip("/")
    if path and not (path.startswith("/") and path.isascii() and path.isprintable() and not set("?#% ") & set(path)):
        raise BadValueError(f"{value!r} is no path", "for example: /api")
    return path


def _idle_timeout(value: Any) -> Any:
    milliseconds = parse_duration(value)
    if not milliseconds:
        raise BadValueError("0 is no time: nobody would be that fast", "for example 60s")
    return milliseconds


def _header_list(values: Any) -> Any:
    fields = []
    for value in [values] if isinstance(values, str) else values:
        name, colon, text = str(value).partition(":")
        if not colon:
            raise BadValueError(f"{value!r} is no header field", "for example X-Frame-Options:DENY")
        fields.append((parse_field_name(name), parse_field_value(text)))
    return tuple(fields)


_File = Annotated[Path, BeforeValidator(_path)]

OF_APPLICATIONS = (
    "factory",
    "app_dir",
    "root_path",
    "lifespan",
    "interface",
    "env_file",
    "limit_concurrency",
    "ws_per_message_deflate",
    "ws_max_size",
    "ws_ping_interval",
    "header",
    "server_header",
    "log_config",
    "loop",
    "limit_max_requests",
    "limit_max_requests_jitter",
    "timeout_worker_healthcheck",
    "reload",
    "reload_dir",
    "reload_include",
    "reload_exclude",
)
"""Options that say something of an application only."""


class ServeOptions(BaseModel):
    """The checked options of `velocity serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: _File = Path()
    self_signed: bool = False
    domain: Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_domain_list)] = ()
    listen: Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_listen_list)] = (DEFAULT_LISTEN,)
    alpn: Annotated[tuple[Alpn, ...], BeforeValidator(parse_alpn)] = DEFAULT_ALPN
    cert: _File | None = None
    key: _File | None = None
    profile: Annotated[Profile, BeforeValidator(parse_profile)] = "balanced"
    permit: Annotated[tuple[Profile, ...], BeforeValidator(_words), AfterValidator(_profile_list)] = (
        "light",
        "balanced",
        "secure",
    )
    client_ca: _File | None = None
    client_auth: Literal["request", "require"] | None = None
    client_crl: tuple[_File, ...] = ()
    fallback_alpn: Annotated[Alpn, BeforeValidator(_one_alpn)] = "h3"
    fallback_host: Annotated[str | None, AfterValidator(_host)] = None
    fallback_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    proxy_protocol: Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_network_list)] = ()
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_network_list)] = ()
    idle_timeout: Annotated[int, BeforeValidator(_idle_timeout)] = 60_000
    """Milliseconds."""
    max_sessions: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    max_datagram_size: Annotated[int, Field(ge=1200, le=65527)] | None = None
    listings: bool = False
    dotfiles: bool = False
    cache_control: Annotated[str | None, AfterValidator(_cache_control)] = None
    compress: bool = True
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    access_log: bool = True
    app: str | None = None
    factory: bool = False
    app_dir: _File = Path()
    root_path: Annotated[str, AfterValidator(_root_path)] = ""
    lifespan: Lifespan = "auto"
    interface: Interface = "auto"
    env_file: _File | None = None
    limit_concurrency: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    ws_per_message_deflate: bool = True
    ws_max_size: Annotated[int, BeforeValidator(parse_size), Field(ge=1, le=1 << 30)] = 16 << 20
    """Bytes."""
    ws_ping_interval: Annotated[float, Field(ge=0, le=86400)] = 20.0
    """Seconds; 0 is never."""
    header: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_header_list)] = ()
    server_header: bool = True
    log_config: _File | None = None
    loop: Loop = "auto"
    limit_max_requests: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    limit_max_requests_jitter: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    timeout_worker_healthcheck: Annotated[float, Field(ge=1, le=86400)] = 30.0
    reload: bool = False
    reload_dir: Annotated[tuple[_File, ...], BeforeValidator(_words)] = ()
    reload_include: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    reload_exclude: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()

    @property
    def has_files(self) -> bool:
        """Whether a folder is served: the current one only where nothing else is."""
        return self.app is None or "root" in self.model_fields_set

    @property
    def program(self) -> Program | None:
        """The application, if there is one."""
        if self.app is None:
            return None
        return Program(
            target=self.app,
            factory=self.factory,
            app_dir=str(self.app_dir.absolute()),
            lifespan=self.lifespan,
            interface=self.interface,
            env_file=None if self.env_file is None else str(self.env_file.absolute()),
            max_requests=self.limit_max_requests,
            max_requests_jitter=self.limit_max_requests_jitter,
            workers=self._processes,
            healthcheck=self.timeout_worker_healthcheck,
            watched=tuple(str(path.absolute()) for path in self.reload_dir or (self.app_dir,)) if self.reload else (),
            watched_too=self.reload_include,
            unwatched=self.reload_exclude,
            loop=self.loop,
            log_config=None if self.log_config is None else str(self.log_config.absolute()),
        )

    @property
    def _processes(self) -> int | None:
        """Processes for the application: one is the server's own, unless it has to be replaced."""
        count = self.workers or 1
        return count if count > 1 or self.reload else None

    @property
    def threads(self) -> int | None:
        """Threads of the engine; None is one for each CPU. Beside an application `workers` are something else."""
        return None if self.app is not None and self._processes is not None else self.workers

    @classmethod
    def check(cls, values: dict[str, Any]) -> ServeOptions:
        """Build from raw values; None means not given.

        Raises:
            ConfigError: the first thing that is wrong, as one line with a hint.
        """
        try:
            options = cls.model_validate({key: value for key, value in values.items() if value is not None})
        except ValidationError as error:
            raise _explain(error) from None
        options._check_certificate()
        options._check_policy()
        options._check_application()
        return options

    def _check_application(self) -> None:
        if self.app is not None:
            parse_target(self.app)
            self._check_reload()
            return
        for name in OF_APPLICATIONS:
            if name in self.model_fields_set:
                raise ConfigError(
                    "APPLICATION_MISSING",
                    f"--{name.replace('_', '-')} is for an application, and there is none",
                    "name it: velocity serve MODULE:ATTRIBUTE",
                )

    def _check_reload(self) -> None:
        for name in ("reload_dir", "reload_include", "reload_exclude"):
            if getattr(self, name) and not self.reload:
                raise ConfigError("OPTION_INVALID", f"--{name.replace('_', '-')} needs --reload", "add --reload")
        for folder in self.reload_dir:
            if not folder.is_dir():
                raise ConfigError("OPTION_INVALID", f"--reload-dir: {folder} is not a folder", "name one that is there")

    def _check_policy(self) -> None:
        if self.profile not in self.permit:
            raise ConfigError(
                "PROFILE_CONFLICT",
                f"--profile {self.profile} is not among the profiles that --permit allows",
                f"add it: --permit {','.join((self.profile, *self.permit))}",
            )
        if self.client_ca is None and (self.client_auth or self.client_crl):
            given = "--client-auth" if self.client_auth else "--client-crl"
            raise ConfigError("CERT_INCOMPLETE", f"{given} needs --client-ca", "pass the roots of the clients")

    def _check_certificate(self) -> None:
        if self.self_signed and (self.cert or self.key):
            raise ConfigError(
                "CERT_CONFLICT", "--self-signed and --cert/--key exclude each other", "leave out one of the two"
            )
        if bool(self.cert) != bool(self.key):
            given, missing = ("--cert", "--key") if self.cert else ("--key", "--cert")
            raise ConfigError(
                "CERT_INCOMPLETE", f"{given} needs {missing}", "pass the chain and its private key together"
            )
        if not self.self_signed and not self.cert:
            raise ConfigError(
                "CERT_MISSING",
                "there is no certificate to serve with",
                "add --self-signed to try things out, or --cert FILE --key FILE",
            )


def _explain(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    flag = "--" + str(first["loc"][0]).replace("_", "-")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BadValueError):
        return ConfigError("OPTION_INVALID", f"{flag}: {cause}", cause.hint)
    message = first["msg"][:1].lower() + first["msg"][1:]
    return ConfigError(
        "OPTION_INVALID", f"{flag}: {message}, got {first['input']!r}", "velocity serve --help lists every flag"
    )
