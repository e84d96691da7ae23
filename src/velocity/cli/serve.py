"""`velocity serve`: a folder becomes a site."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Any

import typer

from velocity.cli import style

__all__ = ["EXAMPLES", "serve"]

EXAMPLES = """\
Examples:

  velocity serve --root public --self-signed

  velocity serve --root public --cert fullchain.pem --key privkey.pem --listen '[::]:443'

  velocity serve --self-signed --profile secure --listings -v
"""
_SERVER = "Server"
_FILES = "Files"
_LIMITS = "Limits"
_LOGS = "Logs"


def _flag(name: str, help_: str, panel: str, **more: Any) -> Any:
    """An option with its environment variable: --max-sessions is VELOCITY_MAX_SESSIONS."""
    env = "VELOCITY_" + name.split("/")[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, envvar=env, help=help_, rich_help_panel=panel, **more)


def serve(
    context: typer.Context,
    root: Annotated[Path | None, _flag("--root", "Folder to serve; the current one by default.", _FILES)] = None,
    self_signed: Annotated[
        bool | None, _flag("--self-signed", "Make and reuse a certificate under ROOT/.velocity.", _SERVER)
    ] = None,
    domain: Annotated[
        list[str] | None,
        _flag("--domain", "Name in the self-signed certificate; repeat for more. Default: localhost.", _SERVER),
    ] = None,
    listen: Annotated[
        list[str] | None,
        _flag("--listen", "HOST:PORT for UDP and TCP; repeat for more. Default: 0.0.0.0:4433.", _SERVER),
    ] = None,
    alpn: Annotated[
        str | None,
        _flag("--alpn", "Protocols, preferred first. Default: velocity/1,h3,h2,http/1.1.", _SERVER, metavar="LIST"),
    ] = None,
    cert: Annotated[Path | None, _flag("--cert", "Certificate chain, PEM, leaf first.", _SERVER)] = None,
    key: Annotated[Path | None, _flag("--key", "Private key, PEM.", _SERVER)] = None,
    profile: Annotated[
        str | None,
        _flag("--profile", "light (turbo), balanced or secure (fortress). Default: balanced.", _SERVER),
    ] = None,
    workers: Annotated[int | None, _flag("--workers", "Threads. Default: one for each CPU.", _SERVER)] = None,
    grace_period: Annotated[
        float | None,
        _flag("--grace-period", "Seconds for requests in flight after SIGTERM. Default: no limit.", _SERVER, min=0),
    ] = None,
    listings: Annotated[bool | None, _flag("--listings", "Show directories that have no index.", _FILES)] = None,
    dotfiles: Annotated[bool | None, _flag("--dotfiles", "Serve names that begin with a dot.", _FILES)] = None,
    cache_control: Annotated[
        str | None, _flag("--cache-control", "Cache-Control of every file served.", _FILES, metavar="VALUE")
    ] = None,
    compress: Annotated[
        bool | None, _flag("--compress/--no-compress", "Compress what compresses well. Default: on.", _FILES)
    ] = None,
    max_sessions: Annotated[
        int | None, _flag("--max-sessions", "Connections at once. Default: no limit.", _LIMITS)
    ] = None,
    max_datagram_size: Annotated[
        int | None, _flag("--max-datagram-size", "Largest UDP payload. Default: discovered, up to 1452.", _LIMITS)
    ] = None,
    access_log: Annotated[
        bool | None, _flag("--access-log/--no-access-log", "A line for each request. Default: on.", _LOGS)
    ] = None,
    log_format: Annotated[
        str | None,
        _flag("--log-format", "json or text. Default: text on a terminal, else json.", _LOGS, metavar="FORMAT"),
    ] = None,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, envvar="VELOCITY_VERBOSE", help="More: -v, -vv, -vvv.")
    ] = 0,
) -> int:
    """Serve a folder over HTTP/1.1, HTTP/2, HTTP/3 and Velocity/1 on one port.

    Every flag can also be set in the environment: --max-sessions is VELOCITY_MAX_SESSIONS. A flag wins.
    """
    from velocity.cli import warm
    from velocity.config.options import ServeOptions
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
        "workers": workers,
        "listings": listings,
        "dotfiles": dotfiles,
        "cache_control": cache_control,
        "compress": compress,
        "max_sessions": max_sessions,
        "max_datagram_size": max_datagram_size,
        "access_log": access_log,
    }
    options = ServeOptions.check({name: value for name, value in given.items() if value not in (None, [])})
    runtime = launch.Runtime.check(log_format, verbose, grace_period)
    prepared = launch.prepare(options, runtime)
    warm.remember(context.obj, prepared)
    return launch.run(prepared, style.note)
