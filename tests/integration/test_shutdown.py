"""The graceful stop: what had begun is finished, nothing new is let in, and a second signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support import http3, site
from support.http1 import Http1, connect
from support.http2 import Http2
from support.server import Server
from velocity import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.answer import Body

SIZE = 8 << 20
"""More than the sockets of both sides hold, so that a download nobody reads stays in flight."""

H1_DOWNLOADS = 100
H2_CONNECTIONS, H2_STREAMS = 5, 10
H3_CONNECTIONS, H3_STREAMS = 5, 10


@pytest.fixture
def downloads(tmp_path: Path) -> tuple[Path, bytes]:
    """A root with one file that takes a while."""
    content = site.noise(SIZE)
    root = tmp_path / "root"
    root.mkdir()
    (root / "large.bin").write_bytes(content)
    (root / "small.bin").write_bytes(content[: SIZE // 8])
    return root, content


def over_http1(port: int, begun: threading.Barrier, go_on: threading.Event) -> list[Body]:
    with Http1(port, receive_buffer=32768) as connection:
        connection.send("GET", "/large.bin")
        response = connection.begin()
        body = response.read(1000)
        begun.wait()
        go_on.wait()
        connection.socket.settimeout(30)
        return [body + response.read()]


def over_http2(port: int, begun: threading.Barrier, go_on: threading.Event) -> list[Body]:
    with Http2(port, acknowledge=False) as connection:
        streams = [connection.send("/large.bin") for _ in range(H2_STREAMS)]
        while any(connection.answers[stream].status != 200 for stream in streams):
            connection.pump()
        begun.wait()
        go_on.wait()
        connection.socket.settimeout(30)
        connection.acknowledge = True
        connection.credit()
        connection.finish(streams)
        assert connection.goaway, "HTTP/2 is told that the server is going (RFC 9113 section 6.8)"
        return [connection.answers[stream].body for stream in streams]


def over_http3(port: int, begun: threading.Barrier, go_on: threading.Event) -> list[Body]:
    async def conversation() -> list[Body]:
        async with http3.Http3.open(port) as connection:
            # Incremental (RFC 9218 section 4.2), or one would come after the other.
            streams = [connection.send("/small.bin", fields=[("priority", "u=3, i")]) for _ in range(H3_STREAMS)]

            def hold() -> None:
                # Blocking the loop is the one way to make this client stop taking what is sent.
                if not go_on.is_set() and all(connection.answers[stream].status == 200 for stream in streams):
                    assert connection.unfinished() == H3_STREAMS
                    begun.wait()
                    go_on.wait()

            connection.on_progress = hold
            await connection.finish(*streams)
            return [connection.answers[stream].body for stream in streams]

    return http3.run(conversation(), timeout=60)


def test_two_hundred_downloads_survive_sigterm(downloads: tuple[Path, bytes]) -> None:
    root, content = downloads
    connections = H1_DOWNLOADS + H2_CONNECTIONS + H3_CONNECTIONS
    begun, go_on = threading.Barrier(connections + 1, timeout=30), threading.Event()
    with Server(root) as server, ThreadPoolExecutor(connections) as pool:
        jobs: list[Future[list[Body]]] = []
        jobs += [pool.submit(over_http1, server.port, begun, go_on) for _ in range(H1_DOWNLOADS)]
        jobs += [pool.submit(over_http2, server.port, begun, go_on) for _ in range(H2_CONNECTIONS)]
        jobs += [pool.submit(over_http3, server.port, begun, go_on) for _ in range(H3_CONNECTIONS)]
        try:
            begun.wait()
            server.terminate()
            refused_soon(lambda: connect(server.port).close())
            refused_soon(lambda: http3.ask(server.port, "/small.bin", timeout=2))
            assert server.process.poll() is None, "it left while 200 downloads were in flight"
        finally:
            go_on.set()
        bodies = [body for job in jobs for body in job.result(timeout=90)]
        assert len(bodies) == H1_DOWNLOADS + H2_CONNECTIONS * H2_STREAMS + H3_CONNECTIONS * H3_STREAMS
        lost = sum(body not in (content, content[: SIZE // 8]) for body in bodies)
        assert lost == 0
        assert server.wait() == 0


def refused_soon(connecting: Callable[[], object]) -> None:
    """New connections may still be taken for an instant after the signal, and not for longer."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            connecting()
        except (OSError, TimeoutError):
            return
        time.sleep(0.05)
    pytest.fail("new connections are still accepted five seconds after SIGTERM")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(downloads: tuple[Path, bytes], sign: signal.Signals) -> None:
    root, _ = downloads
    with Server(root) as server, Http1(server.port, receive_buffer=32768) as connection:
        connection.send("GET", "/large.bin")
        connection.begin()
        server.process.send_signal(sign)
        time.sleep(1)
        assert server.process.poll() is None, "a download in flight is waited for"
        server.process.send_signal(sign)
        server.wait(timeout=3)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_idle_connections_do_not_delay_the_end(downloads: tuple[Path, bytes], sign: signal.Signals) -> None:
    root, content = downloads

    async def conversation(server: Server) -> int:
        velocity = _core.Connection("localhost", server.port, protocols=["velocity/1"], insecure=True)
        async with http3.Http3.open(server.port) as three:
            assert (await three.ask("/small.bin")).body == content[: SIZE // 8]
            assert velocity.request("GET", "/small.bin", []).status == 200
            server.process.send_signal(sign)
            return await asyncio.to_thread(server.wait, 5)

    with Server(root) as server, Http1(server.port) as one, Http2(server.port) as two, connect(server.port):
        assert one.ask("/small.bin").status == 200
        assert two.ask("/small.bin").status == 200
        with socket.create_connection(("127.0.0.1", server.port)):
            assert http3.run(conversation(server)) == 0


def test_port_is_free_again_afterwards(downloads: tuple[Path, bytes]) -> None:
    root, _ = downloads
    with Server(root) as first:
        first.terminate()
        assert first.wait() == 0
    with Server(root, listen=f"127.0.0.1:{first.port}") as second:
        assert second.port == first.port
