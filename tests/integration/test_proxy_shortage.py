"""A proxy that runs out of descriptors, or of names: it says so, goes on with what it has, and recovers by itself."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import threading
import time
from pathlib import Path

from support import needs
from support.backend import Backend, Exchange
from support.clients import PROTOCOLS, ask
from support.engine import Engine, make, plan, route
from support.front import NEVER, proxy
from support.http2 import Http2

MANY = 60
SPARE = 10
"""Descriptors that are left."""


def busy(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def test_descriptors(tmp_path: Path) -> None:
    wanted = threading.Event()

    async def held(exchange: Exchange) -> None:
        while not wanted.is_set():
            await asyncio.sleep(0.02)
        await exchange.answer(b"held")

    late: list[int] = []

    def come_late() -> None:
        late.extend(ask("http/1.1", engine.port, "/late").status for _ in range(2))

    with Backend({"/held": held}) as backend:
        routes = [route(proxy(backend.url))]
        with Engine(plan(make(tmp_path), routes, workers=2)) as engine:
            pid = engine.process.pid
            with Http2(engine.port) as two:
                assert two.ask("/first").status == 200
                _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid) + SPARE, hard))
                streams = [two.send("/held") for _ in range(MANY)]
                while sum(stream in two.ended for stream in streams) < MANY - SPARE - 2:
                    assert two.pump()
                # Who comes now has to wait, and nobody spins about it.
                latecomer = threading.Thread(target=come_late)
                latecomer.start()
                before = busy(pid)
                time.sleep(1)
                assert busy(pid) - before < 0.3
                wanted.set()
                two.finish(streams)
                statuses = [two.answers[stream].status for stream in streams]
                assert set(statuses) == {200, 503}
                assert statuses.count(200) >= SPARE / 2
            latecomer.join(20)
            assert len(late) == 2
            assert set(late) <= {200, 503}
            # Connections that idle on one worker make room for the others, a while later.
            deadline = time.monotonic() + 10
            for protocol in PROTOCOLS:
                while ask(protocol, engine.port, "/after").status != 200:
                    assert time.monotonic() < deadline, f"no room for {protocol} yet"
                    time.sleep(0.1)
            assert time.monotonic() < deadline
            assert "LimitNOFILE" in engine.line_with("kind=resources", "Too many open files")
            counters = engine.counters()
            assert counters[f"upstream_failures:{backend.url}"] == 0, "what we lack is not the upstream's fault"


def test_names(tmp_path: Path) -> None:
    """Names of the hosts file of a mount namespace, since those of the machine are not ours to change."""
    unshare = needs.command("unshare", "util-linux")
    if subprocess.run([unshare, "--mount", "true"], capture_output=True).returncode:
        needs.skip("no mount namespaces for this user: be root")
    hosts, servers = tmp_path / "hosts", tmp_path / "resolv.conf"
    servers.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    mounts = f'mount --bind {hosts} /etc/hosts && mount --bind {servers} /etc/resolv.conf && exec "$@"'

    def lead(address: str | None) -> None:
        hosts.write_text("127.0.0.1 localhost\n" + (f"{address} upstream.test\n" if address else ""))

    async def last(exchange: Exchange) -> None:
        """So that the next one needs a connection of its own."""
        await exchange.answer(b"hello", fields=(("connection", "close"),))
        exchange.close()

    lead("127.0.0.1")
    with Backend() as backend:
        backend.default = last
        routes = [
            route(proxy(f"http://nowhere.test:{backend.port}", ejection=NEVER), "/nowhere"),
            route(proxy(f"http://upstream.test:{backend.port}", ejection=NEVER)),
        ]
        within = [unshare, "--mount", "sh", "-c", mounts, "sh"]
        with Engine(plan(make(tmp_path), routes), within) as engine:

            def status() -> int:
                return ask("h2", engine.port, "/").status

            assert ask("h2", engine.port, "/nowhere").status == 502
            assert status() == 200
            lead(None)
            assert [status() for _ in range(5)] == [200] * 5
            assert "host=upstream.test" in engine.line_with("upstream_unresolved")
            time.sleep(1.1)  # then it asks again, and is as wise as before
            assert status() == 200
            # A change is followed: nobody listens there.
            lead("127.0.0.9")
            time.sleep(1.1)
            assert status() == 502
            lead("127.0.0.1")
            assert status() == 200
