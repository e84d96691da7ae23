"""`velocity client get` against a real server: the same bytes over every protocol, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support import certificates, needs, site
from support.clients import PROTOCOLS, Protocol
from support.server import VELOCITY, Server, environment, velocity
from support.site import INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HTTP = {"velocity/1": "velocity", "h3": "h3", "h2": "h2", "http/1.1": "h1"}
"""What `--http` calls each protocol."""

GIB = 1 << 30

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.mark.parametrize("name", ["auto", *HTTP.values()])
def test_same_bytes_over_everything(server: Server, name: str) -> None:
    done = velocity("client", "get", server.url(), "--insecure", "--http", name)
    assert (done.returncode, done.stdout) == (0, INDEX), done.stderr


def test_default_is_velocity(server: Server) -> None:
    done = velocity("client", "get", server.url(), "--insecure", "-v")
    said = done.stderr.decode()
    assert "velocity/1" in said
    assert "X25519MLKEM768" in said


@every_protocol
def test_certificate_is_checked(server: Server, protocol: Protocol) -> None:
    good = velocity("client", "get", server.url(), "--cacert", server.trust, "--http", HTTP[protocol])
    assert (good.returncode, good.stdout) == (0, INDEX), good.stderr
    bad = velocity("client", "get", server.url(), "--http", HTTP[protocol])
    assert (bad.returncode, bad.stdout) == (1, b"")
    assert b"hint:" in bad.stderr.lower()


def test_name_is_checked(fresh_site: site.Site, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path / "pair", "other.example")
    with Server(fresh_site.root, "--cert", pair.cert, "--key", pair.key) as running:
        done = velocity("client", "get", running.url(), "--cacert", pair.cert)
        assert (done.returncode, done.stdout) == (1, b"")
        by_address = f"https://127.0.0.1:{running.port}/"
        assert velocity("client", "get", by_address, "--cacert", pair.cert).stdout == INDEX


@every_protocol
def test_json_describes_the_exchange(server: Server, protocol: Protocol) -> None:
    done = velocity("client", "get", server.url("/hello.txt"), "--insecure", "--json", "--http", HTTP[protocol])
    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads(done.stdout))
    for word in (protocol, "X25519MLKEM768", "200"):
        assert word in text


def test_method_fields_and_body(server: Server) -> None:
    head = velocity("client", "get", server.url("/hello.txt"), "--insecure", "-X", "HEAD")
    assert (head.returncode, head.stdout) == (0, b"")
    ranged = velocity("client", "get", server.url("/hello.txt"), "--insecure", "-H", "Range: bytes=0-1")
    assert ranged.stdout == b"he"
    posted = velocity("client", "get", server.url("/hello.txt"), "--insecure", "-d", "a=b")
    assert b"405" in posted.stderr + posted.stdout


def test_output_file(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    done = velocity("client", "get", server.url("/data.bin"), "--insecure", "-o", target)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert target.read_bytes() == (server.root / "data.bin").read_bytes()
    assert list(tmp_path.iterdir()) == [target], "nothing else is left"


def test_failed_download_leaves_an_old_file_alone(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "kept.txt"
    target.write_text("old")
    velocity("client", "get", server.url("/nothing-here"), "--insecure", "-o", target)
    velocity("client", "get", "https://localhost:9/", "--insecure", "-o", target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_failures_exit_1(server: Server) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        for arguments in (
            ["https://localhost:9/"],
            ["https://no-such-host.invalid/"],
            [f"https://localhost:{port}/", "--http", "h2"],
        ):
            done = velocity("client", "get", *arguments, "--insecure", timeout=60)
            assert (done.returncode, done.stdout) == (1, b""), arguments
            assert b"hint:" in done.stderr.lower(), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["not a url"],
        ["ftp://localhost/"],
        ["https://"],
        ["https://localhost:99999/"],
        ["https://localhost/", "--http", "h9"],
        ["https://localhost/", "-H", "no colon"],
        ["https://localhost/", "-H", "a\r\nb: c"],
        ["https://localhost/", "--cacert", "no-such-file.pem"],
        ["https://localhost/", "--profile", "paranoid"],
        [],
    ],
    ids=" ".join,
)
def test_usage_exits_2(arguments: list[str]) -> None:
    done = velocity("client", "get", *arguments)
    assert (done.returncode, done.stdout) == (2, b""), done.stderr
    assert len([line for line in done.stderr.decode().splitlines() if line.lower().startswith("error")]) == 1


def test_body_that_ends_early_is_an_error(tmp_path: Path) -> None:
    """A truncated body must never pass for a whole one."""
    pair = certificates.make(tmp_path / "pair")
    context = pair.server_context("http/1.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True) as stream:
                stream.recv(65536)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}/"
        done = velocity("client", "get", url, "--insecure", "--http", "h1", "-o", tmp_path / "out")
        thread.join(5)
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "out").exists()


def largest(folder: Path) -> int:
    """The size of the largest file so far, which is the download, whatever it is called meanwhile."""
    sizes = [0]
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a temporary name that has just become another
            sizes.append(file.stat().st_size)
    return max(sizes)


@dataclass(frozen=True)
class Large:
    server: Server
    sha256: str


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    """A server of its own with a file of one GiB."""
    folder = tmp_path_factory.mktemp("large")
    needs.free_space(folder, 3 * GIB)
    root = folder / "root"
    root.mkdir()
    sha256 = site.large_file(root / "large.bin", GIB)
    with Server(root, "--log-format", "json") as running:
        yield Large(running, sha256)
    (root / "large.bin").unlink()


@pytest.mark.parametrize("name", HTTP.values())
def test_one_gib_arrives_intact(large: Large, name: str) -> None:
    """Whole, in bounded time, and without the server holding it in memory."""
    before = large.server.memory()
    peak = 0
    digest = hashlib.sha256()
    command: list[str | Path] = [
        VELOCITY,
        "client",
        "get",
        large.server.url("/large.bin"),
        "--insecure",
        "--http",
        name,
    ]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as client:
        assert client.stdout is not None
        while chunk := client.stdout.read(4 << 20):
            digest.update(chunk)
            peak = max(peak, large.server.memory())
    assert client.returncode == 0
    assert digest.hexdigest() == large.sha256
    assert peak - before < 64 << 20
    assert time.monotonic() - began < 60


def test_interrupted_download_resumes(large: Large, tmp_path: Path) -> None:
    target = tmp_path / "large.bin"
    command: list[str | Path] = [VELOCITY, "client", "get", large.server.url("/large.bin"), "--insecure", "-o", target]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()) as client:
        while (have := largest(tmp_path)) < 64 << 20:
            assert client.poll() is None, "it ended before it could be interrupted"
            time.sleep(0.005)
        client.send_signal(signal.SIGINT)
        _, said = client.communicate(timeout=10)
    assert client.returncode not in (0, None)
    assert b"Traceback" not in said
    assert not target.exists() or target.stat().st_size < GIB
    done = velocity(*command[1:], timeout=90)
    assert done.returncode == 0, done.stderr
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == large.sha256
    assert list(tmp_path.iterdir()) == [target]
    resumed = json.loads(large.server.line(lambda line: '"status":206' in line.replace(" ", "")))
    assert resumed["bytes"] <= GIB - have, "what was there already was sent again"


def test_resume_of_a_file_that_changed_begins_anew(fresh_site: site.Site, tmp_path: Path) -> None:
    """Half of the old and half of the new would be worse than either."""
    source = fresh_site.root / "changing.bin"
    site.large_file(source, 256 << 20)
    target = tmp_path / "downloaded" / "changing.bin"
    target.parent.mkdir()
    with Server(fresh_site.root) as running:
        command: list[str | Path] = [
            VELOCITY,
            "client",
            "get",
            running.url("/changing.bin"),
            "--insecure",
            "-o",
            target,
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment()) as client:
            while largest(target.parent) < 8 << 20:
                assert client.poll() is None
                time.sleep(0.002)
            client.kill()
        source.write_bytes(site.noise(24 << 20, seed=2))
        assert velocity(*command[1:]).returncode == 0
        assert target.read_bytes() == source.read_bytes()
