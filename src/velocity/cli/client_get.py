"""`velocity client get`: one request, over the best protocol the server speaks."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from velocity.cli import style
from velocity.errors import ClientError, ConfigError, RequestError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from velocity._core import Connection, Response
    from velocity.client.connect import Protocol, Trust
    from velocity.client.fetch import Fetched
    from velocity.errors import VelocityError

__all__ = ["EXAMPLES", "get"]

EXAMPLES = """\b
Examples:
  velocity client get https://localhost:4433/ --insecure
  velocity client get https://example.com/big.iso -o big.iso
  velocity client get https://example.com/orders -d @order.json --http h3 -v
"""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""
_JSON_LIMIT = 64 << 20
"""Bytes of a body that is held in memory whole."""
_PROGRESS_AFTER = 2.0
"""Seconds before a progress bar appears."""


def get(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where from; https alone is spoken.")],
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Accept any certificate.")] = False,
    cacert: Annotated[str | None, typer.Option("--cacert", metavar="FILE", help="PEM roots to trust.")] = None,
    crl: Annotated[
        list[str] | None,
        typer.Option("--crl", metavar="FILE", help="Revocation list of an authority; repeatable."),
    ] = None,
    cert: Annotated[
        str | None, typer.Option("--cert", metavar="FILE", help="Chain to show a server that asks who you are.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="FILE", help="Its private key.")] = None,
    require_velocity: Annotated[
        bool, typer.Option("--require-velocity", help="Refuse everything but velocity/1.")
    ] = False,
    alpn: Annotated[
        str | None, typer.Option("--alpn", metavar="LIST", help="Protocols to try, in order, instead of --http.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Demand light, balanced or secure.")
    ] = None,
    http: Annotated[str, typer.Option("--http", metavar="PROTOCOL", help="auto, velocity, h3, h2 or h1.")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the body there, resuming what was begun."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", metavar="FIELD", help="'Name: value'; repeatable.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("-X", "--request", metavar="METHOD", help="GET, or POST with -d.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("-d", "--data", metavar="DATA", help="Request body; @FILE reads a file, - standard input."),
    ] = None,
    location: Annotated[bool, typer.Option("-L", "--location", help="Follow redirects.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Response and handshake as one JSON object.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Without progress.", min=0.1, max=86_400)
    ] = 30.0,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Show handshake and headers.")
    ] = 0,
) -> int:
    """Fetch a URL.

    The body goes to stdout or into a file. Without --http, velocity/1, h3, h2 and http/1.1 are tried in that order.
    Exits with 1 if there was no answer, or its status is 400 or above.
    """
    from velocity.client.fetch import Order, fetch
    from velocity.config.values import parse_profile, usage

    body = _body(data)
    order = Order(
        url=url,
        method=_method(method, body),
        headers=_headers(header or []),
        body=body,
        protocols=_protocols(http, alpn, require_velocity),
        profile=usage("--profile", parse_profile, profile) if profile is not None else None,
        trust=_trust(cacert, insecure, tuple(crl or ()), cert, key),
        timeout=timeout,
        follow=location,
        output=None if as_json else output,
    )
    fetched = fetch(order, _Talk(verbose))
    status = fetched.response.status
    failed = status >= 400 and not (status == 416 and fetched.resumed)
    if as_json:
        _write_json(fetched, output)
    elif output and not failed:
        _save(fetched, output)
    else:
        _print_body(fetched.response)
    fetched.connection.close()
    if failed:
        style.error(f"the server answered {status} for {fetched.url}")
        return 1
    return 0


def _protocols(http: str, alpn: str | None, require_velocity: bool) -> tuple[Protocol, ...]:
    from velocity.client.connect import protocols_for
    from velocity.config.values import parse_alpn, usage

    chosen = protocols_for(http, usage("--alpn", parse_alpn, alpn) if alpn is not None else None)
    if not require_velocity:
        return chosen
    if "velocity/1" not in chosen:
        message = "--require-velocity leaves nothing of --http or --alpn"
        raise ConfigError("OPTION_INVALID", message, "leave out one of them")
    return ("velocity/1",)


def _trust(cacert: str | None, insecure: bool, crl: tuple[str, ...], cert: str | None, key: str | None) -> Trust:
    from velocity.client.connect import Trust

    if bool(cert) != bool(key):
        raise ConfigError("CERT_INCOMPLETE", "--cert and --key go together", "pass the chain and its private key")
    return Trust(cacert, insecure, crl, cert, key)


class _Talk:
    """What is said on stderr on the way: one line about a fallback, and with -v handshakes and heads."""

    def __init__(self, verbose: int) -> None:
        self._verbose = verbose

    def fell_back(
        self, failures: dict[Protocol, VelocityError], protocol: Protocol, reason: str | None, spoke: dt.date | None
    ) -> None:
        why = reason or list(failures.values())[-1].message
        style.note(style.dim(style.plain(f"no {', '.join(failures)} ({why}): using {protocol}")))
        if spoke is not None and "velocity/1" in failures:
            style.warning(f"this host spoke velocity/1 on {spoke}; --require-velocity refuses anything less")

    def connected(self, connection: Connection) -> None:
        if self._verbose:
            _say_handshake(connection)

    def answered(self, response: Response) -> None:
        if self._verbose:
            _say_response(response)


def _method(method: str | None, body: bytes | None) -> str:
    """A method (RFC 9110 section 9.1): any token, and what fits the body when none is given."""
    if method is None:
        return "GET" if body is None else "POST"
    if not _TOKEN.fullmatch(method):
        raise ConfigError("OPTION_INVALID", f"-X: {method!r} is no method", "for example: GET, HEAD, POST, PUT")
    return method


def _headers(lines: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in lines:
        name, separator, value = line.partition(":")
        value = value.strip(" \t")
        if not separator or not _TOKEN.fullmatch(name.strip()) or not value.replace("\t", " ").isprintable():
            raise ConfigError("OPTION_INVALID", f"-H: {line!r} is no header", "write 'Name: value'")
        pairs.append((name.strip().lower(), value))
    return tuple(pairs)


def _body(data: str | None) -> bytes | None:
    """What -d stands for: itself, a file (@FILE), or standard input (- and @-)."""
    if data in ("-", "@-"):
        return sys.stdin.buffer.read()
    if data is None or not data.startswith("@"):
        return None if data is None else os.fsencode(data)
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        message = f"-d: cannot read {data[1:]}: {error.strerror}"
        raise ConfigError("OPTION_INVALID", message, "write @FILE, or - for standard input") from error


def _say_handshake(connection: Connection) -> None:
    facts = connection.facts
    style.note(f"* {facts['alpn']} with {facts['remote']} ({facts['tls_version']})")
    style.note(f"* group {facts['group']}, cipher {facts['cipher']}, signature {facts['signature_scheme']}")
    if facts["profile"]:
        style.note(f"* profile {facts['profile']}")
    verdict = "verified" if facts["verified"] else "NOT verified"
    if facts["ml_dsa_level"]:
        verdict += f" twice, by ECDSA and {facts['ml_dsa_level']}"
    style.note(f"* certificate SHA-256 {facts['certificate_sha256']}, {verdict}")
    style.note(f"* {facts['round_trips']} round trips, {facts['handshake_ms']:.1f} ms")


def _say_response(response: Response) -> None:
    style.note(f"< {response.status}")
    for name, value in response.headers:
        style.note(style.plain(f"< {name}: {value}"))
    style.note("<")


def _print_body(response: Response) -> None:
    out = sys.stdout.buffer
    while (chunk := response.read()) is not None:
        with _writing("standard output"):
            out.write(chunk)
            out.flush()


@contextlib.contextmanager
def _writing(what: str) -> Iterator[None]:
    """A full disk is an error with a name; a reader who has left is none, and is dealt with in `app.run`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ClientError("OUTPUT_UNWRITABLE", f"cannot write to {what}: {error.strerror}") from error


def _write_json(fetched: Fetched, output: Path | None) -> None:
    body = bytearray()
    while (chunk := fetched.response.read()) is not None:
        body += chunk
        if len(body) > _JSON_LIMIT:
            raise RequestError("BODY_TOO_LARGE", "the body is too large for --json", "use -o FILE without --json")
    negotiated = {key: value for key, value in fetched.connection.facts.items() if key != "certificate_chain"}
    answer: dict[str, Any] = {
        "url": fetched.url,
        "status": fetched.response.status,
        "headers": fetched.response.headers,
        "negotiated": negotiated,
    }
    try:
        answer["body"] = body.decode("utf-8")
    except UnicodeDecodeError:
        answer["body_base64"] = base64.b64encode(body).decode("ascii")
    text = json.dumps(answer, indent=2) + "\n"
    with _writing(str(output or "standard output")):
        if output:
            output.write_text(text, "utf-8")
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


def _save(fetched: Fetched, output: Path) -> None:
    from velocity.client.download import save

    report, finish = _progress(output.name)
    try:
        save(fetched.response, output, fetched.url, fetched.resumed, report)
    finally:
        finish()


def _progress(name: str) -> tuple[Callable[[int, int | None], None], Callable[[], None]]:
    """A progress bar that appears on a terminal when a download takes longer than people like to wait."""
    if not style.terminal():
        return lambda _done, _total: None, lambda: None
    started = time.monotonic()
    bar: Any = None
    task: Any = None

    def report(done: int, total: int | None) -> None:
        nonlocal bar, task
        if bar is None:
            if time.monotonic() - started < _PROGRESS_AFTER:
                return
            from rich import progress
            from rich.console import Console

            bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            bar.start()
            task = bar.add_task(name, total=total)
        bar.update(task, completed=done, total=total)

    return report, lambda: bar.stop() if bar is not None else None
