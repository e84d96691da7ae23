"""Go's crypto/tls with net/http, and quic-go: a second post-quantum implementation on both transports."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from support import golang, needs
from support import site as sites
from support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from support.site import Site

GIB = 1 << 30
X25519, P256, X25519MLKEM768 = 0x001D, 0x0017, 0x11EC

Go = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    """Build the client, and give back a function that runs it."""
    client = golang.build(golang.CLIENT, tmp_path_factory.mktemp("go"))

    def run(server: Server, path: str, alpn: str, groups: str, *more: str) -> subprocess.CompletedProcess[str]:
        flags = ["-url", server.url(path), "-alpn", alpn, "-groups", groups, "-cacert", str(server.certificate)]
        return subprocess.run([client, *flags, *more], capture_output=True, text=True, timeout=60)

    return run


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.mark.parametrize("alpn", ["h3", "h2", "http/1.1"])
def test_hybrid_is_preferred(server: Server, site: Site, go: Go, alpn: str) -> None:
    got = report(go(server, "/data.bin", alpn, "X25519,X25519MLKEM768,P-256"))
    assert got["group_code"] == X25519MLKEM768
    assert got["status"] == 200
    assert got["sha256"] == hashlib.sha256(site.binary).hexdigest()


@pytest.mark.parametrize("alpn", ["h3", "h2", "http/1.1"])
def test_hybrid_alone(server: Server, go: Go, alpn: str) -> None:
    assert report(go(server, "/", alpn, "X25519MLKEM768"))["group_code"] == X25519MLKEM768


@pytest.mark.parametrize("alpn", ["h3", "h2", "http/1.1"])
@pytest.mark.parametrize(("group", "code"), [("X25519", X25519), ("P-256", P256)])
def test_classical_is_accepted(server: Server, go: Go, alpn: str, group: str, code: int) -> None:
    assert report(go(server, "/", alpn, group))["group_code"] == code


@pytest.mark.parametrize("groups", ["X25519", "X25519,P-256,P-384", "X25519MLKEM768"])
def test_velocity_refuses_classical_clients(server: Server, go: Go, groups: str) -> None:
    done = go(server, "/", "velocity/1", groups)
    assert done.returncode == 1
    assert "CRYPTO_ERROR" in done.stderr, "refused by a TLS alert, not by silence"
    assert "client_sigalg" in done.stderr, "which says why"


def test_media_type_and_alt_svc(server: Server, go: Go) -> None:
    fields = report(go(server, "/style.css", "h2", "X25519MLKEM768"))["fields"]
    assert fields["Content-Type"][0].startswith("text/css")
    assert f'h3=":{server.port}"' in fields["Alt-Svc"][0]


def test_a_gibibyte(tmp_path: Path, go: Go) -> None:
    """Every byte arrives, and the server holds little of it at a time."""
    needs.free_space(tmp_path, 2 * GIB)
    root = tmp_path / "root"
    root.mkdir()
    digest = sites.large_file(root / "gibibyte.bin", GIB)
    with Server(root) as running:
        got = report(go(running, "/gibibyte.bin", "h3", "X25519MLKEM768"))
        assert (got["status"], got["bytes"], got["sha256"]) == (200, GIB, digest)
        assert running.memory() < 100 << 20


def test_an_upload_that_is_answered_early(fresh_site: Site, go: Go) -> None:
    """RFC 9114 section 4.1: of a gibibyte little is sent, less is held, and the connection goes on."""
    with Server(fresh_site.root) as running:
        got = report(go(running, "/data.bin", "h3", "X25519MLKEM768", "-upload", str(GIB), "-times", "150"))
        assert got["upload"]["status"] == 405
        assert got["upload"]["taken"] < 64 << 20
        assert got["sha256"] == hashlib.sha256(fresh_site.binary).hexdigest()
        assert running.memory() < 100 << 20


def test_downloads_that_are_given_up(server: Server, site: Site, go: Go) -> None:
    """Section 4.1.1: more of them than there may be streams at a time, and the connection goes on."""
    got = report(go(server, "/data.bin", "h3", "X25519MLKEM768", "-cancel", "1000", "-times", "300"))
    assert got["sha256"] == hashlib.sha256(site.binary).hexdigest()
