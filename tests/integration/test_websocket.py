"""WebSocket through the reverse proxy: by an upgrade over HTTP/1.1 (RFC 6455), by extended CONNECT over HTTP/2 (RFC
8441) and HTTP/3 (RFC 9220). The server behind is the `websockets` library's, and so is the client over HTTP/1.1.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from websockets.sync.server import ServerConnection, serve

from support import websocket
from support.configured import BASE, serving, write
from support.http2 import Http2
from support.http3 import run
from support.server import Server
from support.wss import dial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(_echo, "127.0.0.1", 0) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        root: Path = tmp_path_factory.mktemp("websocket")
        (root / "index.html").write_text("a page")
        port = backend.socket.getsockname()[1]
        with Server(root, "--proxy", f"/chat=http://127.0.0.1:{port}") as front:
            yield front
        backend.shutdown()


def test_over_http1(server: Server) -> None:
    trust = ssl.create_default_context(cafile=str(server.certificate))
    with dial(server.port, "/chat", trust, compression=None) as client:
        for message in ("hello", "x" * 1_000_000, b"\x00\xff"):
            client.send(message)
            assert client.recv(timeout=10) == message
    assert client.close_code == 1000, "the goodbye comes through as well"


def test_over_http2(server: Server) -> None:
    with Http2(server.port) as client:
        stream = websocket.begin(client, "/chat")
        websocket.say(client, stream, b"hello")
        answer = client.answers[stream]
        while bytes(answer.body) != websocket.heard(b"hello"):
            assert client.pump()
        assert answer.status == 200
        assert "sec-websocket-accept" not in dict(answer.fields), "that belongs to HTTP/1.1"
        websocket.say(client, stream, b"more")
        websocket.hear(client, stream, b"more")


def test_over_http3(server: Server) -> None:
    run(websocket.greet_over_http3(server.port, "/chat"))


def test_a_reload_leaves_it_open(tmp_path: Path) -> None:
    """Connections of both kinds, an upgraded one and one of several streams, talk on while the rest changes."""
    edge = "routes: [{path: /version, text: version %d}]\n"
    with serve(_echo, "127.0.0.1", 0) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        upstream = f"http://127.0.0.1:{backend.socket.getsockname()[1]}"
        write(tmp_path, f"{BASE}content: {{proxies: [{{path: /chat, upstream: '{upstream}'}}]}}\n")
        write(tmp_path, edge % 1, "edge.yaml")
        flags = ("--config", "serve.simple.yaml", "--edge-config", "edge.yaml")
        with (
            serving(tmp_path, *flags) as running,
            dial(running.port, "/chat", compression=None) as upgraded,
            Http2(running.port) as second,
        ):
            stream = websocket.begin(second, "/chat")
            for version in (2, 3, 4):
                write(tmp_path, edge % version, "edge.yaml")
                running.said("reloaded")
                assert running.get("/version") == (0, f"version {version}")
                text = f"after {version}"
                upgraded.send(text)
                assert upgraded.recv(timeout=10) == text
                websocket.say(second, stream, text.encode())
                websocket.hear(second, stream, text.encode())
        backend.shutdown()


def test_there_is_none_in_a_folder(server: Server) -> None:
    """Where files are served, extended CONNECT must not succeed: the client would take the page for a WebSocket."""
    with Http2(server.port) as client:
        stream = websocket.begin(client, "/")
        client.finish([stream])
        assert client.answers[stream].status == 400
