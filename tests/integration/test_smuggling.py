"""Requests that two readers could read in two ways (RFC 9112 section 11.2): the server behind sees nothing, or one
well-formed request, and never the one that lies hidden in its body.

Each case has a request for a path of its own, and in its body, or behind it, one for another. `expected` says what the
front may answer; a case that it answers in other ways is passed on newly framed, and so harmless.
"""

from __future__ import annotations

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import h2.exceptions
import pytest

from support import http3
from support.ambiguous import CASES, HEADS, HIDDEN, Case, heads
from support.answer import Answer
from support.backend import Backend, Exchange
from support.engine import make
from support.front import NEVER, proxy, serve
from support.http1 import connect
from support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

QUIET = 0.08
"""Seconds after an answer in which another one would come."""


class Outcome(NamedTuple):
    """What a case has led to."""

    case: Case
    statuses: list[int]
    """Of all answers but interim ones."""
    closed: bool
    requests: list[Exchange]
    hidden: int
    """Requests that it has hidden and the server behind has seen."""


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    async def short(exchange: Exchange) -> None:
        await exchange.answer(b"ok")

    with Backend() as running:
        running.default = short
        yield running


@pytest.fixture(scope="module")
def engine(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    pair = make(tmp_path_factory.mktemp("certificate"))
    with serve(pair, {"/": proxy(backend.url, ejection=NEVER)}) as running:
        yield running


def converse(port: int, number: int, case: Case) -> tuple[list[int], bool]:
    """Send a case; the statuses of what came back, and whether the connection was closed."""
    data = case.data.replace(b"/it", b"/it%03d" % number).replace(b"/hidden", b"/no%04d" % number)
    got, closed = bytearray(), False
    with connect(port) as stream:
        # Whoever answers early may close before all is sent.
        with contextlib.suppress(OSError):
            stream.sendall(data)
        stream.settimeout(0.6)
        try:
            while chunk := stream.recv(65536):
                got += chunk
                stream.settimeout(QUIET)
            closed = True
        except TimeoutError:
            pass
        except OSError:
            closed = True
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", got)], closed


@pytest.fixture(scope="module")
def outcomes(engine: Engine, backend: Backend) -> list[Outcome]:
    """All cases, sent."""
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(converse, [engine.port] * len(CASES), range(len(CASES)), CASES))
    time.sleep(0.2)
    seen: dict[str, list[Exchange]] = {}
    for one in backend.requests:
        for mark in re.findall(r"(?:it\d{3}|no\d{4})", one.target):
            seen.setdefault(mark, []).append(one)
    return [
        Outcome(case, *answers[number], seen.get(f"it{number:03}", []), len(seen.get(f"no{number:04}", [])))
        for number, case in enumerate(CASES)
    ]


def test_there_are_many() -> None:
    assert len(CASES) >= 300
    assert len(set(CASES)) == len(CASES)


def test_what_is_passed_on_is_well_formed(backend: Backend, outcomes: list[Outcome]) -> None:
    assert backend.nonsense == []
    for outcome in outcomes:
        for one in outcome.requests:
            assert one.get("host") == f"127.0.0.1:{backend.port}", outcome.case
            assert one.get("x-forwarded-for") == "127.0.0.1", outcome.case
            assert one.get("connection") in (None, "upgrade"), outcome.case


def test_nothing_hidden_is_seen(outcomes: list[Outcome]) -> None:
    found = [outcome for outcome in outcomes if outcome.hidden]
    assert not found, "\n".join(f"{one.case.family}: {one.case.data[:200]!r} {one.statuses}" for one in found)


def test_each_is_at_most_one_request(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert len(outcome.requests) <= 1, outcome.case
        first, *others = outcome.statuses or [0]
        # What stands behind a request that was answered is another one, and none that is understood.
        assert others in ([], [400]), (outcome.case, outcome.statuses)
        assert not others or outcome.closed
        if not outcome.requests and b" * " not in outcome.case.data:
            assert first not in range(200, 300), (outcome.case, outcome.statuses)


def test_what_is_refused_is_the_end(outcomes: list[Outcome]) -> None:
    """But for what is well framed, and refused for what it asks."""
    for outcome in outcomes:
        if outcome.statuses[:1] == [400] and not outcome.case.family.startswith(("request line", "host")):
            assert outcome.closed, (outcome.case, outcome.statuses)


REFRAMED = {
    "coding",
    "line end",
    "request line",
    "version",
}
"""Families of which a case is answered though somebody might read it in another way: it goes on newly framed."""


def test_what_goes_on_newly_framed(outcomes: list[Outcome]) -> None:
    passed = {one.case.family for one in outcomes if one.requests and one.statuses[:1] == [200]}
    assert {family for family in passed if "harmless" not in family} <= REFRAMED
    for outcome in outcomes:
        # RFC 9112 section 6.3: whoever takes both lets nothing follow.
        if outcome.case.family in ("TE and CL", "length, coding", "coding, length") and outcome.statuses:
            assert outcome.closed, outcome.case
        # Harmless ones are here to show that cases get through at all.
        if outcome.case.family in ("method, harmless", "connection, harmless", "trailer, harmless"):
            assert (outcome.statuses, len(outcome.requests)) == ([200], 1), outcome.case


@pytest.mark.parametrize("protocol", ["h2", "h3"])
def test_pseudo_header_fields(engine: Engine, backend: Backend, protocol: str) -> None:
    """RFC 9113 sections 8.2 and 8.3, RFC 9114 sections 4.2 and 4.3: what HTTP/1.1 cannot say is not passed on."""
    backend.requests.clear()
    backend.nonsense.clear()
    for head in heads():
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError, TimeoutError):
            if protocol == "h2":
                _over_h2(engine.port, head)
            else:
                http3.run(_over_h3(engine.port, head), 1.0)
    time.sleep(0.1)
    assert backend.nonsense == []
    for one in backend.requests:
        assert "hidden" not in one.target
        assert one.get("host") == f"127.0.0.1:{backend.port}"
        assert one.get("x-forwarded-for") == "127.0.0.1"
        assert one.length in (0, len(HIDDEN)), one.fields
    targets = [one.path for one in backend.requests]
    assert len(targets) == len(set(targets))
    assert 0 < len(targets) < len(HEADS)


def _over_h2(port: int, head: list[tuple[str, str]]) -> None:
    with Http2(port) as two:
        two.socket.settimeout(1)
        two.h2.config.validate_outbound_headers = False
        stream = two.h2.get_next_available_stream_id()
        two.answers[stream] = Answer(0)
        two.h2.send_headers(stream, head)
        two.data(stream, HIDDEN)
        two.finish([stream])


async def _over_h3(port: int, head: list[tuple[str, str]]) -> None:
    async with http3.Http3.open(port) as three:
        await three.finish(three.send_head(head, HIDDEN))
