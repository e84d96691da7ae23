"""Large bodies through the proxy over HTTP/3, both ways, by every client there is: each block in its place, and in
bounded memory.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from curl_cffi import Curl, CurlHttpVersion, CurlOpt

from support import bulk, golang, http3
from support.chromium import chromium
from support.server import Server
from support.site import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.http3 import Library

MEMORY = 200 << 20
"""What the proxy may hold, in bytes."""
TIME = 1500
"""Seconds for one body: QUIC in Python takes its time."""
COUNTS = [
    pytest.param(128, id="8MiB"),
    pytest.param(16_384, id="1GiB", marks=[pytest.mark.soak, pytest.mark.timeout(2 * TIME)]),
]
each_size = pytest.mark.parametrize("count", COUNTS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = make(tmp_path_factory.mktemp("bulk"))
    with bulk.running() as behind, Server(site.root, "--proxy", f"/bulk={behind}") as running:
        yield running


@pytest.fixture
def bounded(server: Server) -> Iterator[None]:
    """The server's memory, looked at all the time."""
    with bulk.peak(server.memory) as most:
        yield
    assert most[0] < MEMORY


def counted(count: int) -> str:
    """What the server behind says of blocks that have all come."""
    return f"{count * bulk.BLOCK} {bulk.digest(count)}"


@each_size
@pytest.mark.parametrize("library", ["qh3", "aioquic"])
@pytest.mark.usefixtures("bounded")
def test_python(server: Server, library: Library, count: int) -> None:
    async def conversation() -> None:
        async with http3.Http3.open(server.port, library=library) as three:
            stream = three.send("/bulk/count", "PUT", end=False)
            await three.pour(stream, bulk.blocks(count))
            await three.finish(stream)
            assert three.answers[stream].body.decode() == counted(count)
            digest = hashlib.sha256()
            stream = three.send(f"/bulk/blocks?{count}")
            three.sinks[stream] = digest.update
            await three.finish(stream)
            assert digest.hexdigest() == bulk.digest(count)

    http3.run(conversation(), 2 * TIME)


@each_size
@pytest.mark.usefixtures("bounded")
def test_go(server: Server, tmp_path: Path, count: int) -> None:
    client = golang.build(golang.CLIENT, tmp_path)

    def run(path: str, *more: str) -> dict[str, Any]:
        flags = ["-url", server.url(path), "-alpn", "h3", "-cacert", str(server.certificate)]
        done = subprocess.run([client, *flags, *more], capture_output=True, text=True, timeout=TIME)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    assert run("/bulk/count", "-upload", str(count * bulk.BLOCK))["upload"]["said"] == counted(count)
    assert run(f"/bulk/blocks?{count}")["sha256"] == bulk.digest(count)


@each_size
@pytest.mark.usefixtures("bounded")
def test_curl(server: Server, count: int) -> None:
    left = bulk.blocks(count)
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        rest = rest or next(left, b"")
        part, rest = rest[:size], rest[size:]
        return part

    def curl(path: str, take: Callable[[bytes], None]) -> Curl:
        def took(data: bytes) -> int:
            take(data)
            return len(data)

        made = Curl()
        for option, value in [
            (CurlOpt.URL, server.url(path).encode()),
            (CurlOpt.HTTP_VERSION, CurlHttpVersion.V3ONLY),
            (CurlOpt.SSL_VERIFYPEER, 0),
            (CurlOpt.SSL_VERIFYHOST, 0),
            (CurlOpt.WRITEFUNCTION, took),
        ]:
            made.setopt(option, value)
        return made

    said = bytearray()
    upload = curl("/bulk/count", said.extend)
    for option, value in [
        (CurlOpt.UPLOAD, 1),
        (CurlOpt.INFILESIZE_LARGE, count * bulk.BLOCK),
        (CurlOpt.READFUNCTION, read),
    ]:
        upload.setopt(option, value)
    upload.perform()
    upload.close()
    assert said.decode() == counted(count)

    digest = hashlib.sha256()
    download = curl(f"/bulk/blocks?{count}", digest.update)
    download.perform()
    download.close()
    assert digest.hexdigest() == bulk.digest(count)


@each_size
@pytest.mark.usefixtures("bounded")
def test_chromium(server: Server, tmp_path: Path, count: int) -> None:
    forced = f"--origin-to-force-quic-on={server.address}"
    with chromium(tmp_path / "profile", server.certificate, forced) as page:
        page.open(server.url("/bulk/"), "document.documentElement.dataset.ready")
        for does, says in [("upload", counted(count)), ("download", f"{count * bulk.BLOCK} as it should be")]:
            page.evaluate(f"start({does}({count}))")
            deadline = time.monotonic() + TIME
            while not page.evaluate("said"):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert page.evaluate("said") == says
        used = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)")
        assert set(used) == {"h3"}
