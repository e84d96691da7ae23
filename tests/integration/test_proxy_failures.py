"""Upstreams that fail: nobody takes a part for the whole, nobody waits for ever, and nothing unsafe is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from support import http3
from support.backend import Backend, Exchange
from support.clients import PROTOCOLS, Protocol, ask
from support.engine import Engine, plan, route
from support.front import NEVER, closed_port, http, proxy, send, serve
from support.http1 import connect, exchange
from support.http2 import Http2
from velocity.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Pair

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)

BROKEN = (ConnectionError, httpx2.TransportError, RequestError)
"""What clients say of a body that broke off."""


async def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


async def close_at_once(exchange: Exchange) -> None:
    exchange.close()


async def reset_after_body(exchange: Exchange) -> None:
    await exchange.read()
    exchange.reset()


async def half_a_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    exchange.close()


async def nonsense(exchange: Exchange) -> None:
    await exchange.send(b"\x00\x01SSH-2.0-whatever\r\n\r\n" * 10)
    exchange.close()


async def bad_length(exchange: Exchange) -> None:
    await exchange.head("content-length: 5", "content-length: 6")
    await exchange.send(b"abcdef")


async def bad_field(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n")


async def huge_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(OSError):
        for n in range(10_000):
            await exchange.send(b"x-%d: %b\r\n" % (n, b"a" * 1000))


async def endless_interim(exchange: Exchange) -> None:
    with contextlib.suppress(OSError):
        while True:
            await exchange.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100)
            await asyncio.sleep(0.01)


async def thousand_interims(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
    await exchange.answer(b"at last")


async def silent(exchange: Exchange) -> None:
    await exchange.wait_gone()


async def slow_head(exchange: Exchange) -> None:
    with contextlib.suppress(OSError):
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            await exchange.send(b"x: y\r\n")
            await asyncio.sleep(0.1)


async def half_a_body(exchange: Exchange) -> None:
    await exchange.head("content-length: 1000")
    await exchange.send(bytes(500))
    exchange.close()


async def half_a_body_later(exchange: Exchange) -> None:
    await exchange.head("content-length: 1000000")
    await exchange.send(bytes(500_000))
    await asyncio.sleep(0.1)
    exchange.reset()


async def half_a_chunked_body(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked")
    await exchange.chunk(bytes(500))
    await asyncio.sleep(0.05)
    exchange.close()


async def bad_chunk(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked")
    await exchange.chunk(bytes(500))
    await exchange.send(b"nonsense\r\n")
    await asyncio.sleep(0.05)
    exchange.close()


async def stuck_body(exchange: Exchange) -> None:
    await exchange.head("content-length: 1000")
    await exchange.send(bytes(500))
    await exchange.wait_gone()


async def too_much(exchange: Exchange) -> None:
    """More than was said, which is no answer to the next request."""
    await exchange.answer(b"hello")
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned")


async def switches_unasked(exchange: Exchange) -> None:
    await exchange.head("connection: upgrade", "upgrade: websocket", status=101)
    await exchange.wait_gone()


async def bad_gateway(exchange: Exchange) -> None:
    await exchange.answer(b"its own words\n", 502)


SCRIPTS = {
    "/reset-at-once": reset_at_once,
    "/close-at-once": close_at_once,
    "/reset-after-body": reset_after_body,
    "/half-a-head": half_a_head,
    "/nonsense": nonsense,
    "/bad-length": bad_length,
    "/bad-field": bad_field,
    "/huge-head": huge_head,
    "/endless-interim": endless_interim,
    "/thousand-interims": thousand_interims,
    "/silent": silent,
    "/slow-head": slow_head,
    "/half-a-body": half_a_body,
    "/half-a-body-later": half_a_body_later,
    "/half-a-chunked-body": half_a_chunked_body,
    "/bad-chunk": bad_chunk,
    "/stuck-body": stuck_body,
    "/too-much": too_much,
    "/switches-unasked": switches_unasked,
    "/bad-gateway": bad_gateway,
}


@pytest.fixture(scope="module")
def engine(pair: Pair, behind: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    page = tmp_path_factory.mktemp("pages") / "504.html"
    page.write_text("<p>too late\n")
    short = {"connect_ms": 1000, "response_ms": 700, "idle_ms": 700}
    handlers = {
        "/": proxy(behind.url, ejection=NEVER, timeouts=short),
        "/closed": proxy(f"http://127.0.0.1:{closed_port()}", ejection=NEVER),
        "/again": proxy(behind.url, ejection=NEVER, timeouts=short, retries={"attempts": 1}, strip_prefix="/again"),
    }
    with serve(pair, handlers, site={"error_pages": [{"status": "504", "file": str(page)}]}) as running:
        yield running


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "name",
    ["reset-at-once", "close-at-once", "half-a-head", "nonsense", "bad-length", "bad-field", "huge-head"],
)
def test_no_answer(engine: Engine, backend: Backend, name: str, method: str) -> None:
    answer = ask("h2", engine.port, f"/{name}", method)
    assert (answer.status, answer.body) == (502, b"the server behind this one cannot be reached\n")
    # As text, so that no page of an application is mistaken for it.
    assert answer["content-type"].startswith("text/plain")
    # A connection that had served before may have been about to close, so what is safe has a second one.
    assert len(backend.requests) in ((1, 2) if method == "GET" else (1,))
    line = engine.line_with("upstream_failed", "reason=", "attempt=1")
    assert "velocity::proxy" in line
    assert ask("h2", engine.port, "/fine").body == b"hello\n"


def test_memory_for_heads_is_bounded(engine: Engine) -> None:
    before = engine.memory()
    for _ in range(10):
        assert ask("h2", engine.port, "/huge-head").status == 502
    assert engine.memory() - before < 16 << 20


@every_protocol
@pytest.mark.parametrize("name", ["silent", "slow-head", "endless-interim"])
def test_no_answer_in_time(engine: Engine, backend: Backend, protocol: Protocol, name: str) -> None:
    began = time.monotonic()
    answer = ask(protocol, engine.port, f"/{name}")
    assert 0.6 < time.monotonic() - began < 4
    assert (answer.status, answer.body) == (504, b"<p>too late\n"), "with the page of this site"
    assert len(backend.of(f"/{name}")) == 1


def test_the_time_for_an_answer_begins_with_the_end_of_the_request(engine: Engine, backend: Backend) -> None:
    with connect(engine.port) as stream:
        head = b"POST /slow-upload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 12\r\n\r\n"
        stream.sendall(head)
        for _ in range(12):
            time.sleep(0.1)
            stream.sendall(b"x")
        assert stream.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_an_upload_that_stops_is_the_clients_fault(engine: Engine, behind: Backend) -> None:
    before = engine.counters()
    for method in (b"POST", b"PUT"):
        with connect(engine.port) as stream:
            stream.sendall(method + b" /stops HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\nhalf")
            assert stream.recv(1000).startswith(b"HTTP/1.1 408 ")
    name = f"upstream_failures:{behind.url}"
    assert engine.counters()[name] == before[name]


def test_interim_answers(engine: Engine) -> None:
    assert ask("h2", engine.port, "/thousand-interims").body == b"at last"


@every_protocol
@pytest.mark.parametrize("name", ["half-a-body", "half-a-body-later", "half-a-chunked-body", "bad-chunk", "stuck-body"])
def test_half_an_answer_is_none(engine: Engine, backend: Backend, protocol: Protocol, name: str) -> None:
    """RFC 9112 section 8, RFC 9113 section 8.1.1: the stream is reset, or the connection closed before the end."""
    began = time.monotonic()
    path = f"/{name}"
    with pytest.raises(BROKEN) as failed:
        fetch(protocol, engine.port, path)
    assert not isinstance(failed.value, TimeoutError)
    assert time.monotonic() - began < 4
    assert len(backend.of(path)) == 1, "what has begun is not begun again"


def fetch(protocol: Protocol, port: int, path: str) -> None:
    """A whole answer, or one of `BROKEN`: that is what an answer of our own counts as, too."""
    if protocol in ("http/1.1", "h2"):
        with http(port, protocol) as client:
            status = client.get(path).status_code
    else:
        status = ask(protocol, port, path).status
    if status == 502:
        raise ConnectionError("told")


def test_what_comes_after_an_answer_is_nobodys(engine: Engine, backend: Backend) -> None:
    for _ in range(5):
        assert ask("http/1.1", engine.port, "/too-much").body == b"hello"
        assert ask("h2", engine.port, "/fine").body == b"hello\n"
        time.sleep(0.02)
        assert ask("h3", engine.port, "/fine").body == b"hello\n"


def test_nobody_switches_protocols_unasked(engine: Engine) -> None:
    for protocol in ("http/1.1", "h2"):
        answer = ask("h2" if protocol == "h2" else "http/1.1", engine.port, "/switches-unasked")
        assert answer.status in (502, 504), protocol


def test_an_upstream_may_have_its_own_errors(engine: Engine) -> None:
    answer = ask("h2", engine.port, "/bad-gateway")
    assert (answer.status, answer.body) == (502, b"its own words\n")


@every_protocol
def test_nobody_listens(engine: Engine, protocol: Protocol) -> None:
    answer = ask(protocol, engine.port, "/closed")
    assert answer.status == 502
    assert str(answer.fields).count("127.0.0.1") == 0
    line = engine.line_with("upstream_failed", "kind=connect")
    assert "Connection refused" in line
    assert "is it running" in line
    assert re.search(r"upstream=http://127\.0\.0\.1:\d+", line)
    assert "upstream=http" in engine.line_with(" request ", "path=/closed", "status=502")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("name", ["reset-at-once", "close-at-once", "reset-after-body", "half-a-head"])
def test_what_is_unsafe_is_sent_once(engine: Engine, backend: Backend, method: str, name: str) -> None:
    # On a connection that was used before, and on a new one.
    assert ask("h2", engine.port, "/again/fine").status == 200
    for _ in range(2):
        backend.requests.clear()
        assert send("h2", engine.port, f"/again/{name}", b"once", method).status == 502
        assert len(backend.of(f"/{name}")) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_what_may_be_done_twice_is_tried_again(engine: Engine, backend: Backend, method: str) -> None:
    tries = 0

    async def second_time(exchange: Exchange) -> None:
        nonlocal tries
        tries += 1
        await exchange.read()
        if tries == 1:
            exchange.reset()
        else:
            await exchange.answer(b"well")

    backend.scripts["/second"] = second_time
    # So that the next connection is a new one.
    assert ask("h2", engine.port, "/again/close-at-once", "POST").status == 502
    body = b"twice" if method == "PUT" else b""
    answer = send("h2", engine.port, "/again/second", body, method)
    assert (answer.status, answer.body, tries) == (200, b"well", 2)
    assert [one.body for one in backend.of("/second")] == [body, body]
    assert "upstream_attempts=2" in engine.line_with(" request ", f"method={method}", "path=/again/second")


def test_retries_do_not_add_to_the_trouble(engine: Engine, backend: Backend) -> None:
    """A budget: of many requests that fail, few are sent again."""
    with Http2(engine.port) as two:
        streams = [two.send("/again/close-at-once") for _ in range(90)]
        two.finish(streams)
        assert {two.answers[stream].status for stream in streams} == {502}
    assert 90 <= len(backend.requests) <= 90 + 20 + 90 // 5 + 1


def test_clients_cannot_give_an_upstream_a_bad_name(pair: Pair) -> None:
    """Uploads that are broken, or given up, are no failures of the server they were for."""
    with Backend() as one, Backend() as two, serve(pair, {"/": proxy(one.url, two.url)}) as engine:
        for _ in range(8):
            with connect(engine.port) as stream:
                head = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
                stream.sendall(head + b"5\r\nhello\r\nnonsense\r\n")
                with contextlib.suppress(OSError):
                    got = stream.recv(1000)
                    assert not got or got.startswith(b"HTTP/1.1 400 "), got
            with Http2(engine.port) as second:
                given_up = second.begin("/", "POST")
                second.data(given_up, b"half", end=False)
                time.sleep(0.02)
                second.give_up(given_up)
                assert second.ask("/fine").status == 200

            async def third() -> None:
                async with http3.Http3.open(engine.port) as connection:
                    stream = connection.send("/", "POST", body=b"half", end=False)
                    await asyncio.sleep(0.02)
                    connection._protocol._quic.reset_stream(stream, 0x10C)
                    connection.cancel(stream)
                    assert (await connection.ask("/fine")).status == 200

            http3.run(third())
        counters = engine.counters()
        for backend in (one, two):
            assert counters[f"upstream_failures:{backend.url}"] == 0
            assert counters[f"upstream_ejections:{backend.url}"] == 0


def test_a_body_that_is_too_large_is_the_clients_fault(pair: Pair) -> None:
    small = {"kind": "request_size", "max_bytes": 1000}
    with Backend() as backend:
        handler = proxy(backend.url)
        with Engine(plan(pair, [route(handler, filters=[0])], filters=[small])) as engine:
            chunked = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            for _ in range(4):
                got = exchange(engine.port, chunked + b"7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n")
                assert got.startswith(b"HTTP/1.1 413 "), got
            assert engine.counters()[f"upstream_failures:{backend.url}"] == 0


def test_counters(pair: Pair) -> None:
    handler = {"ejection": NEVER, "retries": {"attempts": 1}}
    with Backend({"/bad": close_at_once}) as backend:
        both = {"/": proxy(backend.url, **handler), "/other": proxy(backend.url, ejection=NEVER)}
        with serve(pair, both) as engine:
            for path in ("/fine", "/other", "/bad"):
                ask("h2", engine.port, path)
            counters = engine.counters()
        of = {name: counters[f"upstream_{name}:{backend.url}"] for name in ("requests", "failures", "retries")}
        assert of == {"requests": 4, "failures": 2, "retries": 1}, json.dumps(counters)


def test_an_upstream_that_comes_back(pair: Pair, tmp_path: Path) -> None:
    socket = tmp_path / "app.sock"
    with serve(pair, {"/": proxy(f"unix:{socket}")}) as engine:
        assert ask("h2", engine.port, "/").status == 502
        for _ in range(2):
            with Backend(unix=socket):
                assert ask("h2", engine.port, "/").status == 200
                assert send("h2", engine.port, "/", b"abc").status == 200
            socket.unlink(missing_ok=True)
            assert ask("h2", engine.port, "/").status == 502
