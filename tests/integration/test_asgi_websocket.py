"""WebSockets that an application answers: by upgrade over HTTP/1.1, by extended CONNECT over HTTP/2 and HTTP/3."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode

from support import websocket, wss
from support.application import PLACES, serving, told
from support.clients import ask
from support.http1 import Http1
from support.http2 import Http2
from support.http3 import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    from support.server import Server


@pytest.fixture(scope="module", params=PLACES)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("asgi"), "raw:app", *PLACES[request.param]) as running:
        yield running


def dial(server: Server, path: str, **more: Any) -> ClientConnection:
    return wss.dial(server.port, path, ssl.create_default_context(cafile=str(server.certificate)), **more)


def deflated(opcode: Opcode, payload: bytes) -> bytes:
    """A frame whose payload is said to be deflated, under a mask that changes nothing."""
    return struct.pack("!BBH4x", 0xC0 | opcode, 0x80 | 126, len(payload)) + payload


def heard(server: Server, what: str) -> None:
    deadline = time.monotonic() + 5
    while what not in told(server.port):
        assert time.monotonic() < deadline, told(server.port)
        time.sleep(0.05)


def test_messages(server: Server) -> None:
    with dial(server, "/echo", max_size=None) as client:
        assert client.response is not None
        assert client.response.headers["x-scheme"] == "wss"
        for message in ("hello", "ü" * 100_000, b"\x00\xff", b"x" * 3_000_000, ""):
            client.send(message)
            assert client.recv(timeout=10) == message
        client.send(["in ", "pieces"])
        assert client.recv(timeout=10) == "in pieces"
        client.ping().wait(5)
        client.close(4000, "that is all")
    assert client.close_code == 4000
    heard(server, "ws: 4000 that is all")


def test_subprotocols(server: Server) -> None:
    with dial(server, "/echo", subprotocols=["chat", "superchat"]) as client:
        assert client.subprotocol == "superchat"


def test_the_application_closes(server: Server) -> None:
    with dial(server, "/close") as client:
        assert client.recv(timeout=5) == "bye"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert (client.close_code, client.close_reason) == (4001, "enough")


@pytest.mark.parametrize(("path", "status"), [("/deny", 403), ("/deny-oddly", 403), ("/fail", 500)])
def test_there_is_none(server: Server, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(server, path):
        pass
    assert refused.value.response.status_code == status


def test_an_answer_instead(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(server, "/answer"):
        pass
    response = refused.value.response
    assert (response.status_code, response.headers["x-why"]) == (401, "who are you")
    assert response.body == b"no entry"


def test_the_application_fails(server: Server) -> None:
    with dial(server, "/break") as client:
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert client.close_code == 1011
    server.line_with("after the handshake")


def test_a_client_that_is_gone(server: Server) -> None:
    with dial(server, "/echo") as client:
        client.socket.shutdown(socket.SHUT_RDWR)
        heard(server, "ws: 1006 ")


@pytest.mark.parametrize("window", [9, 12, 15])
def test_compression(server: Server, window: int) -> None:
    """permessage-deflate (RFC 7692), both ways, beside messages that it would not make smaller."""
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=window, client_max_window_bits=True)
    with dial(server, "/echo", compression=None, extensions=[offer], max_size=None) as client:
        assert client.response is not None
        extensions = client.response.headers["sec-websocket-extensions"].split("; ")
        assert extensions[:3] == ["permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"]
        for message in ("hello " * 10_000, "ü" * 100_000, os.urandom(100_000), "", bytes(1 << 20), bytes(3 << 20)):
            client.send(message)
            assert client.recv(timeout=10) == message
        client.send(["in pieces, " * 100] * 3)
        assert client.recv(timeout=10) == "in pieces, " * 300


@pytest.mark.parametrize("dropped", ["compression", "server"])
def test_no_compression(tmp_path: Path, server: Server, dropped: str) -> None:
    if dropped == "compression":
        with dial(server, "/echo", compression=None) as client:
            assert client.response is not None
            assert "sec-websocket-extensions" not in client.response.headers
        return
    with serving(tmp_path, "raw:app", "--no-ws-per-message-deflate") as plain, dial(plain, "/echo") as client:
        assert client.response is not None
        assert "sec-websocket-extensions" not in client.response.headers
        client.send("hello " * 100)
        assert client.recv(timeout=5) == "hello " * 100


def test_what_cannot_be_inflated(server: Server) -> None:
    with dial(server, "/echo") as client:
        client.socket.sendall(deflated(Opcode.TEXT, b"\xff" * 20))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
    heard(server, "ws: 1007 the message cannot be inflated")


def test_a_bomb(server: Server) -> None:
    """32 MiB in 32 KiB: too large as soon as half of it was inflated."""
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(bytes(32 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    before = told(server.port).count("ws: 1009 the message is too large")
    with dial(server, "/echo") as client, contextlib.suppress(ConnectionClosed):
        client.socket.sendall(deflated(Opcode.BINARY, bomb[:-4]))
        client.recv(timeout=10)
    deadline = time.monotonic() + 5
    while told(server.port).count("ws: 1009 the message is too large") == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_too_large_a_message(server: Server, compression: str | None) -> None:
    with (
        dial(server, "/echo", compression=compression, max_size=None) as client,
        contextlib.suppress(ConnectionClosed),
    ):
        client.send(b"x" * (17 << 20))
        client.recv(timeout=10)
    heard(server, "ws: 1009 the message is too large")


def test_a_slow_reader_holds_the_application_back(server: Server) -> None:
    with dial(server, "/flood", max_queue=1, compression=None) as client:
        time.sleep(0.7)
        assert told(server.port).count("flood") < 150
        received = sum(1 for _ in client)
    assert received == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("sec-websocket-version", "8"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")], 426),
        ([("sec-websocket-version", "13")], 400),
        ([("sec-websocket-version", "13"), ("sec-websocket-key", "short")], 400),
    ],
)
def test_handshakes_that_are_wrong(server: Server, fields: list[tuple[str, str]], status: int) -> None:
    with Http1(server.port) as client:
        answer = client.ask("/echo", fields=[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), *fields])
        assert answer.status == status
        assert (answer.get("sec-websocket-version") == "13") == (status == 426)


def test_over_http2(server: Server) -> None:
    with Http2(server.port) as client:
        stream = websocket.begin(client, "/echo")
        websocket.say(client, stream, b"hello")
        answer = client.answers[stream]
        while bytes(answer.body) != websocket.heard(b"hello"):
            assert client.pump()
        assert answer.status == 200
        assert "sec-websocket-accept" not in dict(answer.fields), "that belongs to HTTP/1.1"
        websocket.say(client, stream, b"\x03\xe8", Opcode.CLOSE)
        websocket.hear(client, stream, b"\x03\xe8", Opcode.CLOSE)
        denied = websocket.begin(client, "/deny")
        client.finish([denied])
        assert client.answers[denied].status == 403


def test_over_http3(server: Server) -> None:
    run(websocket.greet_over_http3(server.port, "/echo"))


def test_the_way_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("asgi")) as server:
        with dial(server, "/echo") as client:
            client.send("hello")
            assert client.recv(timeout=5) == "hello"
            server.terminate()
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=5)
            assert client.close_code == 1012, "a client may come back at once (RFC 6455 section 7.4.1, IANA)"
        assert server.wait() == 0


def test_everything_else_goes_on(server: Server) -> None:
    assert ask("http/1.1", server.port, "/").status == 200
