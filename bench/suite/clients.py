"""The clients: our loader, wrk and h2load. Each call is one measurement and returns plain numbers."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from suite.contestants.base import built, find
from suite.material import openssl_client
from suite.server import CLIENT_CPU, Failed, Server, pinned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suite.contestants import Setup

Numbers = dict[str, float]

# Seconds that no client may take: then the server has stopped to answer.
CLIENT_TIMEOUT = 180.0

# How wrk and h2load write durations, in microseconds, and wrk sizes, in bytes.
DURATIONS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
SIZES = {"B": 1.0, "KB": 2.0**10, "MB": 2.0**20, "GB": 2.0**30, "TB": 2.0**40}


@cache
def wrk() -> str:
    """The path of wrk."""
    return find("wrk", "apt-get install wrk")


@cache
def h2load() -> str:
    """The path of h2load."""
    return find("h2load", "apt-get install nghttp2-client")


def load(server: Server, setup: Setup, mode: str, **wanted: object) -> Numbers:
    """Run the loader against a server.

    Args:
        mode: of the loader.
        wanted: options of the mode; `server_group` stands for `--server-group`.

    Raises:
        Failed: any request or handshake failed.
    """
    return run_loader(mode, options(server, setup, wanted))


def handshakes(
    server: Server, setup: Setup, transport: str, offers: list[str], count: int, **more: object
) -> list[Numbers]:
    """Full handshakes one by one, the offers taking turns; numbers in the order of the offers.

    Raises:
        Failed: a handshake failed.
    """
    wanted = {"transport": transport, "offers": ",".join(offers), "count": count, **more}
    figures = json.loads(_run([built("velocity-loader"), "handshake", *options(server, setup, wanted)]))
    return [
        {key: number for key, number in offer.items() if key.endswith(("_ms", "_bytes"))} for offer in figures["offers"]
    ]


def run_loader(mode: str, words: list[str], environment: dict[str, str] | None = None) -> Numbers:
    """Run the loader with these words in this environment; see `load`."""
    figures: Numbers = json.loads(_run([built("velocity-loader"), mode, *words], environment))
    return figures


def options(server: Server, setup: Setup, wanted: Mapping[str, object]) -> list[str]:
    """Words for the loader: where the server is, whom to trust, and what is wanted."""
    known = {"address": f"127.0.0.1:{server.port}", "ca": setup.ca, "server_group": server.group}
    return [word for key, value in {**known, **wanted}.items() for word in (f"--{key.replace('_', '-')}", str(value))]


def requests_with_wrk(
    server: Server, path: str, length: int, connections: int, seconds: float, script: Path | None = None
) -> Numbers:
    """HTTP/1.1 requests per second by wrk, after a second of warming up; a script says what is asked other than GET."""
    url = f"https://127.0.0.1:{server.port}{path}"
    base = [wrk(), "-t1", f"-c{connections}", "--latency", *(("-s", str(script)) if script else ())]
    _run([*base, "-d1s", url])
    numbers, text = _measured(server, [*base, f"-d{seconds:.0f}s", url])
    if re.search(r"Non-2xx|Socket errors", text):
        raise Failed(f"wrk saw errors: {text.strip().splitlines()[-3:]}")
    count = float(_found(r"(\d+) requests in", text))
    received = _scaled(_found(r"requests in [^,]+, (\S+) read", text), SIZES)
    # wrk rounds to two digits after the point; a head has a hundred bytes or more.
    if received < count * length:
        raise Failed(f"wrk received {received:.0f} bytes for {count:.0f} requests of {length}")
    return {
        "rps": float(_found(r"Requests/sec:\s+(\S+)", text)),
        "p50_us": _scaled(_found(r"(?m)^\s+50%\s+(\S+)", text), DURATIONS),
        "p99_us": _scaled(_found(r"(?m)^\s+99%\s+(\S+)", text), DURATIONS),
        **_per_request(numbers, count),
    }


def requests_with_h2load(
    server: Server, path: str, length: int, connections: int, streams: int, seconds: float
) -> Numbers:
    """HTTP/2 requests per second by h2load, after a second of warming up."""
    url = f"https://127.0.0.1:{server.port}{path}"
    base = [h2load(), "-t1", f"-c{connections}", f"-m{streams}"]
    _run([*base, "-D1", url])
    numbers, text = _measured(server, [*base, f"-D{seconds:.0f}", url])
    succeeded = float(_found(r"(\d+) succeeded", text))
    failed = float(_found(r"(\d+) failed", text)) + float(_found(r"(\d+) errored", text))
    if failed or float(_found(r"status codes: (\d+) 2xx", text)) < succeeded:
        raise Failed(f"h2load saw {failed:.0f} failures")
    if "TLSv1.3" not in text or "TLS_AES_128_GCM_SHA256" not in text or "X25519" not in text:
        raise Failed("h2load negotiated something else than TLS 1.3, X25519 and AES-128-GCM")
    received = float(_found(r"traffic: .*\((\d+)\) data", text))
    if received < succeeded * length:
        raise Failed(f"h2load received {received:.0f} bytes for {succeeded:.0f} requests of {length}")
    return {
        "rps": succeeded / seconds,
        "mean_us": _scaled(_found(r"time for request:\s+\S+\s+\S+\s+(\S+)", text), DURATIONS),
        **_per_request(numbers, succeeded),
    }


def _measured(server: Server, command: list[str]) -> tuple[Numbers, str]:
    """Run a client, and what both sides spent meanwhile, in seconds."""
    start, server_cpu, client_cpu = time.monotonic(), server.cpu_seconds(), _children_cpu()
    text = _run(command)
    return {
        "elapsed": time.monotonic() - start,
        "server": server.cpu_seconds() - server_cpu,
        "client": _children_cpu() - client_cpu,
    }, text


def _per_request(spent: Numbers, count: float) -> Numbers:
    if not count:
        raise Failed("no request was answered")
    return {
        "server_us_per_request": spent["server"] * 1e6 / count,
        "client_us_per_request": spent["client"] * 1e6 / count,
        "server_cpu_percent": spent["server"] / spent["elapsed"] * 100,
        "client_cpu_percent": spent["client"] / spent["elapsed"] * 100,
    }


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            pinned(CLIENT_CPU, command),
            capture_output=True,
            text=True,
            env=environment or {**os.environ, "OPENSSL_CONF": str(openssl_client())},
            timeout=CLIENT_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{Path(command[0]).name} did not end within {CLIENT_TIMEOUT:.0f} seconds") from error
    if done.returncode:
        message = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Failed(f"{Path(command[0]).name}: {message.removeprefix('error: ')}")
    return done.stdout


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise Failed(f"nothing in the client's output matches {pattern!r}")
    return match[1]


def _scaled(text: str, units: Numbers) -> float:
    """`1.25GB` or `310us` as a number in the smallest unit."""
    number = text.rstrip("".join(units))
    return float(number) * units[text[len(number) :]]
