"""Debian's curl, nghttp2 and OpenSSL: ordinary clients that know nothing of post-quantum."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from support import needs
from support.site import INDEX, TEXT, Site

if TYPE_CHECKING:
    from pathlib import Path

    from support.server import Server


@pytest.fixture(scope="module")
def curl() -> str:
    return needs.command("curl", "curl")


def run(*command: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=data, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2"), ("--http2-prior-knowledge", "2")]
)
def test_get(server: Server, site: Site, curl: str, tmp_path: Path, flag: str, version: str) -> None:
    out = tmp_path / "out"
    common: list[str | Path] = [
        curl,
        "--silent",
        "--show-error",
        "--cacert",
        server.certificate,
        flag,
        "-w",
        "%{http_version} %{http_code}",
    ]
    done = run(*common, "-o", out, server.url("/data.bin"))
    assert done.stdout.decode() == f"{version} 200", done.stderr
    assert out.read_bytes() == site.binary


def test_insecure(server: Server, curl: str) -> None:
    assert run(curl, "-sk", server.url()).stdout == INDEX


def test_certificate_is_not_trusted_by_default(server: Server, curl: str) -> None:
    assert run(curl, "-s", server.url()).returncode == 60


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_compressed_and_resumed(server: Server, site: Site, curl: str, tmp_path: Path, flag: str) -> None:
    assert run(curl, "-sk", flag, "--compressed", server.url("/long.txt")).stdout == TEXT
    out = tmp_path / "out"
    out.write_bytes(site.binary[:1000])
    run(curl, "-sk", flag, "-C", "-", "-o", out, server.url("/data.bin"))
    assert out.read_bytes() == site.binary


def test_upload_with_expect_is_refused(server: Server, curl: str) -> None:
    """curl sends `Expect: 100-continue` with a large body and must not wait in vain."""
    done = run(
        curl,
        "-sk",
        "--http1.1",
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        "--data-binary",
        "@-",
        server.url(),
        data=b"a" * (4 << 20),
    )
    assert done.stdout == b"405"


def test_h2load(server: Server) -> None:
    h2load = needs.command("h2load", "nghttp2-client")
    done = run(h2load, "-n", "5000", "-c", "10", "-m", "20", server.url("/hello.txt"))
    said = done.stdout.decode()
    assert re.search(r"5000 succeeded, 0 failed, 0 errored", said), said


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
@pytest.mark.parametrize(("group", "key"), [("X25519", "X25519"), ("P-256", "prime256v1")])
def test_classical_groups_are_accepted(server: Server, alpn: str, group: str, key: str) -> None:
    openssl = needs.command("openssl", "openssl")
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost"]
    done = run(*command, "-CAfile", server.certificate, "-tls1_3", "-groups", group, "-alpn", alpn)
    said = done.stdout.decode("latin-1")
    assert re.search(rf"Server Temp Key:.*{key}", said), said
    assert f"ALPN protocol: {alpn}" in said
    assert "Verify return code: 0 (ok)" in said


def test_tls_of_openssl_without_alpn_is_http1(server: Server) -> None:
    openssl = needs.command("openssl", "openssl")
    command = [openssl, "s_client", "-quiet", "-ign_eof", "-connect", f"127.0.0.1:{server.port}"]
    done = run(*command, data=b"GET /hello.txt HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert done.stdout.startswith(b"HTTP/1.1 200")
    assert done.stdout.endswith(b"\r\n\r\nhello\n")
