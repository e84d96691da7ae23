"""What serving Python applications costs: the same application under several servers, one process and one core each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite import clients
from suite.contestants.applications import serving
from suite.contestants.velocity import Velocity
from suite.material import CACHE, LARGE
from suite.server import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite.benches import Knobs
    from suite.clients import Numbers
    from suite.contestants import Contestant

CONNECTIONS = 32
STREAMS = 8
# Over HTTP/3: at 32 connections of 8 streams Hypercorn loses some of them.
H3_CONNECTIONS = 4
WEBSOCKETS = 100
# Bytes of a message.
MESSAGE = 64
# Paths of the application, and how long their answers are.
SMALL = ("/small", 13)
TEN = ("/10k", 10 << 10)
ECHO = '{"name":"Tea","price":2.5,"tags":["hot","green"]}'

Turn = dict[str, "Numbers"]


def requests_h1(path: str, length: int) -> Callable[[Contestant, Knobs], Turn]:
    """GET over HTTP/1.1."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        with running(serving(contestant.name, contestant.setup)) as server:
            return {contestant.name: clients.requests_with_wrk(server, path, length, CONNECTIONS, knobs.seconds)}

    return measure


def requests_h2(path: str, length: int) -> Callable[[Contestant, Knobs], Turn]:
    """GET over HTTP/2."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        with running(serving(contestant.name, contestant.setup)) as server:
            numbers = clients.requests_with_h2load(server, path, length, CONNECTIONS, STREAMS, knobs.seconds)
        return {contestant.name: numbers}

    return measure


def requests_h3(path: str, length: int) -> Callable[[Contestant, Knobs], Turn]:
    """GET over HTTP/3."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        options = {"path": path, "length": length, "connections": H3_CONNECTIONS, "streams": STREAMS}
        with running(serving(contestant.name, contestant.setup)) as server:
            return {contestant.name: clients.load(server, contestant.setup, "rps", **options, seconds=knobs.seconds)}

    return measure


def fastapi(contestant: Contestant, knobs: Knobs) -> Turn:
    """JSON in and out, checked by pydantic."""
    script = CACHE / "echo.lua"
    script.write_text(f"wrk.method = 'POST'\nwrk.body = '{ECHO}'\nwrk.headers['Content-Type'] = 'application/json'\n")
    with running(serving(contestant.name, contestant.setup, "fastapi_app:app")) as server:
        numbers = clients.requests_with_wrk(server, "/echo", len(ECHO), CONNECTIONS, knobs.seconds, script)
    return {contestant.name: numbers}


def websockets(contestant: Contestant, knobs: Knobs) -> Turn:
    """Messages that come back, one after the other on each connection."""
    options = {"path": "/ws", "length": MESSAGE, "alpn": "websocket", "connections": WEBSOCKETS}
    with running(serving(contestant.name, contestant.setup)) as server:
        return {contestant.name: clients.load(server, contestant.setup, "rps", **options, seconds=knobs.seconds)}


def pathsend(contestant: Contestant, knobs: Knobs) -> Turn:
    """The large file as an application names it, and as a site has it."""
    name, length = LARGE
    turn = {}
    kinds = {"pathsend": serving(contestant.name, contestant.setup), "file": Velocity(contestant.setup)}
    for label, kind in kinds.items():
        path = f"/pathsend/{name}" if label == "pathsend" else f"/{name}"
        options = {"path": path, "length": length, "protocol": "http/1.1", "seconds": knobs.seconds}
        with running(kind) as server:
            turn[f"{contestant.name} {label}"] = clients.load(server, contestant.setup, "download-tcp", **options)
    return turn
