"""`velocity client get`: one request, over the best protocol the server speaks."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urljoin

import typer

from velocity.cli import style
from velocity.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity._core import Connection, Response
    from velocity.errors import VelocityError

__all__ = ["EXAMPLES", "get"]

EXAMPLES = """\
Examples:

  velocity client get https://localhost:4433/ --insecure

  velocity client get https://example.com/big.iso -o big.iso

  velocity client get https://example.com/api -X POST -d '{"a": 1}' -H 'content-type: application/json' --http h3 -v
"""
_MAX_REDIRECTS = 10
_JSON_LIMIT = 64 << 20
_PROGRESS_AFTER = 2.0
"""Seconds before a progress bar appears."""


def get(
    url: Annotated[str, typer.Argument(help="https URL.")],
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Accept any certificate.")] = False,
    cacert: Annotated[str | None, typer.Option("--cacert", metavar="FILE", help="PEM roots to trust.")] = None,
    alpn: Annotated[
        str | None, typer.Option("--alpn", metavar="LIST", help="Protocols to try, in order, instead of --http.")
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Demand light, balanced or secure.")] = None,
    http: Annotated[
        str, typer.Option("--http", metavar="PROTOCOL", help="auto, velocity, h3, h2 or h1.")
    ] = "auto",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the body there; resumes what was begun.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="'Name: value'; repeat for more.")] = None,
    method: Annotated[str | None, typer.Option("-X", "--request", metavar="METHOD", help="GET, or POST with -d.")] = None,
    data: Annotated[
        str | None, typer.Option("-d", "--data", help="Request body; @FILE reads a file, @- standard input.")
    ] = None,
    location: Annotated[bool, typer.Option("-L", "--location", help="Follow redirects.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Response and handshake as one JSON object.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds without progress.", min=0.1)] = 30.0,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Show handshake and headers.")] = 0,
) -> int:
    """Fetch a URL.

    The body goes to stdout or into a file. Without --http, velocity/1, h3, h2 and http/1.1 are tried in that order.
    Exits with 1 if there was no answer, or its status is 400 or above.
    """
    from velocity.client.connect import Trust, open_connection, protocols_for
    from velocity.client.download import resumption
    from velocity.client.url import parse_url
    from velocity.config.values import parse_alpn, parse_profile, usage

    protocols = protocols_for(http, usage("--alpn", parse_alpn, alpn) if alpn else None)
    demanded = usage("--profile", parse_profile, profile) if profile else None
    headers, body = _headers(header or []), _body(data)
    verb = method or ("GET" if body is None else "POST")
    trust = Trust(cacert, insecure)

    for _ in range(_MAX_REDIRECTS + 1):
        target = parse_url(url)
        connection = open_connection(
            target.host,
            target.port,
            protocols,
            profile=demanded,
            trust=trust,
            timeout=min(timeout, 10.0),
            on_fallback=_say_fallback,
        )
        if verbose:
            _say_handshake(connection)
        resumed = resumption(output, url) if output and verb == "GET" else None
        extra = resumed.headers if resumed else []
        response = connection.request(verb, target.path, headers + extra, body, timeout)
        if resumed and response.status == 416:
            # What is there is no beginning of this file any more.
            resumed = None
            response = connection.request(verb, target.path, headers, body, timeout)
        if verbose:
            _say_response(response)
        next_url = dict(response.headers).get("location")
        if not (location and next_url and response.status in (301, 302, 303, 307, 308)):
            break
        connection.close()
        url = urljoin(url if "://" in url else f"https://{url}", next_url)
        if response.status in (301, 302, 303) and verb not in ("GET", "HEAD"):
            verb, body = "GET", None
    else:
        raise RequestError("TOO_MANY_REDIRECTS", f"more than {_MAX_REDIRECTS} redirects", "the server may be going in circles")

    if as_json:
        _print_json(response, connection)
    elif output and response.status < 400:
        _save(response, output, url, resumed)
    else:
        _print_body(response)
    connection.close()
    if response.status >= 400:
        style.error(f"the server answered {response.status} for {url}")
        return 1
    return 0


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator or not name.strip():
            raise ConfigError("OPTION_INVALID", f"-H: {line!r} is no header", "write 'Name: value'")
        pairs.append((name.strip().lower(), value.strip()))
    return pairs


def _body(data: str | None) -> bytes | None:
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode()
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise ConfigError("OPTION_INVALID", f"-d: cannot read {data[1:]}: {error.strerror}") from error


def _say_fallback(protocol: str, error: VelocityError) -> None:
    style.note(style.dim(f"no {protocol}: {error.message}"))


def _say_handshake(connection: Connection) -> None:
    facts = connection.facts
    style.note(f"* {facts['alpn']} with {facts['remote']} ({facts['tls_version']})")
    style.note(f"* group {facts['group']}, cipher {facts['cipher']}, signature {facts['signature_scheme']}")
    if facts["profile"]:
        style.note(f"* profile {facts['profile']}")
    verdict = "verified" if facts["verified"] else "NOT verified"
    style.note(f"* certificate SHA-256 {facts['certificate_sha256']}, {verdict}")
    style.note(f"* {facts['round_trips']} round trips, {facts['handshake_ms']:.1f} ms")


def _say_response(response: Response) -> None:
    style.note(f"< {response.status}")
    for name, value in response.headers:
        style.note(f"< {name}: {value if value.isprintable() else ascii(value)}")
    style.note("<")


def _print_body(response: Response) -> None:
    out = sys.stdout.buffer
    while (chunk := response.read()) is not None:
        out.write(chunk)
        out.flush()


def _print_json(response: Response, connection: Connection) -> None:
    body = bytearray()
    while (chunk := response.read()) is not None:
        body += chunk
        if len(body) > _JSON_LIMIT:
            raise RequestError("BODY_TOO_LARGE", "the body is too large for --json", "use -o FILE")
    negotiated = {key: value for key, value in connection.facts.items() if key != "certificate_chain"}
    answer: dict[str, Any] = {"status": response.status, "headers": response.headers, "negotiated": negotiated}
    try:
        answer["body"] = body.decode("utf-8")
    except UnicodeDecodeError:
        answer["body_base64"] = base64.b64encode(body).decode("ascii")
    print(json.dumps(answer, indent=2))  # noqa: T201


def _save(response: Response, output: Path, url: str, resumed: Any) -> None:
    from velocity.client.download import save

    report, finish = _progress(output.name)
    try:
        save(response, output, url, resumed, report)
    finally:
        finish()


def _progress(name: str) -> tuple[Callable[[int, int | None], None], Callable[[], None]]:
    """A progress bar that appears on a terminal when a download takes longer than people like to wait."""
    if not style.terminal():
        return lambda done, total: None, lambda: None
    started = time.monotonic()
    bar: Any = None
    task: Any = None

    def report(done: int, total: int | None) -> None:
        nonlocal bar, task
        if bar is None:
            if time.monotonic() - started < _PROGRESS_AFTER:
                return
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            bar = Progress(*columns, console=Console(stderr=True))
            bar.start()
            task = bar.add_task(name, total=total)
        bar.update(task, completed=done, total=total)

    return report, lambda: bar.stop() if bar is not None else None
