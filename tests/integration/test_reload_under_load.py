"""Reloads while every protocol is busy: what is new is there within a second, and nobody notices anything else."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.clients import PROTOCOLS, Protocol
from support.configured import BASE, Configured, serving, write
from support.http1 import Http1
from support.http2 import Http2
from support.http3 import Http3
from support.load import Connections
from velocity import _core

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.answer import Answer

LARGE = 24 << 20
"""More than the windows of any protocol and all buffers on the way hold."""
BREATH = 0.004
"""Seconds between two requests of a connection: clients and server share two processors here."""
SOON = 1.0
"""Seconds within which a change is to be seen."""

SIMPLE = (
    BASE.replace("self_signed: true", "certificate: tls/chain.pem, private_key: tls/key.pem")
    + "content: {sites: [{root: public}]}\n"
)
EDGE = "templates_dir: templates\nroutes:\n  - {path: /text, text: %s}\n  - {path: /page, template: page.html}\n"
PATHS = ("/text", "/page", "/file.txt")


class Load(Connections):
    """Asks one path after the other for as long as this lasts."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.latest: dict[tuple[Protocol, str], tuple[int, bytes]] = {}
        self._known: dict[tuple[Protocol, str], list[bytes]] = {}
        self.begin()

    def sees(self, path: str, body: str, since: float) -> None:
        """Wait until every protocol has the body; AssertionError unless that is soon."""
        wanted = (200, body.encode())
        with self._news:
            self._news.wait_for(
                lambda: self.problems or all(self.latest.get((one, path)) == wanted for one in PROTOCOLS),
                max(0, since + SOON - time.monotonic()),
            )
            late = [one for one in PROTOCOLS if self.latest.get((one, path)) != wanted]
        assert not late, f"after {time.monotonic() - since:.2f} s: {self.latest}"
        self.check()

    def check(self) -> None:
        """Nothing has gone wrong, and everybody is at it."""
        assert not self.problems
        before = dict(self.count)
        with self._news:
            assert self._news.wait_for(lambda: all(self.count[one] > before[one] + 3 for one in PROTOCOLS), 5)

    def _paths(self) -> Iterator[str]:
        while not self._ending.is_set():
            yield from PATHS

    def _http1(self) -> None:
        with Http1(self._port) as connection:
            for path in self._paths():
                self._got("http/1.1", path, connection.ask(path))
                time.sleep(BREATH)

    def _http2(self) -> None:
        with Http2(self._port) as connection:
            for path in self._paths():
                self._got("h2", path, connection.ask(path))
                time.sleep(BREATH)

    async def _http3(self) -> None:
        async with Http3.open(self._port) as connection:
            for path in self._paths():
                self._got("h3", path, await connection.ask(path))
                await asyncio.sleep(BREATH)

    def _velocity(self) -> None:
        connection = _core.Connection("localhost", self._port, protocols=["velocity/1"], insecure=True)
        for path in self._paths():
            response = connection.request("GET", path, [], None, 20.0)
            self._heard("velocity/1", path, response.status, rest(response))
            time.sleep(BREATH)
        connection.close()

    def _got(self, protocol: Protocol, path: str, answer: Answer) -> None:
        self._heard(protocol, path, answer.status, bytes(answer.body))

    def _heard(self, protocol: Protocol, path: str, status: int, body: bytes) -> None:
        known = self._known.setdefault((protocol, path), [])
        if status != 200:
            self._problem(f"{protocol} {path}: {status} {body!r}")
        elif body not in known:
            known.append(body)
        elif body != known[-1]:
            self._problem(f"{protocol} {path}: {body!r} again, after {known[-1]!r}")
        with self._news:
            self.latest[protocol, path] = (status, body)
            self.count[protocol] += 1
            self._news.notify_all()


def rest(response: _core.Response) -> bytes:
    """What is left of a body."""
    body = bytearray()
    while (chunk := response.read()) is not None:
        body += chunk
    return bytes(body)


def fingerprint(port: int, protocol: Protocol) -> str:
    """Of the certificate that a new connection is shown."""
    connection = _core.Connection("localhost", port, protocols=[protocol], insecure=True)
    try:
        shown: str = connection.facts["certificate_sha256"]
        return shown
    finally:
        connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from velocity.pki import self_signed

    root = tmp_path_factory.mktemp("reloaded")
    for name in ("public", "templates", "tls"):
        (root / name).mkdir()
    for name in ("first", "second"):
        made = self_signed.ensure(root / name, ())
        shutil.copytree(made.chain_file.parent, root / name / "tls")
        (root / name / "tls" / made.chain_file.name).rename(root / name / "tls/chain.pem")
        (root / name / "tls" / made.key_file.name).rename(root / name / "tls/key.pem")
    shutil.copytree(root / "first/tls", root / "tls", dirs_exist_ok=True)
    (root / "public/file.txt").write_text("file")
    (root / "public/large").write_bytes(bytes(range(256)) * (LARGE >> 8))
    (root / "templates/page.html").write_text("page 1")
    write(root, SIMPLE)
    write(root, EDGE % "text 1", "edge.yaml")
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Configured]:
    flags = ("--config", "serve.simple.yaml", "--edge-config", "edge.yaml", "--no-access-log")
    with serving(folder, *flags) as running:
        yield running


@pytest.fixture(scope="module")
def load(server: Configured) -> Iterator[Load]:
    busy = Load(server.port)
    try:
        busy.sees("/text", "text 1", time.monotonic() + 10)
        yield busy
    finally:
        busy.end()
        assert not busy.problems


@pytest.fixture(scope="module", autouse=True)
def downloads(server: Configured, load: Load) -> Iterator[None]:
    """A download over each protocol, which begins before everything here and ends after it."""
    connections = [
        _core.Connection("localhost", server.port, protocols=[protocol], insecure=True) for protocol in PROTOCOLS
    ]
    responses = [connection.request("GET", "/large", [], None, None) for connection in connections]
    begun = [response.read() or b"" for response in responses]
    yield
    content = bytes(range(256)) * (LARGE >> 8)
    for protocol, start, response in zip(PROTOCOLS, begun, responses, strict=True):
        assert len(start) < LARGE // 2, protocol
        assert start + rest(response) == content, protocol
    for connection in connections:
        connection.close()


def test_a_configuration(folder: Path, server: Configured, load: Load) -> None:
    for number in (2, 3, 4):
        write(folder, EDGE % f"text {number}", "edge.yaml")
        load.sees("/text", f"text {number}", time.monotonic())
        server.said("reloaded")


def test_a_template(folder: Path, server: Configured, load: Load) -> None:
    (folder / "templates/page.html").write_text("page 2")
    load.sees("/page", "page 2", time.monotonic())
    server.said("reloaded")


def test_a_certificate(folder: Path, server: Configured, load: Load) -> None:
    before = {protocol: fingerprint(server.port, protocol) for protocol in PROTOCOLS}
    for path in (folder / "second/tls").iterdir():
        write(folder / "tls", path.read_text(), path.name)
    changed = time.monotonic()
    waiting = set(PROTOCOLS)
    while waiting:
        waiting = {protocol for protocol in waiting if fingerprint(server.port, protocol) == before[protocol]}
        assert not waiting or time.monotonic() < changed + SOON, f"still the old certificate: {waiting}"
    load.check()


def test_sighup(folder: Path, server: Configured, load: Load) -> None:
    server.lines.clear()
    server.process.send_signal(signal.SIGHUP)
    assert "SIGHUP" in server.said("reloaded", SOON)
    load.check()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("edge.yaml", "routes: [", "edge.yaml:2:1: a bracket that is not closed"),
        ("edge.yaml", "templates_dir: templates\nroutes: [{path: /text, json: '{{ a b }}'}]\n", "edge.yaml:2:"),
        ("templates/page.html", "page\n{% if %}", "page.html:2:"),
    ],
    ids=["syntax", "text", "template"],
)
def test_what_is_broken(folder: Path, server: Configured, load: Load, name: str, text: str, told: str) -> None:
    """It is told with its place, by the watcher and after a SIGHUP, and nothing changes."""
    good = (folder / name).read_text()
    before = dict(load.latest)
    server.lines.clear()
    write(folder, text, name) if "/" not in name else (folder / name).write_text(text)
    assert told in server.said("reload_failed")
    server.said("reload_kept")
    server.process.send_signal(signal.SIGHUP)
    assert told in server.said("reload_failed")
    load.check()
    assert load.latest == before
    (folder / name).write_text(good)
    server.said("reload")
    load.check()
    assert load.latest == before
