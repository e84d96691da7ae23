"""WebSocket to upstreams that have it over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220) only, from clients over all of them.

The servers behind are Hypercorn over HTTP/2, and this server itself, in front of the `websockets` library's, over
HTTP/2, HTTP/3 and Velocity/1.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from support.answer import Answer
from support.engine import Engine, plan, route
from support.front import closed_port, proxy, serve
from support.h2c import H2c
from support.http1 import Http1
from support.http2 import Http2
from support.http3 import Http3, run
from support.websocket import begin, greet_over_http3, head, hear, heard, said, say
from support.wss import dial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Pair

CLIENTS = ["http/1.1", "h2", "h3"]
UPSTREAMS = ["hypercorn", "h2", "h3", "velocity/1"]

APPLICATION = """
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while (said := await receive())["type"] == "websocket.receive":
        await send({**said, "type": "websocket.send"})

config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
asyncio.run(serve(app, config))
"""


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def _chat(_: ServerConnection, offered: Any) -> Any:
    return "chat" if "chat" in offered else None


def _refuse(connection: ServerConnection, request: Any) -> Any:
    return connection.respond(403, "nobody comes in here\n") if request.path == "/refused" else None


@contextlib.contextmanager
def hypercorn() -> Iterator[str]:
    port = closed_port()
    process = subprocess.Popen([sys.executable, "-c", APPLICATION, str(port)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), _connected(port):
                break
            assert time.monotonic() < deadline, "hypercorn did not start"
            time.sleep(0.1)
        yield f"h2c://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 1)


@pytest.fixture(scope="module")
def front(pair: Pair) -> Iterator[Engine]:
    """A server with an upstream of every kind, each under its name."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        handlers = {"/hypercorn": proxy(enter(hypercorn()), strip_prefix="/hypercorn")}
        backend = enter(
            serve_websocket(_echo, "127.0.0.1", 0, select_subprotocol=_chat, process_request=_refuse),
        )
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        stack.callback(backend.shutdown)
        behind = route(proxy(f"http://127.0.0.1:{backend.socket.getsockname()[1]}"))
        for name, scheme in (("h2", "https"), ("h3", "h3"), ("velocity/1", "velocity")):
            listeners = [{"address": "127.0.0.1:0", "alpn": [name]}]
            port = enter(Engine(plan(pair, [behind], listeners=listeners))).port
            tls = {"insecure": True} if scheme != "velocity" else {"ca_file": str(pair.cert)}
            handlers[f"/{name}"] = proxy(f"{scheme}://localhost:{port}", strip_prefix=f"/{name}", tls=tls)
        yield enter(serve(pair, handlers))


def over_http1(port: int, path: str) -> None:
    with dial(port, path, compression=None, subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
        for message in ("hello", "x" * 1_000_000, b"\x00\xff"):
            client.send(message)
            assert client.recv(timeout=10) == message
    assert client.close_code == 1000, "the goodbye comes through as well"


def over_http2(port: int, path: str) -> None:
    with Http2(port) as client:
        for stream in [begin(client, path) for _ in range(3)]:
            for text in (b"hello %d" % stream, b"x" * 10_000):
                say(client, stream, text)
                hear(client, stream, text)
            answer = client.answers[stream]
            assert (answer.status, answer.get("sec-websocket-accept")) == (200, None)


def over_http3(port: int, path: str) -> None:
    if "hypercorn" not in path:
        return run(greet_over_http3(port, path))

    # It does not end the stream after the goodbye.
    async def talk() -> None:
        async with Http3.open(port, library="aioquic") as client:
            stream = client._protocol._quic.get_next_available_stream_id()
            fields = [(name.encode(), value.encode()) for name, value in head(path)]
            client.answers[stream] = answer = Answer(0)
            client._done[stream] = asyncio.get_running_loop().create_future()
            client._http.send_headers(stream, fields)
            client._http.send_data(stream, said(b"hello"), False)
            client._protocol.transmit()
            async with asyncio.timeout(10):
                while bytes(answer.body) != heard(b"hello"):
                    await client.begun(stream)
                    await asyncio.sleep(0.01)
            assert answer.status == 200

    return run(talk())


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
def test_from_every_client_to_every_upstream(front: Engine, client: str, upstream: str) -> None:
    talk = {"http/1.1": over_http1, "h2": over_http2, "h3": over_http3}[client]
    talk(front.port, f"/{upstream}/chat")


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_who_is_refused_is_told(front: Engine, upstream: str) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(front.port, f"/{upstream}/refused"):
        pass
    assert refused.value.response.status_code == 403


def test_a_key_is_needed_where_the_upstream_has_none_to_see(front: Engine) -> None:
    fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
    for key in ([], [("sec-websocket-key", "short")]):
        with Http1(front.port) as client:
            assert client.ask("/h3/chat", fields=[*fields, *key]).status == 400


def test_where_there_is_none_nobody_is_ejected(pair: Pair) -> None:
    """That an upstream has no WebSocket says nothing about how it is."""
    with H2c() as upstream, serve(pair, {"/": proxy(upstream.url)}) as front:
        key = ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), key]
        for _ in range(5):
            with Http1(front.port) as client:
                assert client.ask("/", fields=fields).status == 501
        with Http1(front.port) as client:
            assert client.ask("/").body == b"hello"
        assert [fields[":method"] for fields in upstream.requests] == ["GET"]
        assert front.counters()[f"upstream_failures:{upstream.url}"] == 0


def test_an_upstream_that_goes_takes_the_websocket_along(front: Engine, pair: Pair) -> None:
    with serve_websocket(_echo, "127.0.0.1", 0) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        behind = route(proxy(f"http://127.0.0.1:{backend.socket.getsockname()[1]}"))
        middle = Engine(plan(pair, [behind], listeners=[{"address": "127.0.0.1:0", "alpn": ["h3"]}]))
        with (
            serve(pair, {"/": proxy(f"h3://localhost:{middle.port}", tls={"insecure": True})}) as outer,
            dial(outer.port, compression=None) as client,
        ):
            client.send("hello")
            assert client.recv(timeout=10) == "hello"
            middle.end()
            with pytest.raises(Exception, match="close frame"):
                client.recv(timeout=10)
        backend.shutdown()
