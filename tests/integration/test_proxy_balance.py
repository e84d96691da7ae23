"""Clients that stay with their upstream by a cookie, upstreams that begin slowly when they are back, and those that
fail in the middle of an answer or refuse a request.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from support.backend import Backend, Exchange, named
from support.clients import PROTOCOLS, Protocol, ask
from support.front import NEVER, proxy, serve
from support.h2c import H2c
from support.http2 import Http2
from support.http3_server import Http3Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Pair

STICKY = {"by": "sticky", "name": "backend"}


@pytest.fixture
def two() -> Iterator[list[Backend]]:
    with Backend() as one, Backend() as other:
        one.default, other.default = named("a"), named("b")
        yield [one, other]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_stays(pair: Pair, two: list[Backend], protocol: Protocol) -> None:
    with serve(
        pair, {"/": proxy(*(one.url for one in two), balance=STICKY, ejection=NEVER, retries={"attempts": 1})}
    ) as engine:
        cookies: dict[str, str] = {}
        for path in ("/first", "/second"):
            answer = ask(protocol, engine.port, path)
            found = re.fullmatch(
                r"(backend=[0-9a-f]{16}); Path=/; Secure; HttpOnly; SameSite=Lax", answer["set-cookie"]
            )
            assert found
            cookies[bytes(answer.body).decode()] = found[1]
        assert set(cookies) == {"a", "b"}
        assert cookies["a"] != cookies["b"]
        for name, cookie in cookies.items():
            for number in range(4):
                fields = [("cookie", f"lang=nl; {cookie}; n={number}")]
                answer = ask(protocol, engine.port, "/again", fields=fields)
                assert bytes(answer.body).decode() == name
                assert answer.get("set-cookie") is None
        seen = [exchange.get("cookie") for one in two for exchange in one.of("/again")]
        assert sorted(map(str, seen)) == sorted(f"lang=nl; n={number}" for number in range(4) for _ in range(2))
        # It leaves: its clients go elsewhere, and stay there.
        two[0].stop()
        answer = ask(protocol, engine.port, "/moved", fields=[("cookie", cookies["a"])])
        assert answer.body == b"b"
        assert answer["set-cookie"].startswith(cookies["b"])
        assert two[1].of("/moved")[0].get("cookie") is None


def test_cookies_that_say_nothing(pair: Pair, two: list[Backend]) -> None:
    with serve(pair, {"/": proxy(*(one.url for one in two), balance=STICKY)}) as engine, Http2(engine.port) as client:
        for value in ("", "0000000000000000", "127.0.0.1", "x" * 4000, two[0].url):
            answer = client.ask("/odd", fields=[("cookie", f"backend={value}")])
            assert answer.status == 200
            assert answer["set-cookie"].startswith("backend=")
        assert {exchange.get("cookie") for one in two for exchange in one.of("/odd")} == {None}


def test_what_an_upstream_sets_goes_on(pair: Pair) -> None:
    async def sets(exchange: Exchange) -> None:
        await exchange.answer(fields=(("set-cookie", "session=1"),))

    with Backend({"/": sets}) as backend, serve(pair, {"/": proxy(backend.url, balance=STICKY)}) as engine:
        answer = ask("h2", engine.port, "/")
        cookies = [value.partition("=")[0] for name, value in answer.fields if name == "set-cookie"]
        assert cookies == ["session", "backend"]


@pytest.mark.parametrize("by", ["round_robin", "least_connections", "two_choices"])
def test_whoever_is_back_begins_slowly(pair: Pair, two: list[Backend], by: str) -> None:
    async def fails(exchange: Exchange) -> None:
        exchange.reset()

    back, handler = two[1], proxy(
        *(one.url for one in two),
        balance={"by": by},
        slow_start_ms=4000,
        ejection={"failures": 1, "for_ms": 300},
        retries={"attempts": 1},
    )  # fmt: skip
    with serve(pair, {"/": handler}) as engine, Http2(engine.port) as client:

        def share() -> float:
            got = Counter(bytes(client.ask("/").body) for _ in range(200))
            return got[b"b"] / 200

        assert share() > 0.3
        back.default = fails
        while not any(exchange.path == "/fail" for exchange in back.requests):
            assert client.ask("/fail").status == 200
        back.default = named("b")
        time.sleep(0.35)
        early = share()
        assert early < 0.25, early
        time.sleep(4)
        assert share() > 0.3


def test_answers_that_break_off_are_failures(pair: Pair, two: list[Backend]) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.head("content-length: 10")
        await exchange.send(b"half")
        exchange.close()

    two[0].scripts["/half"] = half
    handler = proxy(*(one.url for one in two), ejection={"failures": 3, "for_ms": 60_000})
    with serve(pair, {"/": handler}) as engine:

        def ask_half() -> bool:
            with Http2(engine.port) as client:
                try:
                    return client.ask("/half").body == b"b"
                except ConnectionError:
                    return False

        whole = [ask_half() for _ in range(20)]
        assert whole.count(False) == 3
        assert len(two[0].of("/half")) == 3
        assert whole[-10:] == [True] * 10


def test_a_client_that_breaks_off_is_not_the_upstreams_fault(pair: Pair) -> None:
    async def early(exchange: Exchange) -> None:
        await exchange.head("transfer-encoding: chunked")
        await exchange.chunk(b"begun")
        await exchange.wait_gone()

    handler_of = {"failures": 1, "for_ms": 60_000}
    with Backend({"/early": early}) as one, Backend() as other:
        one.default, other.default = named("a"), named("b")
        other.scripts["/early"] = early
        with serve(pair, {"/": proxy(one.url, other.url, ejection=handler_of)}) as engine:
            for _ in range(4):
                with Http2(engine.port) as client:
                    stream = client.begin("/early", "POST")
                    client.data(stream, b"x", end=False)
                    while not client.answers[stream].body:
                        assert client.pump()
                    client.give_up(stream)
            for backend in (one, other):
                for exchange in backend.wait_for("/early", 2):
                    deadline = time.monotonic() + 5
                    while exchange.gone is None and time.monotonic() < deadline:
                        time.sleep(0.01)
            with Http2(engine.port) as client:
                got = {bytes(client.ask("/").body) for _ in range(10)}
            assert got == {b"a", b"b"}


def test_what_is_refused_is_sent_again(pair: Pair) -> None:
    """RFC 9113 section 8.7: REFUSED_STREAM says that nothing was done with it, whatever the method."""
    with H2c() as server, Backend() as spare:
        spare.default = named("spare")
        handler = proxy(server.url, {"url": spare.url, "backup": True}, retries={"attempts": 1}, ejection=NEVER)
        with serve(pair, {"/": handler}) as engine, Http2(engine.port) as client:
            assert client.ask("/refused", "POST").body == b"spare"
            assert client.ask("/cancelled", "POST").status == 502
            assert client.ask("/cancelled", "GET").body == b"spare"


def test_what_is_rejected_is_sent_again(pair: Pair, tmp_path: Path) -> None:
    """RFC 9114 section 4.1.1: the same of H3_REQUEST_REJECTED."""
    with Http3Server(tmp_path, pair) as server, Backend() as spare:
        spare.default = named("spare")
        handler = proxy(
            f"h3://localhost:{server.port}",
            {"url": spare.url, "backup": True},
            retries={"attempts": 1},
            ejection=NEVER,
            tls={"insecure": True},
        )
        with serve(pair, {"/": handler}) as engine, Http2(engine.port) as client:
            assert client.ask("/rejected", "POST").body == b"spare"
            assert client.ask("/cancelled", "POST").status == 502
            assert client.ask("/cancelled", "GET").body == b"spare"
