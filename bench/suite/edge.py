"""What a configuration costs: filters and templates a request, many hosts and routes to load and to match, reloads
under load, and hostile bodies before the web application firewall."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from suite import clients
from suite.contestants import Configured
from suite.contestants.base import built
from suite.material import CACHE, SMALL
from suite.server import CLIENT_CPU, SERVER_CPU, Failed, pinned, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite.benches import Knobs
    from suite.clients import Numbers
    from suite.contestants import Contestant
    from suite.server import Server

CONNECTIONS = 32
STREAMS = 8
HOSTS = 10_000
ROUTES = 4  # of each host, besides its folder

# A WAF, a rate limit that nobody reaches, and the header fields that come without asking.
FILTERS = "waf: true\nrate_limit: {limit: 2000000000, window: 1m}\n"
TEMPLATE = (
    "security_headers: false\n"
    'routes: [{path: "/hello/{name}", json: {message: "Hello, {{ name }}", from: "{{ request.host }}", ok: true}}]\n'
)
HOSTILE = "security_headers: false\nwaf: {mode: log, max_body: 2MiB}\nroutes: [{path: /post, text: ok}]\n"
RELOADED = "waf: true\nroutes: [{path: /version, text: 'version %d'}]\n"
RELOADS_PER_SECOND = 10

Turn = dict[str, "Numbers"]


def filters(contestant: Contestant, knobs: Knobs) -> Turn:
    """The small file, with filters and without."""
    path, length = f"/{SMALL[0]}", SMALL[1]
    turn: Turn = {}
    for protocol, load in _LOADS.items():
        for label, edge in ((protocol, ""), (f"{protocol} filtered", FILTERS)):
            with running(Configured(contestant.setup, edge)) as server:
                turn[f"velocity {label}"] = load(server, contestant, path, length, knobs)
    return turn


def templates(contestant: Contestant, knobs: Knobs) -> Turn:
    """JSON from a template, and the small file, from the same server."""
    turn: Turn = {}
    for protocol, load in _LOADS.items():
        with running(Configured(contestant.setup, TEMPLATE)) as server:
            length = len(_answer(server, contestant, "/hello/world"))
            turn[f"velocity {protocol}"] = load(server, contestant, f"/{SMALL[0]}", SMALL[1], knobs)
            turn[f"velocity {protocol} template"] = load(server, contestant, "/hello/world", length, knobs)
    return turn


def load_time(contestant: Contestant, _: Knobs) -> Turn:
    """From files to a snapshot that could be served, in a process of its own."""
    file = CACHE / "edge" / "many.yaml"
    file.parent.mkdir(exist_ok=True)
    setup = contestant.setup
    lines = [f"server: {{tls: {{certificate: {setup.certificate}, private_key: {setup.key}}}}}", "content:", "  sites:"]
    for host in range(HOSTS):
        lines.append(f"  - hostname: h{host}.example.com\n    root: {setup.root.absolute()}\n    routes:")
        lines += (f"    - {{path: /h{host}/r{route}, text: h{host}}}" for route in range(ROUTES))
    file.write_text("\n".join(lines) + "\n")
    program = pinned(SERVER_CPU, [sys.executable, "-c", _LOAD, str(file)])
    numbers: Numbers = json.loads(_output(program))
    return {"velocity": numbers}


def matching(_: Contestant, __: Knobs) -> Turn:
    """The route of a request among ten, and among fifty thousand."""
    words = [built("velocity-matching"), "2", str(ROUTES), str(HOSTS), str(ROUTES)]
    few, many = json.loads(_output(pinned(SERVER_CPU, words)))
    return {"velocity 10 routes": few, f"velocity {HOSTS * (ROUTES + 1):,} routes": many}


def reloads(contestant: Contestant, knobs: Knobs) -> Turn:
    """Latency under all the load there can be, with a changed configuration every tenth of a second and without."""
    seconds = knobs.reloads / RELOADS_PER_SECOND
    path, length = f"/{SMALL[0]}", SMALL[1]
    options = {"path": path, "length": length, "connections": CONNECTIONS, "streams": STREAMS}
    turn: Turn = {}
    configured = Configured(contestant.setup, RELOADED % 0)
    with running(configured) as server:
        turn["velocity still"] = clients.load(server, contestant.setup, "rps", **options, seconds=seconds)
    with running(configured) as server:
        editor = _Editor(configured, server, knobs.reloads)
        # Begins with the warming up, so that no reload comes after the load.
        editor.start()
        numbers = clients.load(server, contestant.setup, "rps", **options, seconds=seconds + 1)
        turn["velocity reloaded"] = {**numbers, "reloads": editor.finish()}
        if _answer(server, contestant, "/version") != b"version %d" % knobs.reloads:
            raise Failed("the last version is not what is served")
    return turn


class _Editor(threading.Thread):
    """Writes one version after the other, and waits until each is in effect."""

    def __init__(self, configured: Configured, server: Server, count: int) -> None:
        super().__init__(daemon=True)
        self._file = configured.edge_file
        self._log = CACHE / "logs" / f"{configured.name}.log"
        self._group = server.group
        self._count = count
        self._done = 0
        self._error: str | None = None

    def run(self) -> None:
        os.sched_setaffinity(0, {CLIENT_CPU})
        begin = time.monotonic()
        for version in range(1, self._count + 1):
            time.sleep(max(0, begin + version / RELOADS_PER_SECOND - time.monotonic()))
            before = self._reloads()
            new = self._file.with_suffix(".new")
            new.write_text(RELOADED % version)
            new.replace(self._file)
            os.kill(self._group, signal.SIGHUP)
            deadline = time.monotonic() + 10
            while self._reloads() == before:
                if time.monotonic() > deadline:
                    self._error = f"version {version} did not take effect within ten seconds"
                    return
                time.sleep(0.002)
            self._done = version

    def finish(self) -> int:
        """How many versions took effect.

        Raises:
            Failed: not all of them.
        """
        self.join(60)
        if self._error or self._done != self._count:
            raise Failed(self._error or f"{self._done} of {self._count} reloads are done")
        return self._done

    def _reloads(self) -> int:
        return self._log.read_bytes().count(b'"event":"reloaded"')


def hostile(contestant: Contestant, _: Knobs) -> Turn:
    """Bodies that make each default rule look as long as it can: a mebibyte, beside half of one."""
    growth: dict[str, float] = {}
    slowest = 0.0
    with running(Configured(contestant.setup, HOSTILE)) as server:
        for rule, bait in BAITS.items():
            half, whole = _fastest(server, contestant, bait, (1 << 19, 1 << 20))
            growth[rule] = whole / half
            slowest = max(slowest, whole * 1000)
    worst = max(growth, key=growth.__getitem__)
    return {"velocity": {"growth": growth[worst], "slowest_ms": slowest, "rules": len(growth)}}


# By rule: what it takes for the beginning of an attack, again and again, and never for one.
BAITS = {
    "sqli.union": "union (all ((",
    "sqli.tautology": "' or ('''a",
    "sqli.boolean": " or 1 = a and 2 ",
    "sqli.comment": "'))); --+++ ",
    "sqli.stacked": ";update aaaaaaaa ",
    "sqli.time": "select ( select ( sleep (a",
    "sqli.function": "extractvalue (a",
    "sqli.select": "( select aaaa, bbbb ",
    "sqli.schema": " from information_schema",
    "sqli.order": "' order by 11111",
    "xss.script": "< / scrip",
    "xss.handler": "<a onaaaaaaaaaaaaaaaaaaaaaaaa",
    "xss.attribute": "' onmouseaaaaaaaa",
    "xss.tag": "< meta http-equi",
    "xss.uri": "j a v a s c r i p t : aaaa",
    "xss.call": "' ;+*/- ;+*/- aler",
    "xss.template": "constructor . constructor ",
    "traversal.dots": "....../;/",
    "traversal.climb": "../.a../",
    "traversal.file": "/etc/passw/proc/self/fd",
    "traversal.wrapper": "php://filte",
    "command.shell": "; sudo /usr/local/bin/cat a",
    "command.word": "; sleep 11111111",
    "command.expand": "() { aaaaaaaa; } ",
    "command.jndi": "${aaaa${aaaa",
    "command.template": "{{ 11111 * ",
    "command.php": "system ( $",
    "command.xxe": "<!entity aaaaaaaa system ",
    "scanner.agent": "sqlmap v",
    "scanner.path": "/cgi-bin/aaaaaaaa",
    "comments": "/* a */",
    "escapes": "%25%32%35\\u0026&#x26;",
}


def _fastest(server: Server, contestant: Contestant, bait: str, sizes: tuple[int, ...]) -> list[float]:
    """Seconds for bodies of these sizes, which take turns, at best."""
    bodies = [(bait * (size // len(bait) + 1))[:size].encode() for size in sizes]
    fields = {"content-type": "text/plain"}
    connection = http.client.HTTPSConnection("localhost", server.port, context=_context(contestant), timeout=60)
    best = [math.inf] * len(sizes)
    try:
        for turn in range(7 * len(sizes)):
            place = turn % len(sizes)
            begin = time.perf_counter()
            connection.request("POST", "/post", bodies[place], fields)
            response = connection.getresponse()
            response.read()
            best[place] = min(best[place], time.perf_counter() - begin)
            if response.status != 200:
                raise Failed(f"a body of {bait!r} was answered with {response.status}")
    except OSError as error:
        raise Failed(f"a body of {bait!r} was not answered: {error}") from error
    finally:
        connection.close()
    return best


def _answer(server: Server, contestant: Contestant, path: str) -> bytes:
    connection = http.client.HTTPSConnection("localhost", server.port, context=_context(contestant), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise Failed(f"{path} is not answered: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise Failed(f"{path} is answered with {response.status}")
    return body


def _context(contestant: Contestant) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(contestant.setup.ca))


def _h1(server: Server, _: Contestant, path: str, length: int, knobs: Knobs) -> Numbers:
    return clients.requests_with_wrk(server, path, length, CONNECTIONS, knobs.seconds)


def _h2(server: Server, _: Contestant, path: str, length: int, knobs: Knobs) -> Numbers:
    return clients.requests_with_h2load(server, path, length, CONNECTIONS, STREAMS, knobs.seconds)


def _h3(server: Server, contestant: Contestant, path: str, length: int, knobs: Knobs) -> Numbers:
    options = {"path": path, "length": length, "connections": CONNECTIONS, "streams": STREAMS}
    return clients.load(server, contestant.setup, "rps", **options, seconds=knobs.seconds)


_LOADS: dict[str, Callable[[Server, Contestant, str, int, Knobs], Numbers]] = {"h1": _h1, "h2": _h2, "h3": _h3}


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed((done.stderr.strip() or "no message").splitlines()[-1])
    return done.stdout


_LOAD = """
import json, sys, time
from pathlib import Path
from velocity import _core
from velocity.config import configuration
from velocity.server.configured import Request, prepare
from velocity.server.launch import Runtime
wall, cpu = time.perf_counter(), time.process_time()
with configuration.without_collection():
    plan = prepare(Request(Path(sys.argv[1]), None, {}, Runtime())).launch.plan
    made = time.perf_counter()
    _core.check(plan)
    done = time.perf_counter()
print(json.dumps({
    "seconds": done - wall, "cpu_seconds": time.process_time() - cpu,
    "plan_seconds": made - wall, "snapshot_seconds": done - made, "plan_bytes": len(plan.encode()),
}))
"""
