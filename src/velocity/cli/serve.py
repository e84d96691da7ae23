"""`velocity serve`: a folder becomes a site, or an application a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from velocity.cli import style

__all__ = ["EXAMPLES", "serve"]

EXAMPLES = """\b
Examples:
  velocity serve --root public --self-signed
  velocity serve --root public --cert fullchain.pem --key privkey.pem --listen :443
  velocity serve --self-signed --profile secure --listings -v
  velocity serve --self-signed --proxy http://127.0.0.1:3000
  velocity serve --root public --self-signed --proxy /api=http://127.0.0.1:8000
  velocity serve app:app --self-signed
  velocity serve app:app --self-signed --root public
  velocity serve --config serve.simple.yaml --edge-config edge.yaml
"""
_SERVER = "Server"
_FILES = "Files"
_PROXY = "Reverse proxy"
_APPLICATION = "Application"
_LIMITS = "Limits"
_LOGS = "Logs"


def _flag(name: str, help_: str, panel: str, default: str = "", **more: Any) -> Any:
    """An option with its environment variable: --max-sessions is VELOCITY_MAX_SESSIONS.

    `default` is for the eye: what was not given is None, and `ServeOptions` knows what that means.
    """
    env = "VELOCITY_" + name.split("/")[0].removeprefix("--").replace("-", "_").upper()
    # One sentence of the help names the variables; an entry for each would be half of it.
    shown = f"{help_}  [default: {default}]" if default else help_
    return typer.Option(
        name, envvar=env, show_envvar=False, show_default=False, help=shown, rich_help_panel=panel, **more
    )


def serve(
    context: typer.Context,
    app: Annotated[
        str | None,
        typer.Argument(
            help="Python application, ASGI or WSGI.",
            metavar="[MODULE:ATTRIBUTE]",
            envvar="VELOCITY_APP",
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str | None,
        _flag("--config", "Configuration file.", _SERVER, "./serve.simple.yaml, /etc/velocity", metavar="FILE"),
    ] = None,
    edge_config: Annotated[
        str | None, _flag("--edge-config", "Routes, filters and middlewares.", _SERVER, metavar="FILE")
    ] = None,
    root: Annotated[
        str | None, _flag("--root", "Folder to serve.", _FILES, "the current folder", metavar="DIR")
    ] = None,
    self_signed: Annotated[
        bool | None, _flag("--self-signed", "Make and reuse a certificate under ROOT/.velocity.", _SERVER)
    ] = None,
    domain: Annotated[
        list[str] | None,
        _flag("--domain", "Name in the self-signed certificate; repeatable.", _SERVER, "localhost", metavar="NAME"),
    ] = None,
    listen: Annotated[
        list[str] | None,
        _flag("--listen", "Address for UDP and TCP; repeatable.", _SERVER, "0.0.0.0:4433", metavar="HOST:PORT"),
    ] = None,
    alpn: Annotated[
        str | None,
        _flag("--alpn", "Protocols, preferred first.", _SERVER, "velocity/1,h3,h2,http/1.1", metavar="LIST"),
    ] = None,
    cert: Annotated[str | None, _flag("--cert", "Certificate chain, PEM, leaf first.", _SERVER, metavar="FILE")] = None,
    key: Annotated[str | None, _flag("--key", "Private key, PEM.", _SERVER, metavar="FILE")] = None,
    profile: Annotated[
        str | None,
        _flag("--profile", "light (turbo), balanced or secure (fortress).", _SERVER, "balanced", metavar="NAME"),
    ] = None,
    permit: Annotated[
        str | None, _flag("--permit", "Profiles that clients may ask for.", _SERVER, "all three", metavar="LIST")
    ] = None,
    fallback_alpn: Annotated[
        str | None,
        _flag("--fallback-alpn", "What clients without velocity/1 are sent to.", _SERVER, "h3", metavar="NAME"),
    ] = None,
    fallback_host: Annotated[
        str | None, _flag("--fallback-host", "Where they are sent.", _SERVER, "the same host", metavar="NAME")
    ] = None,
    fallback_port: Annotated[
        str | None, _flag("--fallback-port", "And to which port.", _SERVER, "the same port", metavar="PORT")
    ] = None,
    client_ca: Annotated[
        str | None,
        _flag("--client-ca", "Roots of client certificates, which are then asked for.", _SERVER, metavar="FILE"),
    ] = None,
    client_auth: Annotated[
        str | None, _flag("--client-auth", "request or require.", _SERVER, "request", metavar="MODE")
    ] = None,
    client_crl: Annotated[
        list[str] | None, _flag("--client-crl", "Revocation list for clients; repeatable.", _SERVER, metavar="FILE")
    ] = None,
    proxy_protocol: Annotated[
        list[str] | None,
        _flag(
            "--proxy-protocol",
            "Network whose TCP connections begin with a PROXY header; repeatable.",
            _SERVER,
            metavar="NETWORK",
        ),
    ] = None,
    trusted_proxies: Annotated[
        list[str] | None,
        _flag(
            "--trusted-proxies",
            "Network whose Forwarded and X-Forwarded-For are believed; repeatable.",
            _SERVER,
            metavar="NETWORK",
        ),
    ] = None,
    workers: Annotated[
        str | None,
        _flag("--workers", "Threads; with an application, processes for it.", _SERVER, "one for each CPU", metavar="N"),
    ] = None,
    grace_period: Annotated[
        float | None,
        _flag("--grace-period", "For requests in flight after SIGTERM.", _SERVER, "no limit", min=0, metavar="SECONDS"),
    ] = None,
    listings: Annotated[bool | None, _flag("--listings", "Show directories that have no index.", _FILES)] = None,
    dotfiles: Annotated[bool | None, _flag("--dotfiles", "Serve names that begin with a dot.", _FILES)] = None,
    cache_control: Annotated[
        str | None, _flag("--cache-control", "Cache-Control of every file served.", _FILES, metavar="VALUE")
    ] = None,
    compress: Annotated[
        bool | None, _flag("--compress/--no-compress", "Compress what compresses well.", _FILES, "on")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        _flag("--proxy", "Server to pass requests on to; repeatable.", _PROXY, metavar="[[HOST]/PATH=]URL"),
    ] = None,
    proxy_connect_timeout: Annotated[
        str | None, _flag("--proxy-connect-timeout", "For a connection to it.", _PROXY, "5s", metavar="TIME")
    ] = None,
    proxy_response_timeout: Annotated[
        str | None, _flag("--proxy-response-timeout", "For the head of its answer.", _PROXY, "60s", metavar="TIME")
    ] = None,
    proxy_idle_timeout: Annotated[
        str | None, _flag("--proxy-idle-timeout", "Between two bytes of it.", _PROXY, "2m", metavar="TIME")
    ] = None,
    proxy_stream: Annotated[
        bool | None, _flag("--proxy-stream/--no-proxy-stream", "Hand answers on while they come.", _PROXY, "on")
    ] = None,
    proxy_preserve_host: Annotated[
        bool | None,
        _flag("--proxy-preserve-host", "Ask it for the host that the client asked for, in Host and SNI.", _PROXY),
    ] = None,
    factory: Annotated[
        bool | None, _flag("--factory", "ATTRIBUTE makes the application when it is called.", _APPLICATION)
    ] = None,
    app_dir: Annotated[
        str | None,
        _flag("--app-dir", "Where modules are looked for first.", _APPLICATION, "the current folder", metavar="DIR"),
    ] = None,
    root_path: Annotated[
        str | None,
        _flag("--root-path", "Path under which others reach the application.", _APPLICATION, metavar="PATH"),
    ] = None,
    lifespan: Annotated[
        str | None, _flag("--lifespan", "auto, on or off.", _APPLICATION, "auto", metavar="MODE")
    ] = None,
    interface: Annotated[
        str | None, _flag("--interface", "auto, asgi or wsgi.", _APPLICATION, "auto", metavar="NAME")
    ] = None,
    env_file: Annotated[
        str | None, _flag("--env-file", "Variables for the application.", _APPLICATION, metavar="FILE")
    ] = None,
    limit_concurrency: Annotated[
        str | None,
        _flag("--limit-concurrency", "Requests at once; more get 503.", _APPLICATION, "no limit", metavar="N"),
    ] = None,
    ws_per_message_deflate: Annotated[
        bool | None,
        _flag(
            "--ws-per-message-deflate/--no-ws-per-message-deflate",
            "Compress messages of WebSockets where the client offers it.",
            _APPLICATION,
            "on",
        ),
    ] = None,
    ws_max_size: Annotated[
        str | None,
        _flag("--ws-max-size", "Largest message of a WebSocket.", _APPLICATION, "16MiB", metavar="BYTES"),
    ] = None,
    ws_ping_interval: Annotated[
        float | None,
        _flag(
            "--ws-ping-interval",
            "Silence after which a WebSocket is pinged, and given up after twice as much.",
            _APPLICATION,
            "20",
            min=0,
            metavar="SECONDS",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        _flag(
            "--header", "Field of answers that have none of this name; repeatable.", _APPLICATION, metavar="NAME:VALUE"
        ),
    ] = None,
    server_header: Annotated[
        bool | None,
        _flag("--server-header/--no-server-header", "Answers say Server: velocity.", _APPLICATION, "on"),
    ] = None,
    loop: Annotated[
        str | None,
        _flag("--loop", "auto, asyncio or uvloop.", _APPLICATION, "uvloop where it is installed", metavar="NAME"),
    ] = None,
    limit_max_requests: Annotated[
        str | None,
        _flag(
            "--limit-max-requests",
            "Requests after which to stop, or replace a worker.",
            _APPLICATION,
            "never",
            metavar="N",
        ),
    ] = None,
    limit_max_requests_jitter: Annotated[
        str | None,
        _flag("--limit-max-requests-jitter", "Up to so many more, by chance.", _APPLICATION, "0", metavar="N"),
    ] = None,
    timeout_worker_healthcheck: Annotated[
        str | None,
        _flag(
            "--timeout-worker-healthcheck",
            "For a worker whose event loop is blocked.",
            _APPLICATION,
            "30",
            metavar="SECONDS",
        ),
    ] = None,
    reload: Annotated[bool | None, _flag("--reload", "Take its code anew when it changes.", _APPLICATION)] = None,
    reload_dir: Annotated[
        list[str] | None,
        _flag("--reload-dir", "Folder to watch; repeatable.", _APPLICATION, "--app-dir", metavar="DIR"),
    ] = None,
    reload_include: Annotated[
        list[str] | None,
        _flag("--reload-include", "Files that count beside *.py and .env; repeatable.", _APPLICATION, metavar="GLOB"),
    ] = None,
    reload_exclude: Annotated[
        list[str] | None,
        _flag("--reload-exclude", "Files and folders that do not; repeatable.", _APPLICATION, metavar="GLOB"),
    ] = None,
    timeout_graceful_shutdown: Annotated[
        float | None,
        _flag("--timeout-graceful-shutdown", "The same as --grace-period.", _APPLICATION, min=0, metavar="SECONDS"),
    ] = None,
    host: Annotated[
        str | None,
        _flag("--host", "The address of --listen.", _APPLICATION, "every address", metavar="ADDRESS"),
    ] = None,
    port: Annotated[str | None, _flag("--port", "The port of --listen.", _APPLICATION, "4433", metavar="PORT")] = None,
    max_sessions: Annotated[
        str | None, _flag("--max-sessions", "Connections at once.", _LIMITS, "no limit", metavar="N")
    ] = None,
    idle_timeout: Annotated[
        str | None,
        _flag("--idle-timeout", "For a connection without a request.", _LIMITS, "60s", metavar="TIME"),
    ] = None,
    max_datagram_size: Annotated[
        str | None,
        _flag("--max-datagram-size", "Largest UDP payload.", _LIMITS, "discovered, up to 1452", metavar="BYTES"),
    ] = None,
    access_log: Annotated[
        bool | None, _flag("--access-log/--no-access-log", "A line for each request.", _LOGS, "on")
    ] = None,
    log_format: Annotated[
        str | None,
        _flag("--log-format", "json or text.", _LOGS, "text on a terminal, else json", metavar="FORMAT"),
    ] = None,
    log_level: Annotated[
        str | None,
        _flag("--log-level", "error, warning, info, debug or trace.", _LOGS, "info", metavar="LEVEL"),
    ] = None,
    log_config: Annotated[
        str | None,
        _flag("--log-config", "File for Python's logging.config, for what an application logs.", _LOGS, metavar="FILE"),
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            envvar="VELOCITY_VERBOSE",
            show_envvar=False,
            show_default=False,
            help="Log more: -v, -vv, -vvv.",
            rich_help_panel=_LOGS,
        ),
    ] = 0,
) -> int:
    """Serve a folder, or a Python application, over HTTP/1.1, HTTP/2, HTTP/3 and Velocity/1 on one port.

    Every flag can also be set in the environment: --max-sessions is VELOCITY_MAX_SESSIONS. A flag wins over the
    variable, and that over the configuration file.
    """
    from velocity.cli import layers, warm
    from velocity.config.options import ServeOptions
    from velocity.errors import ConfigError
    from velocity.server import launch

    given = {
        "root": root,
        "self_signed": self_signed,
        "domain": domain,
        "listen": listen,
        "alpn": alpn,
        "cert": cert,
        "key": key,
        "profile": profile,
        "permit": permit,
        "fallback_alpn": fallback_alpn,
        "fallback_host": fallback_host,
        "fallback_port": fallback_port,
        "client_ca": client_ca,
        "client_auth": client_auth,
        "client_crl": client_crl,
        "proxy_protocol": proxy_protocol,
        "trusted_proxies": trusted_proxies,
        "idle_timeout": idle_timeout,
        "workers": workers,
        "listings": listings,
        "dotfiles": dotfiles,
        "cache_control": cache_control,
        "compress": compress,
        "max_sessions": max_sessions,
        "max_datagram_size": max_datagram_size,
        "access_log": access_log,
        "app": app,
        "factory": factory,
        "app_dir": app_dir,
        "root_path": root_path,
        "lifespan": lifespan,
        "interface": interface,
        "env_file": env_file,
        "limit_concurrency": limit_concurrency,
        "ws_per_message_deflate": ws_per_message_deflate,
        "limit_max_requests": limit_max_requests,
        "limit_max_requests_jitter": limit_max_requests_jitter,
        "timeout_worker_healthcheck": timeout_worker_healthcheck,
        "ws_max_size": ws_max_size,
        "ws_ping_interval": ws_ping_interval,
        "header": header,
        "server_header": server_header,
        "loop": loop,
        "log_config": log_config,
        "reload": reload,
        "reload_dir": reload_dir,
        "reload_include": reload_include,
        "reload_exclude": reload_exclude,
    }
    given["listen"] = _listen(listen, host, port)
    grace = grace_period if timeout_graceful_shutdown is None else timeout_graceful_shutdown
    configured = config is not None or edge_config is not None or bool(proxy)
    if app is not None and configured:
        raise ConfigError(
            "APPLICATION_CONFLICT",
            "an application beside --config, --edge-config or --proxy",
            "name it in the configuration file: {path: /, kind: python, app: MODULE:ATTRIBUTE}",
        )
    if configured or (root is None and app is None and layers.discoverable()):
        return _serve_configured(context, config, edge_config)
    tuning = (proxy_connect_timeout, proxy_response_timeout, proxy_idle_timeout, proxy_stream, proxy_preserve_host)
    if any(value is not None for value in tuning):
        raise ConfigError("PROXY_MISSING", "there is no proxy to tune", "name the server behind with --proxy URL")
    options = ServeOptions.check({name: value for name, value in given.items() if value not in (None, [])})
    runtime = launch.Runtime.check(log_format, _verbosity(verbose, log_level), grace)
    prepared = launch.prepare(options, runtime)
    if not prepared.programs:  # what an application is made of, nobody knows
        warm.remember(context.obj, prepared)
    return launch.run(prepared, style.note)


def _listen(listen: list[str] | None, host: str | None, port: str | None) -> list[str] | None:
    """Where to listen, in one piece or two.

    Raises:
        ConfigError: both.
    """
    from velocity.errors import ConfigError

    if host is None and port is None:
        return listen
    if listen:
        raise ConfigError("OPTION_INVALID", "--listen and --host or --port exclude each other", "leave out one of them")
    address = host or "0.0.0.0"  # noqa: S104 - as --listen has it
    return [f"[{address}]:{port or 4433}" if ":" in address and address[0] != "[" else f"{address}:{port or 4433}"]


_LEVELS = {"critical": -1, "error": -1, "warning": -1, "warn": -1, "info": 0, "debug": 1, "trace": 2}
"""As verbosity: how many `-v` they are."""


def _verbosity(verbose: int, level: str | None) -> int:
    """How much to log, by count or by name.

    Raises:
        ConfigError: an unknown name, or both.
    """
    from velocity.errors import ConfigError

    if level is None:
        return verbose
    if verbose:
        raise ConfigError("OPTION_INVALID", "--log-level and -v exclude each other", "leave out one of them")
    if level.lower() not in _LEVELS:
        hint = "choose error, warning, info, debug or trace"
        raise ConfigError("OPTION_INVALID", f"--log-level: unknown level {level!r}", hint)
    return _LEVELS[level.lower()]


def _serve_configured(context: typer.Context, config: str | None, edge_config: str | None) -> int:
    """Serve what configuration files say."""
    from velocity.cli import layers
    from velocity.config.options import OF_APPLICATIONS
    from velocity.config.source import Given
    from velocity.errors import ConfigError
    from velocity.server import configured, launch

    parameters = context.params
    given = layers.given(context)
    for name in OF_APPLICATIONS:
        if name in given:
            raise ConfigError(
                "APPLICATION_CONFLICT",
                f"{given[name].name} is for an application that the command line names",
                "say it in the configuration file, in the route of the application",
            )
    if "timeout_graceful_shutdown" in given:
        given["grace_period"] = given.pop("timeout_graceful_shutdown")
    if "host" in given or "port" in given:
        name = given["host" if "host" in given else "port"].name
        given["listen"] = Given(name, _listen(parameters["listen"], parameters["host"], parameters["port"]))
    verbosity = _verbosity(parameters["verbose"], parameters["log_level"])
    runtime = launch.Runtime.check(parameters["log_format"], verbosity, parameters["grace_period"])
    return configured.run(configured.Request(*layers.files(config, edge_config, given), given, runtime), style.note)
