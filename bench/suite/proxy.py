"""What a reverse proxy costs: requests, streams, latency and memory with a backend of next to no cost behind it.

The proxy has its core to itself; the client and the backend share the other one.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from suite import clients
from suite.contestants.base import built
from suite.contestants.proxies import in_front
from suite.material import LARGE, SLOW, SMALL
from suite.server import CLIENT_CPU, Failed, answers, free_port, pinned, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from suite.benches import Knobs
    from suite.clients import Numbers
    from suite.contestants import Contestant
    from suite.server import Server

CONNECTIONS = 32
STREAMS = 8
# Clients that are slow at the same time.
SLOW_CLIENTS = 1000
# Requests a second for latency: about half of what the slowest of those compared can do here.
HALF_LOAD = {"http/1.1": 8000, "h2": 8000, "h3": 4000}

Turn = dict[str, "Numbers"]


@contextmanager
def behind(contestant: Contestant) -> Iterator[Server]:
    """The contestant as a proxy, with a backend behind it."""
    port = free_port()
    command = [built("velocity-backend"), f"127.0.0.1:{port}", str(contestant.setup.root)]
    backend = subprocess.Popen(pinned(CLIENT_CPU, command), stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not answers(port):
            if backend.poll() is not None or time.monotonic() > deadline:
                raise Failed("the backend did not start")
            time.sleep(0.02)
        with running(in_front(contestant.name, contestant.setup, port)) as server:
            yield server
    finally:
        backend.kill()
        backend.wait()


def requests_h1(contestant: Contestant, knobs: Knobs) -> Turn:
    """The small file over HTTP/1.1."""
    with behind(contestant) as server:
        numbers = clients.requests_with_wrk(server, f"/{SMALL[0]}", SMALL[1], CONNECTIONS, knobs.seconds)
    return {contestant.name: numbers}


def requests_h2(contestant: Contestant, knobs: Knobs) -> Turn:
    """The small file over HTTP/2."""
    with behind(contestant) as server:
        numbers = clients.requests_with_h2load(server, f"/{SMALL[0]}", SMALL[1], CONNECTIONS, STREAMS, knobs.seconds)
    return {contestant.name: numbers}


def requests_h3(contestant: Contestant, knobs: Knobs) -> Turn:
    """The small file over HTTP/3."""
    options = {"path": f"/{SMALL[0]}", "length": SMALL[1], "connections": CONNECTIONS, "streams": STREAMS}
    with behind(contestant) as server:
        return {contestant.name: clients.load(server, contestant.setup, "rps", **options, seconds=knobs.seconds)}


def stream(protocol: str) -> Callable[[Contestant, Knobs], Turn]:
    """The large file over one connection."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        options: dict[str, object] = {"path": f"/{LARGE[0]}", "length": LARGE[1], "seconds": knobs.seconds}
        mode = "download"
        if protocol != "h3":
            mode, options["protocol"] = "download-tcp", protocol
        with behind(contestant) as server:
            return {contestant.name: clients.load(server, contestant.setup, mode, **options)}

    return measure


def latency(protocol: str) -> Callable[[Contestant, Knobs], Turn]:
    """How long an answer takes at half load."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        options: dict[str, object] = {"path": f"/{SMALL[0]}", "length": SMALL[1], "connections": CONNECTIONS}
        options |= {"alpn": protocol, "rate": HALF_LOAD[protocol], "seconds": knobs.seconds}
        with behind(contestant) as server:
            return {contestant.name: clients.load(server, contestant.setup, "rps", **options)}

    return measure


def slow_clients(contestant: Contestant, knobs: Knobs) -> Turn:
    """Memory while a thousand clients read a large answer a piece at a time."""
    options: dict[str, object] = {"path": f"/{SLOW[0]}", "length": SLOW[1], "protocol": "http/1.1"}
    with behind(contestant) as server:
        options |= {"connections": SLOW_CLIENTS, "seconds": 2 * knobs.seconds}
        return {contestant.name: clients.load(server, contestant.setup, "slow", **options)}
