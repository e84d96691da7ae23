"""Ways to an upstream that are slow, narrow, broken or silent, by Toxiproxy: answers come late or not at all, and are
never cut short unseen; nothing unsafe is done twice; and when the way is good again, so are the answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from support import http3
from support.answer import Answer
from support.clients import PROTOCOLS, Protocol, ask
from support.front import NEVER, http, proxy, send, serve
from support.http1 import Http1
from support.http2 import Http2
from support.site import noise
from support.toxic import Link, Stream, Toxiproxy
from velocity.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backend import Backend, Exchange
    from support.certificates import Pair
    from support.engine import Engine

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)

BROKEN = (ConnectionError, httpx2.TransportError, RequestError)
"""What clients say of a body that broke off."""
BOTH: tuple[Stream, ...] = ("downstream", "upstream")
LARGE = noise(1 << 20)
TIME = 0.5
"""Seconds that connections, answers and pauses may take."""


async def echo(exchange: Exchange) -> None:
    await exchange.answer(await exchange.read())


async def large(exchange: Exchange) -> None:
    await exchange.answer(LARGE)


async def chunked(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked")
    for start in range(0, len(LARGE), 50_000):
        await exchange.chunk(LARGE[start : start + 50_000])
    await exchange.chunk(b"")


async def until_closed(exchange: Exchange) -> None:
    await exchange.head("connection: close")
    await exchange.send(LARGE[:100_000])
    exchange.close()


async def half(exchange: Exchange) -> None:
    await exchange.head("content-length: 1000")
    await exchange.send(bytes(500))
    exchange.close()


async def endless(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked")
    pouring = asyncio.ensure_future(_pour(exchange))
    await exchange.wait_gone()
    pouring.cancel()


async def _pour(exchange: Exchange) -> None:
    while True:
        await exchange.chunk(bytes(1000))
        await asyncio.sleep(0.02)


SCRIPTS = {
    "/echo": echo,
    "/large": large,
    "/chunked": chunked,
    "/until-closed": until_closed,
    "/half": half,
    "/endless": endless,
}


@pytest.fixture(scope="module")
def toxic(behind: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with Toxiproxy(tmp_path_factory.mktemp("toxiproxy")) as toxiproxy:
        yield toxiproxy.link(behind.port)


@pytest.fixture(scope="module")
def engine(pair: Pair, toxic: Link) -> Iterator[Engine]:
    milliseconds = int(TIME * 1000)
    timeouts = {"connect_ms": milliseconds, "response_ms": milliseconds, "idle_ms": milliseconds}
    with serve(pair, {"/": proxy(toxic.url, ejection=NEVER, timeouts=timeouts, retries={"attempts": 1})}) as running:
        yield running


@pytest.fixture
def link(toxic: Link, engine: Engine) -> Iterator[Link]:
    """Good before, with a connection that was used already, and good again behind."""
    assert ask("h2", engine.port, "/before").status == 200
    yield toxic
    toxic.cure()
    assert_recovers(engine)


def assert_recovers(engine: Engine) -> None:
    """What is safe is answered at once; connections from before may be spoiled."""
    began = time.monotonic()
    while ask("h2", engine.port, "/after").status != 200:
        assert time.monotonic() - began < 3
    for protocol in PROTOCOLS:
        assert send(protocol, engine.port, "/echo", b"well").body == b"well"


def timed(protocol: Protocol, engine: Engine, path: str, body: bytes = b"", method: str = "GET") -> tuple[int, float]:
    """The status, and how many seconds it took."""
    began = time.monotonic()
    answer = send(protocol, engine.port, path, body, method)
    return answer.status, time.monotonic() - began


@every_protocol
def test_latency(engine: Engine, link: Link, protocol: Protocol) -> None:
    link.poison("latency", latency=300)
    status, took = timed(protocol, engine, "/echo", b"patience", "POST")
    assert status == 200
    assert took > 0.3


@every_protocol
def test_silence(engine: Engine, link: Link, backend: Backend, protocol: Protocol) -> None:
    link.poison("timeout", timeout=0)
    check_silence(engine, backend, protocol)


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_answers_that_come_too_late(engine: Engine, link: Link, backend: Backend, stream: Stream) -> None:
    link.poison("latency", stream, latency=4000)
    check_silence(engine, backend, "h2")


def check_silence(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    status, took = timed(protocol, engine, "/echo", b"once", "POST")
    assert status == 504
    assert TIME - 0.1 < took < TIME + 1
    status, took = timed(protocol, engine, "/safe")
    assert status == 504
    assert took < 2 * TIME + 1
    assert len(backend.of("/echo")) <= 1
    assert len(backend.of("/safe")) <= 2


@every_protocol
def test_resets(engine: Engine, link: Link, backend: Backend, protocol: Protocol) -> None:
    link.poison("reset_peer", timeout=0)
    for _ in range(3):
        status, took = timed(protocol, engine, "/echo", b"once", "POST")
        assert status == 502
        assert took < TIME
    assert len(backend.of("/echo")) <= 3
    assert timed(protocol, engine, "/safe")[0] == 502
    assert len(backend.of("/safe")) <= 2


@every_protocol
def test_connections_that_end_early(engine: Engine, link: Link, backend: Backend, protocol: Protocol) -> None:
    link.poison("timeout", timeout=100)
    status, took = timed(protocol, engine, "/echo", b"once", "POST")
    assert status == 502
    assert took < TIME
    assert len(backend.of("/echo")) <= 1


@every_protocol
@pytest.mark.parametrize("path", ["/large", "/chunked"])
@pytest.mark.parametrize("limit", [500, 200_000, len(LARGE)])
def test_half_an_answer_is_none(
    engine: Engine, link: Link, backend: Backend, protocol: Protocol, path: str, limit: int
) -> None:
    """RFC 9112 section 8, RFC 9113 section 8.1.1, RFC 9114 section 4.1.2: even if only the last bytes are missing."""
    link.poison("limit_data", bytes=limit)
    # Connections that are there have used up some of the limit; a part of a head is no answer.
    with pytest.raises(BROKEN):
        whole(ask_strictly(protocol, engine.port, path))
    assert len(backend.of(path)) <= 2


def ask_strictly(protocol: Protocol, port: int, path: str) -> Answer:
    """By clients that know what an end is."""
    if protocol not in ("h2", "http/1.1"):
        return ask(protocol, port, path)
    with http(port, protocol) as client:
        got = client.get(path)
        return Answer(got.status_code, [], got.content)


def whole(answer: Answer) -> None:
    """One of `BROKEN` if the client was told."""
    if answer.status == 502:
        raise ConnectionError("told")
    assert answer.body == LARGE


@every_protocol
def test_half_an_upload_is_none(engine: Engine, link: Link, backend: Backend, protocol: Protocol) -> None:
    link.poison("limit_data", "upstream", bytes=200_000)
    assert timed(protocol, engine, "/echo", LARGE, "POST")[0] == 502
    assert [one.complete for one in backend.of("/echo")] in ([], [False])


@every_protocol
def test_narrow_ways(engine: Engine, link: Link, protocol: Protocol) -> None:
    """What moves is not late, however long it takes."""
    link.poison("bandwidth", rate=800)
    began = time.monotonic()
    assert ask(protocol, engine.port, "/large").body == LARGE
    assert time.monotonic() - began > 2 * TIME


def test_a_narrow_way_for_an_upload(engine: Engine, link: Link, backend: Backend) -> None:
    """The time for an answer begins with the last byte of the request, give or take what kernels hold."""
    link.poison("bandwidth", "upstream", rate=20_000)
    body = LARGE * 40
    status, took = timed("http/1.1", engine, "/before", body, "POST")
    assert status == 200
    assert took > 2 * TIME
    (seen,) = backend.of("/before")
    assert seen.digest.digest() == hashlib.sha256(body).digest()


@every_protocol
def test_slices(engine: Engine, link: Link, protocol: Protocol) -> None:
    """Heads and chunk sizes are cut anywhere."""
    for direction in BOTH:
        link.poison("slicer", direction, average_size=7, size_variation=5, delay=10)
    body = LARGE[:5_000]
    for _ in range(3):
        answer = send(protocol, engine.port, "/echo", body)
        assert (answer.status, answer.body) == (200, body)


@every_protocol
def test_connections_that_close_late(engine: Engine, link: Link, protocol: Protocol) -> None:
    link.poison("slow_close", delay=400)
    assert ask_strictly(protocol, engine.port, "/until-closed").body == LARGE[:100_000]
    with pytest.raises(BROKEN):
        whole(ask_strictly(protocol, engine.port, "/half"))


def test_a_way_that_is_cut_and_mended(engine: Engine, link: Link) -> None:
    for _ in range(2):
        link.cut()
        assert timed("h2", engine, "/safe")[0] == 502
        link.cut(enabled=True)
        assert timed("h2", engine, "/safe")[0] == 200


@pytest.mark.parametrize("protocol", ["h3", "h2", "http/1.1"])
def test_who_leaves_is_missed_behind_a_slow_way(
    engine: Engine, link: Link, backend: Backend, protocol: Protocol
) -> None:
    for direction in BOTH:
        link.poison("latency", direction, latency=150)
    if protocol == "h3":

        async def conversation() -> None:
            async with http3.Http3.open(engine.port) as three:
                stream = three.send("/endless")
                await three.begun(stream)
                three.cancel(stream)
                await three.ask("/after")

        http3.run(conversation())
    elif protocol == "h2":
        with Http2(engine.port) as two:
            stream = two.send("/endless")
            while not two.answers[stream].body:
                two.pump()
            two.give_up(stream)
            two.ask("/after")
    else:
        with Http1(engine.port) as one:
            one.send("GET", "/endless")
            backend.wait_for("/endless")
    deadline = time.monotonic() + 3
    while backend.of("/endless")[0].gone is None:
        assert time.monotonic() < deadline, "the server behind works for nobody"
        time.sleep(0.02)
