"""Upstreams that DNS names by SRV records (RFC 2782)."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from support.backend import Backend, Exchange
from support.dns import Dns
from support.front import NEVER, proxy, serve
from support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.certificates import Pair
    from support.engine import Engine

SERVICE = "_http._tcp.app.test"


@pytest.fixture
def three() -> Iterator[list[Backend]]:
    async def named(exchange: Exchange) -> None:
        port = exchange.writer.get_extra_info("sockname")[1]
        await exchange.answer(str(port).encode())

    with Backend() as one, Backend() as two, Backend() as other:
        for backend in (one, two, other):
            backend.default = named
        yield [one, two, other]


def answers(engine: Engine, count: int) -> Counter[str]:
    """Which ports have answered how often."""
    with Http2(engine.port) as client:
        got = [client.ask("/") for _ in range(count)]
    return Counter(answer.body.decode() if answer.status == 200 else str(answer.status) for answer in got)


def wait_until(is_so: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_weights_and_priorities(pair: Pair, three: list[Backend]) -> None:
    one, two, other = (backend.port for backend in three)
    with Dns() as dns:
        dns.services[SERVICE] = [(10, 3, one, "a.test"), (10, 1, two, "b.test"), (20, 1, other, "c.test")]
        handler = proxy(f"http://{SERVICE}", resolver=dns.address, retries={"attempts": 2})
        with serve(pair, {"/": handler}) as engine:
            assert answers(engine, 40) == {str(one): 30, str(two): 10}
            assert three[0].requests[0].get("host") == f"a.test:{one}"
            three[0].stop()
            assert answers(engine, 10) == {str(two): 10}
            three[1].stop()
            assert answers(engine, 10) == {str(other): 10}


def test_changes_are_followed(pair: Pair, three: list[Backend]) -> None:
    one, two, _ = (backend.port for backend in three)
    with Dns() as dns:
        dns.services[SERVICE] = [(0, 0, one, "a.test")]
        with serve(pair, {"/": proxy(f"http://{SERVICE}", resolver=dns.address, ejection=NEVER)}) as engine:
            assert answers(engine, 4) == {str(one): 4}
            dns.services[SERVICE] = [(0, 0, two, "a.test")]
            wait_until(lambda: answers(engine, 1) == {str(two): 1})
            # What was found stays while DNS says nothing.
            dns.silent, asked = True, dns.asked
            wait_until(lambda: dns.asked > asked)
            time.sleep(0.5)
            assert answers(engine, 4) == {str(two): 4}
            # And there may be none.
            dns.services[SERVICE], dns.silent = [(0, 0, 0, ".")], False
            wait_until(lambda: answers(engine, 1) == {"502": 1})


def test_nobody_is_found(pair: Pair) -> None:
    with Dns() as dns, serve(pair, {"/": proxy("http://_none._tcp.app.example", resolver=dns.address)}) as engine:
        assert answers(engine, 2) == {"502": 2}


def test_others_beside_a_service(pair: Pair, three: list[Backend]) -> None:
    one, two, _ = (backend.port for backend in three)
    with Dns() as dns:
        dns.services[SERVICE] = [(0, 5, one, "a.test")]
        handler = proxy(
            {"url": f"http://{SERVICE}", "backup": True}, three[1].url, resolver=dns.address, retries={"attempts": 1}
        )
        with serve(pair, {"/": handler}) as engine:
            assert answers(engine, 4) == {str(two): 4}
            three[1].stop()
            assert answers(engine, 4) == {str(one): 4}
