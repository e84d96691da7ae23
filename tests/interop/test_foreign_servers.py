"""Our HTTP/3 client against servers that are not ours: Caddy, quic-go and aioquic."""

from __future__ import annotations

import hashlib
import json
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import caddy, certificates, golang, needs, site
from support.bad_network import BadNetwork
from support.http3_server import Http3Server
from support.server import velocity
from velocity._core import Connection, Response

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 200 << 20
UPLOAD = 100 << 20
STREAMS = 300
"""More requests than any of these servers takes at a time."""


@dataclass(frozen=True)
class Foreign:
    """A running server that is not ours. It serves `small.txt` and `large.bin`."""

    name: str
    port: int
    certificate: Path
    digest: str
    """SHA-256 of `large.bin`."""

    def connect(self) -> Connection:
        return Connection("localhost", self.port, protocols=["h3"], ca_file=str(self.certificate))

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"


@pytest.fixture(scope="module", params=["caddy", "quic-go", "aioquic"])
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    folder = tmp_path_factory.mktemp(request.param)
    needs.free_space(folder, 2 * LARGE)
    pair = certificates.make(folder / "pair")
    root = folder / "root"
    root.mkdir()
    (root / "small.txt").write_bytes(b"small\n")
    digest = site.large_file(root / "large.bin", LARGE)
    with ExitStack() as stack:
        match request.param:
            case "caddy":
                port = stack.enter_context(caddy.serve(root, pair, folder))
            case "quic-go":
                program = golang.build(Path(__file__).with_name("goserver"), folder)
                flags = ["-root", str(root), "-cert", str(pair.cert), "-key", str(pair.key)]
                process = stack.enter_context(
                    subprocess.Popen([program, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                )
                assert process.stdout is not None
                port = int(process.stdout.readline())
            case _:
                port = stack.enter_context(Http3Server(root, pair)).port
        yield Foreign(request.param, port, pair.cert, digest)


def body(response: Response) -> bytes:
    return b"".join(iter(response.read, None))


def is_served(connection: Connection) -> None:
    response = connection.request("GET", "/small.txt", [], timeout=10)
    assert (response.status, body(response)) == (200, b"small\n")


def test_fetch(foreign: Foreign) -> None:
    done = velocity(
        "client", "get", foreign.url("/small.txt"), "--cacert", foreign.certificate, "--http", "h3", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert '"h3"' in done.stdout.decode()
    missing = velocity("client", "get", foreign.url("/missing"), "--cacert", foreign.certificate, "--http", "h3")
    assert b"404" in missing.stdout + missing.stderr


def test_download(foreign: Foreign, tmp_path: Path) -> None:
    needs.free_space(tmp_path, 2 * LARGE)
    target = tmp_path / "large.bin"
    arguments = "--cacert", foreign.certificate, "--http", "h3", "-o", target
    done = velocity("client", "get", foreign.url("/large.bin"), *arguments, timeout=120)
    assert done.returncode == 0, done.stderr
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == foreign.digest


def test_a_client_whose_port_changes(foreign: Foreign) -> None:
    """As behind a NAT that forgets (RFC 9000 section 9.3): the server validates the path and goes on."""
    with BadNetwork(foreign.port, 7, 0) as network:
        connection = Connection(
            "localhost", foreign.port, protocols=["h3"], ca_file=str(foreign.certificate),
            connect_to=("127.0.0.1", network.port),
        )  # fmt: skip
        response = connection.request("GET", "/large.bin", [], timeout=10)
        for _ in range(3):
            some = 0
            while some < 5 << 20:
                some += len(response.read() or b"")
            network.forget()
        del response
        is_served(connection)
        connection.close()


def test_many_requests(foreign: Foreign) -> None:
    connection = foreign.connect()
    for _ in range(STREAMS):
        is_served(connection)
    connection.close()


def test_upload(foreign: Foreign) -> None:
    connection = foreign.connect()
    content = site.noise(1 << 20) * (UPLOAD >> 20)
    path = "/small.txt" if foreign.name == "caddy" else "/echo"
    response = connection.request("POST", path, [], content, timeout=60)
    said = body(response)
    if foreign.name == "caddy":
        # Files take no content: it answers at once, and wants no more of it.
        assert response.status == 405
    else:
        assert json.loads(said) == {"bytes": UPLOAD, "sha256": hashlib.sha256(content).hexdigest()}
    is_served(connection)
    connection.close()


def test_downloads_that_are_given_up(foreign: Foreign) -> None:
    """RFC 9114 section 4.1.1: the connection goes on, and the server has its streams back."""
    connection = foreign.connect()
    for _ in range(STREAMS):
        response = connection.request("GET", "/large.bin", [], timeout=10)
        assert response.status == 200
        assert response.read()
        del response
    is_served(connection)
    connection.close()
