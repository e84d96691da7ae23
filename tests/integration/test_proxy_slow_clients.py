"""Many clients that read large answers slowly: the upstreams are the ones that wait, and not in our memory."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from support import bulk
from support.http1 import tls_context
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.site import Site

BLOCKS = 160
"""Of one answer: 10 MiB."""
EACH = 160 << 10
"""Bytes of memory that a client may cost, its connection included."""


@pytest.fixture
def many_files() -> Iterator[None]:
    """A limit of open files that clients, proxy and upstream can live with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def read_slowly(port: int, until: float, whole: bool) -> tuple[int, str] | None:
    """How many bytes a client has read, and their SHA-256: little at a time until then, and the rest, if so wished."""
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(
        sock=raw, ssl=tls_context("http/1.1"), server_hostname="localhost", limit=8192, ssl_handshake_timeout=120
    )
    writer.write(b"GET /bulk/blocks?%d HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % BLOCKS)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    digest, size = hashlib.sha256(), 0
    while data := await reader.read(4096 if loop.time() < until else 1 << 16):
        digest.update(data)
        size += len(data)
        if loop.time() < until:
            await asyncio.sleep(0.5)
        elif not whole:
            writer.transport.abort()
            return None
    writer.close()
    return size, digest.hexdigest()


@pytest.mark.parametrize(
    ("clients", "seconds", "whole"),
    [(200, 5, 10), pytest.param(1000, 30, 1000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
@pytest.mark.usefixtures("many_files")
def test_slow_clients(fresh_site: Site, clients: int, seconds: int, whole: int) -> None:
    """Some of them read all of it in the end."""

    async def conversation(port: int) -> list[tuple[int, str] | None]:
        until = asyncio.get_running_loop().time() + seconds
        return await asyncio.gather(*(read_slowly(port, until, number < whole) for number in range(clients)))

    with bulk.running() as behind, Server(fresh_site.root, "--proxy", f"/bulk={behind}") as server:
        before = server.memory()
        with bulk.peak(server.memory) as most:
            read = asyncio.run(conversation(server.port))
        assert set(read[:whole]) == {(BLOCKS * bulk.BLOCK, bulk.digest(BLOCKS))}
        assert most[0] - before < clients * EACH
