"""Every figure of the suite: who takes part, how one round is measured, and what must be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from suite import clients, edge, gets, proxy, python, trust
from suite.clients import Numbers
from suite.contestants import Raw
from suite.material import LARGE, MEDIUM, SMALL
from suite.server import SERVER_CPU, free_port, pinned, running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from suite.contestants import Contestant

CONNECTIONS = 32
STREAMS = 8
# What HTTP/3 is held to.
MORE_STREAMS = 16
# Connections and streams of each, for how the cost grows.
GROWTH = ((1, 1), (1, 100), (32, 1), (32, 100), (1000, 1), (1000, 100))
# Requests a second at which latency is measured: about half of what Caddy can do here.
HALF_LOAD = 4000
MANY_IDLE = 10_000

# Key exchange of the profiles beside that of browsers.
OTHER_HYBRIDS = {
    "X25519MLKEM512": "x25519mlkem512",
    "X25519MLKEM1024": "x25519mlkem1024",
    "SecP384r1MLKEM1024": "secp384r1mlkem1024",
}


@dataclass(frozen=True)
class Knobs:
    """How long to measure.

    Attributes:
        rounds: how often each contestant has its turn.
        seconds: of load in one turn.
        handshakes: one after the other, of each offer, in one turn.
        idle: connections kept open.
        starts: of the server in one turn.
        reloads: under load, in one turn.
    """

    rounds: int = 5
    seconds: float = 5.0
    handshakes: int = 300
    idle: int = 5000
    starts: int = 5
    reloads: int = 200


QUICK = Knobs(rounds=1, seconds=2.0, handshakes=60, idle=500, starts=2, reloads=20)

# The numbers of one turn, by the name of the series they belong to.
Turn = dict[str, Numbers]


@dataclass(frozen=True)
class Goal:
    """What a series must reach.

    Attributes:
        series: the one held to it.
        factor: of the median of `against`; where that is None, a limit in the unit of the bench.
        against: the series to compare with.
    """

    series: str
    factor: float
    against: str | None = None

    def reached(self, medians: Mapping[str, float]) -> float | None:
        """The ratio or the value; None where a series is missing."""
        value = medians.get(self.series)
        if value is None or self.against is None:
            return value
        reference = medians.get(self.against)
        return value / reference if reference else None


@dataclass(frozen=True)
class Bench:
    """One figure.

    Attributes:
        name: for `--only`.
        title: for people.
        figure: the key in the numbers of a turn.
        unit: of the figure.
        contestants: who takes part, by name.
        measure: one turn of one contestant.
        goals: what must be reached.
        more_is_better: the direction of figure and goals.
    """

    name: str
    title: str
    figure: str
    unit: str
    contestants: tuple[str, ...]
    measure: Callable[[Contestant, Knobs], Turn]
    goals: tuple[Goal, ...] = field(default=())
    more_is_better: bool = True

    def met(self, goal: Goal, reached: float) -> bool:
        """Whether `reached` is good enough."""
        return reached >= goal.factor if self.more_is_better else reached <= goal.factor


def _requests_h3(file: tuple[str, int], streams: int, **options: object) -> Callable[[Contestant, Knobs], Turn]:
    path, length = _url(file)

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        if isinstance(contestant, Raw):
            contestant.length = length
        with running(contestant) as server:
            return {
                contestant.name: clients.load(
                    server, contestant.setup, "rps",
                    path=path, length=length, connections=CONNECTIONS, streams=streams,
                    seconds=knobs.seconds, **options,
                )
            }  # fmt: skip

    return measure


def _requests_h3_and_h2(contestant: Contestant, knobs: Knobs) -> Turn:
    """HTTP/3 beside our own HTTP/2."""
    turn = _requests_h3(SMALL, MORE_STREAMS)(contestant, knobs)
    if contestant.name == "velocity":
        path, length = _url(SMALL)
        with running(contestant) as server:
            load = clients.requests_with_h2load
            turn["velocity h2"] = load(server, path, length, CONNECTIONS, MORE_STREAMS, knobs.seconds)
    return turn


def _growth(contestant: Contestant, knobs: Knobs) -> Turn:
    """The same file over ever more connections and streams."""
    path, length = _url(SMALL)
    turn = {}
    for connections, streams in GROWTH:
        with running(contestant) as server:
            options = {"path": path, "length": length, "connections": connections, "streams": streams}
            numbers = clients.load(server, contestant.setup, "rps", **options, seconds=knobs.seconds)
        turn[f"{contestant.name} {connections} x {streams}"] = numbers
    return turn


def _requests_h2(contestant: Contestant, knobs: Knobs) -> Turn:
    path, length = _url(SMALL)
    with running(contestant) as server:
        return {
            contestant.name: clients.requests_with_h2load(server, path, length, CONNECTIONS, STREAMS, knobs.seconds)
        }


def _requests_h1(contestant: Contestant, knobs: Knobs) -> Turn:
    path, length = _url(SMALL)
    with running(contestant) as server:
        return {contestant.name: clients.requests_with_wrk(server, path, length, CONNECTIONS, knobs.seconds)}


def _download_h3(contestant: Contestant, knobs: Knobs) -> Turn:
    path, length = _url(LARGE)
    if isinstance(contestant, Raw):
        contestant.length = length
    with running(contestant) as server:
        options = {"path": path, "length": length, "seconds": knobs.seconds}
        return {contestant.name: clients.load(server, contestant.setup, "download", **options)}


def _download_tcp(protocol: str) -> Callable[[Contestant, Knobs], Turn]:
    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        path, length = _url(LARGE)
        with running(contestant) as server:
            options = {"path": path, "length": length, "protocol": protocol, "seconds": knobs.seconds}
            return {contestant.name: clients.load(server, contestant.setup, "download-tcp", **options)}

    return measure


def _handshake(transport: str, offers: Mapping[str, Mapping[str, str]]) -> Callable[[Contestant, Knobs], Turn]:
    """Handshakes one by one; `offers` maps contestant and series to GROUP@ALPN."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        own = offers[contestant.name]
        with running(contestant) as server:
            figures = clients.handshakes(server, contestant.setup, transport, list(own.values()), knobs.handshakes)
        return {f"{contestant.name} {label}": numbers for label, numbers in zip(own, figures, strict=True)}

    return measure


def _handshake_rate(transport: str, offers: Mapping[str, Mapping[str, str]]) -> Callable[[Contestant, Knobs], Turn]:
    """Handshakes at once; `offers` maps contestant and series to GROUP@ALPN."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        turn = {}
        for label, offer in offers[contestant.name].items():
            with running(contestant) as server:
                options = {"transport": transport, "offer": offer, "seconds": knobs.seconds}
                numbers = clients.load(server, contestant.setup, "handshake-rate", **options)
            turn[f"{contestant.name} {label}"] = numbers
        return turn

    return measure


def _idle(protocol: str, connections: int | None = None) -> Callable[[Contestant, Knobs], Turn]:
    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        path, length = _url(SMALL)
        if isinstance(contestant, Raw):
            contestant.length = length
        with running(contestant) as server:
            options = {"path": path, "length": length, "protocol": protocol, "connections": connections or knobs.idle}
            return {contestant.name: clients.load(server, contestant.setup, "idle", **options)}

    return measure


def _start(contestant: Contestant, knobs: Knobs) -> Turn:
    port = free_port()
    command = pinned(SERVER_CPU, contestant.command(port))
    ca = ["--ca", str(contestant.setup.ca)] if contestant.secure else []

    def start(count: int) -> Numbers:
        words = ["--address", f"127.0.0.1:{port}", "--path", _url(SMALL)[0], "--count", str(count), *ca]
        return clients.run_loader("start", [*words, "--", *command], contestant.environment())

    start(1)  # Fills the page cache, and the bytecode cache of whoever runs on Python.
    return {contestant.name: start(knobs.starts)}


def _url(file: tuple[str, int]) -> tuple[str, int]:
    name, size = file
    return f"/{name}", size


_WEB = {"X25519": "x25519@{}", "X25519MLKEM768": "x25519mlkem768@{}"}


def _web(alpn: str) -> dict[str, str]:
    return {label: offer.format(alpn) for label, offer in _WEB.items()}


# The other groups of the profiles, by themselves: what hybrid signatures add is measured in `trust`.
_HYBRIDS = {label: f"{group}@h3" for label, group in OTHER_HYBRIDS.items()}

SERVE_AND_FETCH = (
    Bench(
        "h3-1k", f"1 KiB file, {CONNECTIONS} connections x {STREAMS} streams, h3", "rps", "requests/s",
        ("velocity", "caddy"), _requests_h3(SMALL, STREAMS),
        (Goal("velocity", 6.0, "caddy"),),
    ),
    Bench(
        "h2-1k", f"1 KiB file, {CONNECTIONS} connections x {STREAMS} streams, h2", "rps", "requests/s",
        ("velocity", "nginx", "caddy"), _requests_h2,
        (Goal("velocity", 1.3, "nginx"), Goal("velocity", 4.0, "caddy")),
    ),
    Bench(
        "h1-1k", f"1 KiB file, {CONNECTIONS} connections, h1.1", "rps", "requests/s",
        ("velocity", "nginx", "caddy"), _requests_h1,
        (Goal("velocity", 1.3, "nginx"), Goal("velocity", 4.0, "caddy")),
    ),
    Bench(
        "h3-100m", "100 MiB file, one connection, h3", "mb_per_s", "MB/s",
        ("velocity", "caddy"), _download_h3,
        (Goal("velocity", 1.7, "caddy"),),
    ),
    Bench(
        "h2-100m", "100 MiB file, one connection, h2", "mb_per_s", "MB/s",
        ("velocity", "nginx", "caddy"), _download_tcp("h2"),
        (Goal("velocity", 0.95, "nginx"),),
    ),
    Bench(
        "h1-100m", "100 MiB file, one connection, h1.1", "mb_per_s", "MB/s",
        ("velocity", "nginx", "caddy"), _download_tcp("http/1.1"),
        (Goal("velocity", 0.95, "nginx"),),
    ),
    Bench(
        "handshake-quic", "full QUIC handshake, one after the other", "median_ms", "ms",
        ("velocity", "caddy"),
        _handshake("quic", {"velocity": {**_web("h3"), **_HYBRIDS}, "caddy": _web("h3")}),
        (Goal("velocity X25519MLKEM768", 1.15, "velocity X25519"),),
        more_is_better=False,
    ),
    Bench(
        "handshake-tcp", "full TLS 1.3 handshake on TCP, one after the other", "median_ms", "ms",
        ("velocity", "nginx", "caddy"),
        _handshake("tcp", {
            "velocity": _web("http/1.1"), "nginx": {"X25519": "x25519@http/1.1"}, "caddy": _web("http/1.1"),
        }),
        (Goal("velocity X25519MLKEM768", 1.15, "velocity X25519"),),
        more_is_better=False,
    ),
    Bench(
        "handshakes-tcp", "full TLS 1.3 handshakes on TCP, 16 at once", "handshakes_per_s", "handshakes/s",
        ("velocity", "nginx", "caddy"),
        _handshake_rate("tcp", {
            "velocity": _web("http/1.1"), "nginx": {"X25519": "x25519@http/1.1"}, "caddy": _web("http/1.1"),
        }),
        (Goal("velocity X25519", 1.0, "nginx X25519"),),
    ),
    Bench(
        "handshakes-quic", "full QUIC handshakes, 16 at once", "handshakes_per_s", "handshakes/s",
        ("velocity", "caddy"),
        _handshake_rate("quic", {"velocity": _web("h3"), "caddy": _web("h3")}),
    ),
    Bench(
        "idle-h1", "memory of an idle connection, TLS h1.1", "bytes_per_connection", "bytes",
        ("velocity", "nginx", "caddy"), _idle("http/1.1"),
        (Goal("velocity", 14_000),),
        more_is_better=False,
    ),
    Bench(
        "idle-h2", "memory of an idle connection, TLS h2", "bytes_per_connection", "bytes",
        ("velocity", "nginx", "caddy"), _idle("h2"),
        (Goal("velocity", 20_000),),
        more_is_better=False,
    ),
    Bench(
        "idle-h3", "memory of an idle connection, QUIC h3", "bytes_per_connection", "bytes",
        ("velocity", "caddy"), _idle("h3"),
        (Goal("velocity", 40_000),),
        more_is_better=False,
    ),
    Bench(
        "start", "start to first byte served", "median_ms", "ms",
        ("velocity", "caddy", "uvicorn"), _start,
        (Goal("velocity", 1.0, "uvicorn"), Goal("velocity", 2.0, "caddy")),
        more_is_better=False,
    ),
)  # fmt: skip

HTTP3 = (
    Bench(
        "h3-cost", f"1 KiB from memory, {CONNECTIONS} connections x {MORE_STREAMS} streams, CPU of the server",
        "server_us_per_request", "µs/request",
        ("velocity", "raw", "quinn"), _requests_h3(SMALL, MORE_STREAMS),
        (Goal("velocity", 1.3, "raw"),),
        more_is_better=False,
    ),
    Bench(
        "h3-1k-16", f"1 KiB file, {CONNECTIONS} connections x {MORE_STREAMS} streams", "rps", "requests/s",
        ("velocity", "caddy"), _requests_h3_and_h2,
        (Goal("velocity", 12.0, "caddy"), Goal("velocity", 1.3, "velocity h2")),
    ),
    Bench(
        "h3-64k", f"64 KiB file, {CONNECTIONS} connections x {STREAMS} streams", "rps", "requests/s",
        ("velocity", "caddy"), _requests_h3(MEDIUM, STREAMS),
        (Goal("velocity", 3.0, "caddy"),),
    ),
    Bench(
        "h3-100m-http3", "100 MiB file, one connection, h3", "mb_per_s", "MB/s",
        ("velocity", "caddy"), _download_h3,
        (Goal("velocity", 2.5, "caddy"),),
    ),
    Bench(
        "h3-100m-cost", "100 MiB, one connection, CPU of the server", "server_s_per_gb", "s/GB",
        ("velocity", "raw", "quinn"), _download_h3,
        (Goal("velocity", 0.8, "quinn"),),
        more_is_better=False,
    ),
    Bench(
        "h3-p99", f"1 KiB file, 99th percentile of latency at {HALF_LOAD:,} requests/s", "p99_us", "µs",
        ("velocity", "caddy"), _requests_h3(SMALL, STREAMS, rate=HALF_LOAD),
        (Goal("velocity", 0.5, "caddy"),),
        more_is_better=False,
    ),
    Bench(
        "h3-idle", f"memory of an idle connection, {MANY_IDLE:,} of them", "bytes_per_connection", "bytes",
        ("velocity", "raw", "caddy"), _idle("h3", MANY_IDLE),
        (Goal("velocity", 25_000),),
        more_is_better=False,
    ),
    Bench(
        "h3-growth", "1 KiB file, connections x streams, CPU of the server", "server_us_per_request", "µs/request",
        ("velocity",), _growth,
        (
            Goal("velocity 1000 x 1", 1.3, "velocity 1 x 1"),
            Goal("velocity 1000 x 100", 1.3, "velocity 1 x 100"),
            Goal("velocity 1 x 100", 1.3, "velocity 1 x 1"),
        ),
        more_is_better=False,
    ),
)  # fmt: skip

TRUST = (
    Bench(
        "trust-handshake", "full QUIC handshake by profile, one after the other", "median_ms", "ms",
        ("velocity",), trust.handshake,
        more_is_better=False,
    ),
    Bench(
        "trust-cost", "full QUIC handshakes by profile, 16 at once, CPU of the server", "server_us_per_handshake",
        "µs/handshake", ("velocity",), trust.cost,
        (Goal("velocity balanced", 2.5, "velocity classical"),),
        more_is_better=False,
    ),
    Bench(
        "trust-round-trips", "full QUIC handshake by profile, first (cold) and with a token (warm)", "round_trips",
        "round trips", ("velocity",), trust.round_trips,
        (Goal("velocity balanced warm", 1.05, "velocity classical warm"),),
        more_is_better=False,
    ),
    Bench(
        "trust-issue", "hybrid certificates issued", "per_minute", "a minute",
        ("velocity",), trust.issue,
        (Goal("velocity library", 1000),),
    ),
)  # fmt: skip

EDGE = (
    Bench(
        "edge-filters", f"1 KiB file behind a WAF, a rate limit and header fields, {CONNECTIONS} connections", "rps",
        "requests/s", ("velocity",), edge.filters,
        tuple(Goal(f"velocity {protocol} filtered", 0.7, f"velocity {protocol}") for protocol in ("h1", "h2", "h3")),
    ),
    Bench(
        "edge-template", f"JSON from a template, beside the 1 KiB file, {CONNECTIONS} connections", "rps",
        "requests/s", ("velocity",), edge.templates,
        tuple(Goal(f"velocity {protocol} template", 0.7, f"velocity {protocol}") for protocol in ("h1", "h2", "h3")),
    ),
    Bench(
        "edge-load", "10,000 hosts with 50,000 routes, from files to a snapshot", "seconds", "s",
        ("velocity",), edge.load_time,
        (Goal("velocity", 2.0),),
        more_is_better=False,
    ),
    Bench(
        "edge-match", "the route of a request, at 10,000 hosts", "ns", "ns",
        ("velocity",), edge.matching,
        (Goal("velocity 50,000 routes", 2.0, "velocity 10 routes"),),
        more_is_better=False,
    ),
    Bench(
        "edge-reload", "99th percentile of latency under full load, with 10 reloads a second", "p99_us", "µs",
        ("velocity",), edge.reloads,
        (Goal("velocity reloaded", 2.0, "velocity still"),),
        more_is_better=False,
    ),
    Bench(
        "edge-hostile", "hostile bodies of 1 MiB, beside 512 KiB: the default rule that grows the most", "growth", "x",
        ("velocity",), edge.hostile,
        (Goal("velocity", 2.5),),
        more_is_better=False,
    ),
)  # fmt: skip

_PROXIES = ("velocity", "nginx", "haproxy", "caddy")


def _proxy_stream(protocol: str, label: str, goal: Goal) -> Bench:
    who = tuple(name for name in _PROXIES if protocol != "h3" or name in {"velocity", "caddy"})
    title = f"100 MiB through a proxy, one connection, {label} in"
    return Bench(f"proxy-{label}-100m", title, "mb_per_s", "MB/s", who, proxy.stream(protocol), (goal,))


def _proxy_latency(protocol: str, label: str, share: str) -> Bench:
    rate = f"{proxy.HALF_LOAD[protocol]:,} requests/s"
    peer = "caddy" if protocol == "h3" else "nginx"
    who = ("velocity", peer)
    return Bench(
        f"proxy-{label}-{share}", f"1 KiB through a proxy, {share} of latency at {rate}, {label} in", f"{share}_us",
        "µs", who, proxy.latency(protocol), (Goal("velocity", 1.0, peer),), more_is_better=False,
    )  # fmt: skip


PROXY = (
    Bench(
        "proxy-h1-1k", f"1 KiB through a proxy, {CONNECTIONS} connections, h1.1 in", "rps", "requests/s",
        _PROXIES, proxy.requests_h1,
        (Goal("velocity", 1.0, "nginx"), Goal("velocity", 3.0, "caddy")),
    ),
    Bench(
        "proxy-h2-1k", f"1 KiB through a proxy, {CONNECTIONS} connections x {STREAMS} streams, h2 in", "rps",
        "requests/s", _PROXIES, proxy.requests_h2,
        (Goal("velocity", 1.0, "nginx"),),
    ),
    Bench(
        "proxy-h3-1k", f"1 KiB through a proxy, {CONNECTIONS} connections x {STREAMS} streams, h3 in", "rps",
        "requests/s", ("velocity", "caddy"), proxy.requests_h3,
        (Goal("velocity", 4.0, "caddy"),),
    ),
    _proxy_stream("http/1.1", "h1", Goal("velocity", 0.8, "nginx")),
    _proxy_stream("h2", "h2", Goal("velocity", 0.8, "nginx")),
    _proxy_stream("h3", "h3", Goal("velocity", 5.0, "caddy")),
    _proxy_latency("http/1.1", "h1", "p50"),
    _proxy_latency("http/1.1", "h1", "p99"),
    _proxy_latency("h2", "h2", "p50"),
    _proxy_latency("h2", "h2", "p99"),
    _proxy_latency("h3", "h3", "p99"),
    Bench(
        "proxy-slow", f"memory while {proxy.SLOW_CLIENTS:,} clients read 10 MiB slowly through a proxy", "mb", "MB",
        ("velocity", "nginx"), proxy.slow_clients,
        (Goal("velocity", 100.0),),
        more_is_better=False,
    ),
)  # fmt: skip

PYTHON = (
    Bench(
        "python-h1", f"ASGI application, {python.SMALL[1]} bytes, {CONNECTIONS} connections, h1.1", "rps", "requests/s",
        ("velocity", "granian", "uvicorn"), python.requests_h1(*python.SMALL),
        (Goal("velocity", 1.1, "granian"), Goal("velocity", 2.0, "uvicorn")),
    ),
    Bench(
        "python-h1-10k", f"ASGI application, 10 KiB, {CONNECTIONS} connections, h1.1", "rps", "requests/s",
        ("velocity", "granian", "uvicorn"), python.requests_h1(*python.TEN),
        (Goal("velocity", 1.1, "granian"), Goal("velocity", 2.0, "uvicorn")),
    ),
    Bench(
        "python-h2", f"ASGI application, {python.SMALL[1]} bytes, {CONNECTIONS} connections x {STREAMS} streams, h2",
        "rps", "requests/s", ("velocity", "granian"), python.requests_h2(*python.SMALL),
        (Goal("velocity", 1.1, "granian"),),
    ),
    Bench(
        "python-h2-10k", f"ASGI application, 10 KiB, {CONNECTIONS} connections x {STREAMS} streams, h2",
        "rps", "requests/s", ("velocity", "granian"), python.requests_h2(*python.TEN),
        (Goal("velocity", 1.1, "granian"),),
    ),
    Bench(
        "python-h3",
        f"ASGI application, {python.SMALL[1]} bytes, {python.H3_CONNECTIONS} connections x {STREAMS} streams, h3",
        "rps", "requests/s", ("velocity", "hypercorn"), python.requests_h3(*python.SMALL),
        (Goal("velocity", 8.0, "hypercorn"),),
    ),
    Bench(
        "python-h3-10k", f"ASGI application, 10 KiB, {python.H3_CONNECTIONS} connections x {STREAMS} streams, h3",
        "rps", "requests/s", ("velocity", "hypercorn"), python.requests_h3(*python.TEN),
        (Goal("velocity", 8.0, "hypercorn"),),
    ),
    Bench(
        "python-fastapi", f"FastAPI, JSON in and out, {CONNECTIONS} connections, h1.1", "rps", "requests/s",
        ("velocity", "uvicorn"), python.fastapi,
        (Goal("velocity", 1.2, "uvicorn"),),
    ),
    Bench(
        "python-websocket", f"WebSocket echo, {python.MESSAGE} bytes, {python.WEBSOCKETS} connections", "rps",
        "messages/s", ("velocity", "uvicorn"), python.websockets,
        (Goal("velocity", 1.2, "uvicorn"),),
    ),
    Bench(
        "python-pathsend", "100 MiB by pathsend, beside the file of a site, one connection, h1.1", "mb_per_s", "MB/s",
        ("velocity",), python.pathsend,
        (Goal("velocity pathsend", 0.9, "velocity file"),),
    ),
)  # fmt: skip


def _gets(protocol: str, other: str) -> Bench:
    package = gets.PACKAGES[other].replace("==", " ")
    title = f"{gets.COUNT:,} GETs of 1 KiB in Python, one after the other over one connection, {protocol}; {package}"
    goal = Goal(f"velocity {protocol}", 3.0, f"{other} {protocol}")
    return Bench(
        f"client-{protocol}", title, "rps", "requests/s", ("velocity",), gets.compare(protocol, other), (goal,)
    )


CLIENT = (_gets("h3", "niquests"), _gets("h2", "httpx2"), _gets("h1", "httpx2"))

SUITES = {
    "serve-and-fetch": SERVE_AND_FETCH,
    "http3": HTTP3,
    "trust": TRUST,
    "edge": EDGE,
    "proxy": PROXY,
    "client": CLIENT,
    "python": PYTHON,
}
BENCHES = tuple(bench for suite in SUITES.values() for bench in suite)
