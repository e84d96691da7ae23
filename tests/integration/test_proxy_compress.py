"""Answers that stream through the reverse proxy and are compressed while they go by (RFC 9110 section 8.4)."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from typing import TYPE_CHECKING

import pytest

from support.backend import Backend, Exchange, Script
from support.clients import PROTOCOLS, Protocol, ask
from support.engine import Engine, plan, route
from support.front import proxy, quic
from support.http1 import Http1
from support.site import noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Pair

TEXT = b"".join(b"line %d of a text that is compressible\n" % number for number in range(20_000))
GZIP = ("accept-encoding", "gzip")


def chunked(*fields: str, body: bytes = TEXT, status: int = 200) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.head("transfer-encoding: chunked", *fields, status=status)
        if exchange.method != "HEAD":
            for start in range(0, len(body), 7001):
                await exchange.chunk(body[start : start + 7001])
            await exchange.send(b"0\r\nx-sum: 42\r\n\r\n")

    return script


async def long(exchange: Exchange) -> None:
    await exchange.answer(TEXT, fields=(("content-type", "text/plain"), ("etag", '"one"'), ("accept-ranges", "bytes")))


async def events(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked", "content-type: text/event-stream")
    for number in range(5):
        await exchange.chunk(b"data: event %d\n\n" % number)
        await asyncio.sleep(0.4)
    await exchange.chunk(b"")


async def broken(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked", "content-type: text/plain")
    await exchange.chunk(TEXT)
    await asyncio.sleep(0.3)
    exchange.reset()


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    scripts = {
        "/text": chunked("content-type: text/plain; charset=utf-8", 'etag: "one"', "vary: accept-encoding, origin"),
        "/long": long,
        "/events": events,
        "/broken": broken,
        "/image": chunked("content-type: image/png"),
        "/coded": chunked("content-type: text/plain", "content-encoding: br"),
        "/part": chunked("content-type: text/plain", "content-range: bytes 0-9/10", status=206),
        "/unchanged": chunked("content-type: text/plain", "cache-control: public, No-Transform"),
        "/digest": chunked("content-type: text/plain", "content-digest: sha-256=:AA==:"),
        "/grpc": chunked("content-type: application/grpc+json"),
    }
    with Backend(scripts) as backend:
        yield backend


@pytest.fixture(scope="module")
def engine(pair: Pair, backend: Backend) -> Iterator[Engine]:
    routes = [route(proxy(backend.url), filters=[0])]
    with Engine(plan(pair, routes, filters=[{"kind": "compress", "codings": ["gzip", "br", "zstd"]}])) as engine:
        yield engine


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("path", ["/text", "/long"])
def test_what_streams_is_coded(engine: Engine, protocol: Protocol, path: str) -> None:
    answer = ask(protocol, engine.port, path, fields=[GZIP])
    assert (answer.get("content-encoding"), answer.get("content-length")) == ("gzip", None)
    assert gzip.decompress(bytes(answer.body)) == TEXT
    assert len(answer.body) < len(TEXT) / 3
    assert (answer["etag"], answer.get("accept-ranges")) == ('W/"one"', None)
    assert [value.lower() for name, value in answer.fields if name == "vary"] == [
        "accept-encoding, origin" if path == "/text" else "accept-encoding"
    ]
    plain = ask(protocol, engine.port, path)
    assert (plain.body, plain["etag"]) == (TEXT, '"one"')


@pytest.mark.parametrize("path", ["/image", "/coded", "/part", "/unchanged", "/digest", "/grpc"])
def test_what_is_not_for_coding_is_left_alone(engine: Engine, path: str) -> None:
    answer = ask("http/1.1", engine.port, path, fields=[GZIP])
    assert answer.body == TEXT
    assert answer.get("content-encoding") == ("br" if path == "/coded" else None)


def test_head_has_nothing_to_code(engine: Engine) -> None:
    for path in ("/text", "/long"):
        answer = ask("http/1.1", engine.port, path, "HEAD", [GZIP])
        assert (answer.status, answer.get("content-encoding"), answer.body) == (200, None, b"")


def test_events_arrive_when_they_happen(engine: Engine) -> None:
    with Http1(engine.port) as client:
        client.send("GET", "/events", [GZIP])
        answer = client.begin()
        assert answer.getheader("content-encoding") == "gzip"
        decoder, text = zlib.decompressobj(16 + zlib.MAX_WBITS), b""
        begun = time.monotonic()
        for number in range(5):
            while not text.endswith(b"data: event %d\n\n" % number):
                text += decoder.decompress(answer.read1(65536))
            passed = time.monotonic() - begun
            assert passed < 0.4 * (number + 1) + 0.3, f"event {number} was held back"
        assert answer.read() is not None


@pytest.mark.parametrize("protocol", ["h3", "velocity/1"])
def test_what_breaks_off_does_so_for_the_client(engine: Engine, protocol: Protocol) -> None:
    connection = quic(engine.port, protocol)
    response = connection.request("GET", "/broken", [GZIP], None, 10.0)
    with pytest.raises(Exception, match="early"):
        b"".join(iter(response.read, None))
    connection.close()


def test_more_streams_than_are_coded_go_as_they_are(engine: Engine, backend: Backend) -> None:
    """The others wait for nobody."""

    async def waiting(exchange: Exchange) -> None:
        await exchange.head("transfer-encoding: chunked", "content-type: text/plain")
        await exchange.chunk(noise(1000, seed=1))
        await asyncio.sleep(30)

    backend.scripts["/waiting"] = waiting
    clients = [Http1(engine.port) for _ in range(66)]
    codings = []
    for client in clients:
        client.send("GET", "/waiting", [GZIP])
        codings.append(client.begin().getheader("content-encoding"))
    assert codings.count("gzip") == 64
    for client in clients:
        client.close()
