"""Requests passed on, and answers handed back, over every protocol: what arrives is what was sent (RFC 9110)."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Literal

import pytest

from support import http3, needs
from support.backend import Backend, Exchange, Script
from support.clients import PROTOCOLS, Protocol, ask, hinted
from support.engine import Engine, plan, route
from support.front import NEVER, http, proxy, quic, send, serve
from support.http1 import Http1, connect, exchange
from support.http2 import Http2
from support.site import noise
from velocity.errors import VelocityError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Pair

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)

LARGE = 256 << 20
BLOCK = noise(1 << 20, seed=7)


async def echo(exchange: Exchange) -> None:
    body = await exchange.read()
    await exchange.answer(body, fields=(("content-type", "application/octet-stream"),))


async def chunked_echo(exchange: Exchange) -> None:
    body = await exchange.read()
    await exchange.head("transfer-encoding: chunked")
    for start in range(0, len(body), 70_001):
        await exchange.chunk(body[start : start + 70_001])
    await exchange.chunk(b"")


async def until_closed(exchange: Exchange) -> None:
    await exchange.head("connection: close")
    await exchange.send(b"as long as it is")
    exchange.close()


async def old(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.0 200 OK\r\n\r\nas in the old days")
    exchange.close()


async def not_modified(exchange: Exchange) -> None:
    await exchange.head('etag: "one"', "content-length: 1000", status=304)


async def no_content(exchange: Exchange) -> None:
    await exchange.read()
    await exchange.head("x-kept: yes", status=204)


async def long_head(exchange: Exchange) -> None:
    await exchange.head("content-length: 1000", "x-kept: yes")
    if exchange.method != "HEAD":
        await exchange.send(bytes(1000))


async def trailers(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked", "trailer: x-sum")
    await exchange.chunk(b"content")
    await exchange.send(b"0\r\nx-sum: 42\r\n\r\n")


async def length(exchange: Exchange) -> None:
    await exchange.head("content-length: 7")
    if exchange.method != "HEAD":
        await exchange.send(b"content")


async def interim(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 103 Early\r\nlink: </a.css>; rel=preload\r\n\r\n" * 20)
    await exchange.answer(b"at last")


async def both_lengths(exchange: Exchange) -> None:
    await exchange.head("content-length: 3", "transfer-encoding: chunked")
    await exchange.chunk(b"longer than three")
    await exchange.chunk(b"")


async def neighbours_only(exchange: Exchange) -> None:
    secret = (("connection", "x-secret, close"), ("x-secret", "1"), ("keep-alive", "timeout=1"), ("upgrade", "foo/2"))
    await exchange.answer(b"", fields=(*secret, ("alt-svc", 'h3=":1"'), ("x-kept", "yes"), ("proxy-connection", "a")))


async def cookies(exchange: Exchange) -> None:
    await exchange.answer(b"", fields=(("set-cookie", "a=1"), ("set-cookie", "b=2")))


async def large(exchange: Exchange) -> None:
    await exchange.head(f"content-length: {LARGE}")
    for _ in range(LARGE >> 20):
        await exchange.send(BLOCK)


async def endless(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked")

    async def pour() -> None:
        while True:
            await exchange.chunk(bytes(10_000))
            await asyncio.sleep(0.01)

    pouring = asyncio.create_task(pour())
    await exchange.wait_gone()
    pouring.cancel()


async def never(exchange: Exchange) -> None:
    await exchange.wait_gone()


async def impatient(exchange: Exchange) -> None:
    """Answers an upload before it is there."""
    await exchange.head("content-length: 5", "connection: close", status=413)
    await exchange.send(b"large")
    await asyncio.sleep(0.2)
    exchange.close()


async def last_word(exchange: Exchange) -> None:
    """Keeps the connection, says so, and closes it."""
    await exchange.answer(b"bye")
    exchange.close()


class Events:
    """Server-sent events of which the second waits for somebody to have seen the first."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.head("content-type: text/event-stream", "transfer-encoding: chunked")
        await exchange.chunk(b"data: 1\n\n")
        seen = await asyncio.to_thread(self.seen.wait, 10)
        await exchange.chunk(b"data: 2\n\n" if seen else b"data: nobody has seen the first\n\n")
        await exchange.chunk(b"")
        self.seen.clear()


EVENTS = Events()
SCRIPTS: dict[str, Script] = {
    "/echo": echo,
    "/chunked-echo": chunked_echo,
    "/until-closed": until_closed,
    "/old": old,
    "/not-modified": not_modified,
    "/no-content": no_content,
    "/long-head": long_head,
    "/trailers": trailers,
    "/length": length,
    "/interim": interim,
    "/both-lengths": both_lengths,
    "/neighbours-only": neighbours_only,
    "/cookies": cookies,
    "/large": large,
    "/endless": endless,
    "/never": never,
    "/impatient": impatient,
    "/last-word": last_word,
    "/events": EVENTS,
}


@pytest.fixture(scope="module")
def engine(pair: Pair, behind: Backend) -> Iterator[Engine]:
    handlers = {
        "/": proxy(behind.url, ejection=NEVER, retries={"attempts": 1}),
        "/strip": proxy(behind.url, strip_prefix="/strip"),
        "/host": proxy(behind.url, preserve_host=True),
        "/whole": proxy(behind.url, streaming=False, strip_prefix="/whole"),
    }
    with serve(pair, handlers) as running:
        yield running


@every_protocol
@pytest.mark.parametrize("path", ["/echo", "/chunked-echo"])
def test_bodies_arrive_byte_for_byte(engine: Engine, backend: Backend, protocol: Protocol, path: str) -> None:
    for size in (1, 65_536, 1_000_003):
        body = noise(size)
        answer = send(protocol, engine.port, path, body)
        assert (answer.status, hashlib.sha256(answer.body).digest()) == (200, hashlib.sha256(body).digest()), size
        seen = backend.requests[-1]
        assert (seen.method, seen.length, seen.digest.digest()) == ("POST", size, hashlib.sha256(body).digest())
    assert backend.nonsense == []


@every_protocol
def test_bodies_of_every_framing(engine: Engine, protocol: Protocol) -> None:
    assert ask(protocol, engine.port, "/until-closed").body == b"as long as it is"
    assert ask(protocol, engine.port, "/interim").body == b"at last"
    assert ask(protocol, engine.port, "/trailers").body == b"content"


@every_protocol
def test_answers_that_are_too_large(pair: Pair, backend: Backend, protocol: Protocol) -> None:
    """`content` has seven bytes: with a length, with chunks, and for HEAD with none of them."""
    of = {"/at-most-6": 6, "/at-most-7": 7}
    handlers = {
        path: proxy(backend.url, strip_prefix=path, max_response_bytes=limit, ejection={"failures": 1})
        for path, limit in of.items()
    }
    with serve(pair, handlers) as engine:
        for path in ("/trailers", "/length"):
            assert ask(protocol, engine.port, f"/at-most-7{path}").body == b"content"
        assert ask(protocol, engine.port, "/at-most-6/length").status == 502
        assert ask(protocol, engine.port, "/at-most-6/length", "HEAD").status == 200
        with pytest.raises((OSError, VelocityError, HTTPException)):
            ask(protocol, engine.port, "/at-most-6/trailers")
        assert ask(protocol, engine.port, "/at-most-7/length").body == b"content", "nobody is to blame"
        line = engine.line_with("upstream_failed", "at-most-6")
        assert "kind=size" in line


@pytest.mark.parametrize("protocol", ["h3", "h2"])
def test_early_hints_go_on(engine: Engine, protocol: Literal["h3", "h2"]) -> None:
    fields, body = hinted(protocol, engine.port, "/interim")
    assert (":status", "103") in fields
    assert ("link", "</a.css>; rel=preload") in fields
    assert body == b"at last"


def test_versions_are_those_of_a_hop(engine: Engine) -> None:
    """RFC 9110 section 2.5: who speaks HTTP/1.0 behind, or in front, is not the other's concern."""
    got = exchange(engine.port, b"GET /old HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"as in the old days" in got
    got = exchange(engine.port, b"GET /trailers HTTP/1.0\r\nhost: localhost\r\n\r\n")
    assert got.endswith(b"\r\n\r\ncontent"), "no chunks"


@every_protocol
def test_length_of_chunked_answers_is_not_believed(engine: Engine, protocol: Protocol) -> None:
    """RFC 9112 section 6.3: Transfer-Encoding counts, and Content-Length is not passed on."""
    answer = ask(protocol, engine.port, "/both-lengths")
    assert answer.status == 502 or (answer.get("content-length"), answer.body) == (None, b"longer than three")


@every_protocol
def test_answers_without_body(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    empty = ask(protocol, engine.port, "/no-content", "DELETE")
    assert (empty.status, empty["x-kept"], empty.get("content-length"), empty.body) == (204, "yes", None, b"")
    same = ask(protocol, engine.port, "/not-modified")
    assert (same.status, same["etag"], same.body) == (304, '"one"', b"")
    assert same.get("content-length") in (None, "1000")
    head = ask(protocol, engine.port, "/long-head", "HEAD")
    assert (head.status, head["content-length"], head.body) == (200, "1000", b"")
    assert ask(protocol, engine.port, "/long-head").body == bytes(1000)
    assert {one.connection for one in backend.requests} == {backend.requests[0].connection}
    assert [one.method for one in backend.requests] == ["DELETE", "GET", "HEAD", "GET"]


@every_protocol
def test_events_are_handed_on_while_they_come(engine: Engine, protocol: Protocol) -> None:
    first, whole = b"", b""
    if protocol in ("http/1.1", "h2"):
        with http(engine.port, protocol) as client, client.stream("GET", "/events") as response:
            chunks = response.iter_raw()
            first = next(chunks)
            EVENTS.seen.set()
            whole = first + b"".join(chunks)
    elif protocol == "h3":

        async def conversation() -> tuple[bytes, bytes]:
            async with http3.Http3.open(engine.port) as connection:
                stream = connection.send("/events")
                await connection.begun(stream)
                first = bytes(connection.answers[stream].body)
                EVENTS.seen.set()
                await connection.finish(stream)
                return first, bytes(connection.answers[stream].body)

        first, whole = http3.run(conversation())
    else:
        connection = quic(engine.port, protocol)
        answer = connection.request("GET", "/events", [], None, 20.0)
        first = answer.read() or b""
        EVENTS.seen.set()
        whole = first + b"".join(iter(answer.read, None))
        connection.close()
    assert first == b"data: 1\n\n"
    assert whole == b"data: 1\n\ndata: 2\n\n"


def test_an_answer_that_is_not_to_be_streamed_is_read_first(engine: Engine) -> None:
    threading.Timer(0.3, EVENTS.seen.set).start()
    with http(engine.port, "h2") as client, client.stream("GET", "/whole/events") as response:
        assert next(response.iter_raw()) == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_large_bodies_take_no_memory(engine: Engine, backend: Backend, flag: str) -> None:
    curl = needs.command("curl", "curl")
    before = engine.memory()
    expected = hashlib.sha256()
    for _ in range(LARGE >> 20):
        expected.update(BLOCK)
    most = 0
    command = [curl, "-sk", flag, f"https://localhost:{engine.port}/large"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as download:
        assert download.stdout is not None
        got = hashlib.sha256()
        while data := download.stdout.read(1 << 20):
            got.update(data)
            most = max(most, engine.memory())
    assert (download.returncode, got.digest()) == (0, expected.digest())

    command = [curl, "-sk", flag, "-X", "POST", "-T", "-", f"https://localhost:{engine.port}/upload"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as upload:
        assert upload.stdin is not None
        assert upload.stdout is not None
        for _ in range(LARGE >> 20):
            upload.stdin.write(BLOCK)
            most = max(most, engine.memory())
        upload.stdin.close()
        assert upload.stdout.read() == b"hello\n"
    (seen,) = backend.of("/upload")
    assert (seen.length, seen.digest.digest()) == (LARGE, expected.digest())
    assert most - before < 24 << 20


@pytest.mark.parametrize("protocol", ["h3", "velocity/1"])
def test_large_bodies_over_quic(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    connection = quic(engine.port, protocol)
    response = connection.request("GET", "/large", [], None, 20.0)
    size = 0
    before = most = engine.memory()
    while data := response.read():
        size += len(data)
        most = max(most, engine.memory())
        if size > 64 << 20:
            break
    assert most - before < 24 << 20
    body = BLOCK * 32
    response = connection.request("POST", "/upload", [], body, 20.0)
    assert b"".join(iter(response.read, None)) == b"hello\n"
    (seen,) = backend.of("/upload")
    assert seen.digest.digest() == hashlib.sha256(body).digest()
    connection.close()


def test_connections_are_used_again(engine: Engine, backend: Backend) -> None:
    for _ in range(20):
        assert ask("http/1.1", engine.port, "/echo").status == 200
    with Http2(engine.port) as two:
        for _ in range(20):
            assert two.ask("/echo").status == 200
    assert len({one.connection for one in backend.requests}) == 1
    # An answer of which the rest is not wanted takes its connection with it, and no other request gets that rest.
    with http(engine.port, "h2") as client, client.stream("GET", "/large") as response:
        next(response.iter_raw())
    assert ask("h2", engine.port, "/long-head").body == bytes(1000)


def test_connections_that_were_closed_are_not_used(engine: Engine, backend: Backend) -> None:
    for _ in range(10):
        answer = send("h2", engine.port, "/last-word", b"not to be sent twice")
        assert (answer.status, answer.body) == (200, b"bye")
    assert len(backend.requests) == 10


@every_protocol
def test_fields_between_neighbours_go_no_further(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    answer = ask(protocol, engine.port, "/neighbours-only")
    assert answer["x-kept"] == "yes"
    for name in ("x-secret", "keep-alive", "upgrade", "proxy-connection"):
        assert answer.get(name) is None, name
    assert ":1" not in (answer.get("alt-svc") or "").split('"'), "it speaks of another server"
    fields = [("via", "1.0 before"), ("x-kept", "yes"), ("proxy-authorization", "Basic xxx")]
    if protocol == "http/1.1":
        fields += [("connection", "x-hop, TE"), ("x-hop", "1"), ("keep-alive", "300"), ("te", "gzip")]
    ask(protocol, engine.port, "/seen", fields=fields)
    (seen,) = backend.of("/seen")
    assert seen.get("x-kept") == "yes"
    for name in ("x-hop", "keep-alive", "proxy-authorization", "te", "connection"):
        assert seen.get(name) is None, name
    version = {"http/1.1": "1.1", "h2": "2"}.get(protocol, "3")
    assert seen.get("via") == f"1.0 before, {version} velocity"
    assert len(ask(protocol, engine.port, "/cookies").fields) >= 2
    found = [value for name, value in ask(protocol, engine.port, "/cookies").fields if name == "set-cookie"]
    assert found == ["a=1", "b=2"]


@pytest.mark.parametrize("protocol", ["h2", "h3"])
def test_crumbs_of_cookies_are_put_together(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    """RFC 9113 section 8.2.3."""
    ask(protocol, engine.port, "/crumbs", fields=[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")])
    (seen,) = backend.of("/crumbs")
    assert [value for name, value in seen.fields if name == "cookie"] == ["a=1; b=2; c=3"]


@every_protocol
def test_who_asks(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    """What a stranger says of himself is not passed on (RFC 7239 section 8.1)."""
    lies = [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x_real_ip", "6.6.6.6"),
        ("early-data", "1"),
    ]
    ask(protocol, engine.port, "/who", fields=lies)
    (seen,) = backend.of("/who")
    host = f"localhost:{engine.port}" if protocol == "velocity/1" else "localhost"
    assert seen.get("x-forwarded-for") == "127.0.0.1"
    assert seen.get("x-real-ip") == "127.0.0.1"
    assert seen.get("early-data") == "1", "nobody on the way takes it out (RFC 8470 section 5.1)"
    assert seen.get("x-forwarded-host") == host
    assert seen.get("x-forwarded-proto") == "https"
    quoted = f'"{host}"' if ":" in host else host
    assert seen.get("forwarded") == f"for=127.0.0.1;host={quoted};proto=https"
    assert "6.6.6.6" not in str(seen.fields)
    assert seen.get("host") == f"127.0.0.1:{backend.port}"


def test_what_filters_set_cannot_be_nominated_away(pair: Pair, backend: Backend) -> None:
    """Connection speaks of what the client sent (RFC 9110 section 7.6.1), not of what is added here."""
    identity = {"kind": "headers", "of": "request", "set": [["x-identity", "ours"]]}
    with Engine(plan(pair, [route(proxy(backend.url), filters=[0])], filters=[identity])) as engine:
        forged = [("connection", "x-identity, x-other"), ("x-identity", "forged"), ("x-other", "1")]
        assert ask("http/1.1", engine.port, "/who", fields=forged).status == 200
    (seen,) = backend.of("/who")
    assert (seen.get("x-identity"), seen.get("x-other")) == ("ours", None)


def test_what_trusted_proxies_say_is_passed_on(pair: Pair, backend: Backend) -> None:
    with serve(pair, {"/": proxy(backend.url)}, trusted_proxies=["127.0.0.1"]) as engine:
        with Http1(engine.port) as one:
            before = [
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-for", "192.0.2.2"),
                ("forwarded", "for=192.0.2.2"),
            ]
            more = [("x-forwarded-host", "shop.example"), ("x-real-ip", "6.6.6.6"), ("early-data", "1")]
            assert one.ask("/who", fields=[*before, *more]).status == 200
        (seen,) = backend.of("/who")
        assert seen.get("x-real-ip") == "192.0.2.2"
        assert seen.get("early-data") == "1"
        assert seen.get("x-forwarded-for") == "192.0.2.1, 192.0.2.2, 127.0.0.1"
        assert seen.get("x-forwarded-host") == "shop.example"
        assert seen.get("forwarded") == "for=192.0.2.2, for=127.0.0.1;host=localhost;proto=https"


def test_too_early_is_for_the_client(pair: Pair) -> None:
    """RFC 8470 section 5.2: whoever sent it early sends it again."""

    async def too_early(exchange: Exchange) -> None:
        await exchange.answer(b"later", status=425)

    with Backend({"/": too_early}) as one, serve(pair, {"/": proxy(one.url)}) as engine:
        answer = ask("h2", engine.port, "/", fields=[("early-data", "1")])
        assert (answer.status, answer.body, len(one.of("/"))) == (425, b"later", 1)


def test_paths(engine: Engine, backend: Backend) -> None:
    for asked, target in {
        "/strip": "/",
        "/strip/": "/",
        "/strip?a=b": "/?a=b",
        "/strip/a%20b?c=%2F": "/a%20b?c=%2F",
        "/stripped": "/stripped",
        "/a//b/?x": "/a//b/?x",
        "/%E2%82%AC;v=1": "/%E2%82%AC;v=1",
    }.items():
        backend.requests.clear()
        assert ask("h2", engine.port, asked).status == 200, asked
        assert [one.target for one in backend.requests] == [target], asked


def test_host_is_preserved_if_so_wished(engine: Engine, backend: Backend) -> None:
    ask("h2", engine.port, "/host/a")
    ask("http/1.1", engine.port, "/host/b")
    assert [one.get("host") for one in backend.requests] == ["localhost", "localhost"]


@pytest.mark.parametrize("protocol", ["h3", "h2", "http/1.1"])
@pytest.mark.parametrize("path", ["/endless", "/never"])
def test_who_leaves_takes_the_request_with_him(engine: Engine, backend: Backend, protocol: Protocol, path: str) -> None:
    if protocol == "h3":

        async def conversation() -> None:
            async with http3.Http3.open(engine.port) as connection:
                stream = connection.send(path)
                await asyncio.to_thread(backend.wait_for, path)
                connection.cancel(stream)
                await asyncio.sleep(0.2)

        http3.run(conversation())
    elif protocol == "h2":
        with Http2(engine.port) as two:
            stream = two.send(path)
            backend.wait_for(path)
            two.give_up(stream)
            _wait_gone(backend, path)
    else:
        with Http1(engine.port) as one:
            one.send("GET", path)
            backend.wait_for(path)
    _wait_gone(backend, path)


def _wait_gone(backend: Backend, path: str) -> None:
    deadline = time.monotonic() + 5
    (seen,) = backend.of(path)
    while seen.gone is None:
        assert time.monotonic() < deadline, "the upstream still works for nobody"
        time.sleep(0.02)


def test_an_upload_that_is_given_up_is_given_up_behind(engine: Engine, backend: Backend) -> None:
    with connect(engine.port) as stream:
        stream.sendall(b"POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n" + bytes(5000))
        backend.wait_for("/upload")
    (seen,) = backend.of("/upload")
    time.sleep(0.3)
    assert not seen.complete
    assert send("h2", engine.port, "/echo", b"abc").body == b"abc"


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_an_upload_may_be_answered_early(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    if protocol == "h2":
        with Http2(engine.port) as two:
            stream = two.begin("/impatient", "POST", [("content-length", "1000000")])
            two.data(stream, bytes(5000), end=False)
            two.finish([stream])
            assert (two.answers[stream].status, two.answers[stream].body) == (413, b"large")
    else:
        got = bytearray()
        with connect(engine.port) as raw:
            raw.sendall(b"POST /impatient HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n" + bytes(5000))
            while b"large" not in got:
                data = raw.recv(65536)
                assert data, got
                got += data
        assert got.startswith(b"HTTP/1.1 413")


def test_a_body_is_asked_for_when_it_is_wanted(engine: Engine, backend: Backend) -> None:
    """RFC 9110 section 10.1.1."""
    with connect(engine.port) as stream:
        head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"
        stream.sendall(head)
        assert stream.recv(1000).startswith(b"HTTP/1.1 100 ")
        stream.sendall(b"abc")
        assert stream.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert backend.requests[-1].get("expect") is None


def test_trailers_are_handed_on(engine: Engine, backend: Backend) -> None:
    """RFC 9110 section 6.5."""
    asked = b"GET /trailers HTTP/1.1\r\nhost: localhost\r\nte: trailers\r\nconnection: te, close\r\n\r\n"
    assert exchange(engine.port, asked).lower().endswith(b"0\r\nx-sum: 42\r\n\r\n")
    assert backend.requests[-1].get("te") == "trailers"


def test_upstream_on_a_socket(pair: Pair, tmp_path: Path) -> None:
    with (
        Backend(SCRIPTS, unix=tmp_path / "app.sock") as backend,
        serve(pair, {"/": proxy(backend.url)}) as engine,
    ):
        assert send("h2", engine.port, "/echo", b"abc").body == b"abc"
        assert backend.requests[0].get("host") == "localhost"
        engine.line_with("request", f"upstream=unix:{tmp_path}")


def test_websocket_tunnel(pair: Pair) -> None:
    """The bytes of both sides after 101, in whatever portions (RFC 9110 section 7.8)."""

    async def switch(exchange: Exchange) -> None:
        assert (exchange.get("upgrade"), exchange.get("connection")) == ("WebSocket", "upgrade")
        lines = ("upgrade: websocket", "connection: upgrade", f"sec-websocket-accept: {exchange.get('x-echo')}")
        await exchange.head(*lines, status=101)
        await exchange.send(b"first")
        while data := await exchange.reader.read(1000):
            await exchange.send(data.upper())
        exchange.gone = time.monotonic()
        exchange.close()

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"no", 403)

    head = b"GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nx-echo: abc\r\n\r\n"
    with Backend({"/ws": switch, "/refuse": refuse}) as backend, serve(pair, {"/": proxy(backend.url)}) as engine:
        with connect(engine.port) as stream:
            stream.sendall(head % b"/ws")
            got = _read_until(stream, b"first")
            assert got.startswith(b"HTTP/1.1 101 ")
            assert b"sec-websocket-accept: abc" in got.lower()
            stream.sendall(b"x" * 100_000)
            assert _read_until(stream, b"X" * 100_000)
        _wait_gone(backend, "/ws")
        assert exchange(
            engine.port, head % b"/refuse" + b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        ).startswith(b"HTTP/1.1 403 ")
        # Nobody else may switch protocols.
        other = b"GET /echo HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n"
        assert exchange(engine.port, other).startswith(b"HTTP/1.1 200 ")
        assert backend.requests[-1].get("upgrade") is None


def _read_until(stream: socket.socket, end: bytes) -> bytes:
    got = bytearray()
    while end not in got:
        data = stream.recv(65536)
        assert data, got
        got += data
    return bytes(got)
