"""The pool of client connections against Caddy: Go's TLS, HTTP/1.1, HTTP/2 and quic-go on one port."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from support import caddy, certificates, site
from velocity._core import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from velocity.client.connect import Protocol

LARGE = 50 << 20
REQUESTS = 300

each = pytest.mark.parametrize("protocol", ["h3", "h2", "http/1.1"])


class Caddy:
    """It serves `small.txt` and `large.bin`."""

    def __init__(self, port: int, certificate: Path, digest: str) -> None:
        self.port, self.certificate, self.digest = port, certificate, digest

    def pool(self, *protocols: Protocol) -> Pool:
        return Pool(protocols=protocols, ca_file=str(self.certificate))

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    folder = tmp_path_factory.mktemp("caddy")
    pair = certificates.make(folder / "pair")
    root = folder / "root"
    root.mkdir()
    (root / "small.txt").write_bytes(b"small\n")
    digest = site.large_file(root / "large.bin", LARGE)
    with caddy.serve(root, pair, folder) as port:
        yield Caddy(port, pair.cert, digest)


@each
def test_requests_share_one_connection(server: Caddy, protocol: Protocol) -> None:
    pool = server.pool(protocol)
    for _ in range(REQUESTS):
        exchange = pool.send("GET", server.url("/small.txt"), [])
        assert (exchange.status, exchange.read_all()) == (200, b"small\n")
    assert exchange.negotiated["alpn"] == protocol
    assert exchange.negotiated["group"] == "X25519MLKEM768"
    assert pool.connections == {"open": 1, "idle": 1}


@each
def test_large_bodies_come_in_pieces(server: Caddy, protocol: Protocol) -> None:
    pool = server.pool(protocol)
    exchange = pool.send("GET", server.url("/large.bin"), [], prefetch=0)
    digest = hashlib.sha256()
    for piece in iter(exchange.read, b""):
        digest.update(piece)
    assert digest.hexdigest() == server.digest
    # One that is given up disturbs nobody.
    pool.send("GET", server.url("/large.bin"), [], prefetch=0).close()
    assert pool.send("GET", server.url("/small.txt"), []).read_all() == b"small\n"


@each
def test_an_event_loop_has_many_at_once(server: Caddy, protocol: Protocol) -> None:
    pool = server.pool(protocol)

    async def fetch() -> bytes:
        return await (await pool.start("GET", server.url("/small.txt"), [])).aread_all()

    async def run() -> list[bytes]:
        return await asyncio.gather(*(fetch() for _ in range(REQUESTS)))

    assert asyncio.run(run()) == [b"small\n"] * REQUESTS


def test_sessions_are_resumed(server: Caddy) -> None:
    for protocol in ("h3", "h2", "http/1.1"):
        pool = Pool(protocols=[protocol], ca_file=str(server.certificate), keepalive=0.05)
        resumed = []
        for _ in range(2):
            exchange = pool.send("GET", server.url("/small.txt"), [])
            exchange.read_all()
            resumed.append(exchange.negotiated["resumed"])
            del exchange
            asyncio.run(gone(pool))
        assert resumed == [False, True], protocol


async def gone(pool: Pool) -> None:
    """Wait until nothing is open any more."""
    async with asyncio.timeout(10):
        while pool.connections["open"]:
            await asyncio.sleep(0.02)
