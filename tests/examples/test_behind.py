"""The examples of proxies: in front of a Node server as Next.js has it, and for browsers, before one of Velocity/1."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support import needs
from support.clients import Protocol, ask
from support.configured import Configured
from support.examples import EXAMPLES
from support.front import http, send
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.site import Site

WEB: tuple[Protocol, ...] = ("h3", "h2", "http/1.1")


@contextmanager
def configured(folder: Path, name: str, variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server with the file of an example."""
    shutil.copytree(EXAMPLES / name, folder / name)
    for variable, value in {"LISTEN": "127.0.0.1:0", **variables}.items():
        monkeypatch.setenv(variable, value)
    running = Configured(folder / name, "--config", "velocity.yaml")
    try:
        yield running.port
    finally:
        running.end()


@pytest.fixture
def next_server() -> Iterator[int]:
    command: list[str | Path] = [needs.command("node", "Node 20 or later"), EXAMPLES / "nextjs_upstream" / "server.mjs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORT", "0")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_in_front_of_next(tmp_path: Path, next_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with configured(tmp_path, "nextjs_upstream", {"PORT": str(next_server)}, monkeypatch) as port:
        first = ask("h3", port, "/")
        assert b'id="seen">https://localhost<' in first.body
        assert "x-powered-by" not in dict(first.fields)
        for protocol in WEB:
            assert ask(protocol, port, "/").body == first.body, "it is kept for a minute"
        chunk = bytes(first.body).decode().partition('src="')[2].partition('"')[0]
        statuses = [ask("h3", port, chunk)["cache-status"] for _ in range(2)]
        assert "hit" not in statuses[0]
        assert "hit" in statuses[1]
        answers = [json.loads(send(protocol, port, "/api/echo", b"x" * 100_000).body) for protocol in WEB]
        assert [(answer["method"], answer["length"]) for answer in answers] == [("POST", 100_000)] * 3
        draft = ask("h3", port, "/", fields=[("cookie", "__prerender_bypass=1")])
        assert b"(draft)" in draft.body
        assert b"(draft)" not in ask("h3", port, "/").body, "what is private stays so"
        assert ask("h2", port, "/none").status == 404
        with (
            http(port, "h2") as client,
            client.stream("GET", "/", headers={"cookie": "__prerender_bypass=1"}) as response,
        ):
            began = time.monotonic()
            pieces = [time.monotonic() - began for _ in response.iter_raw()]
        assert len(pieces) >= 2
        assert pieces[-1] - pieces[0] > 0.1, "the shell comes before the rest"


def test_the_gateway(tmp_path: Path, site: Site, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"ORIGIN": f"localhost:{server.port}", "ORIGIN_ROOTS": str(server.trust)}
    with configured(tmp_path, "browser_gateway", origin, monkeypatch) as port:
        for protocol in WEB:
            answer = ask(protocol, port, "/?through=the-gateway")
            assert (answer.status, bytes(answer.body)) == (200, (site.root / "index.html").read_bytes())
            assert answer["x-gateway"] == "Velocity/1"
    assert '"alpn":"velocity/1"' in server.line_with("through=the-gateway")


def test_a_gateway_believes_nobody_else(
    tmp_path: Path, fresh_site: Site, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(fresh_site.root) as other:
        origin = {"ORIGIN": f"localhost:{server.port}", "ORIGIN_ROOTS": str(other.trust)}
        with configured(tmp_path, "browser_gateway", origin, monkeypatch) as port:
            assert ask("h2", port, "/").status == 502
