"""Many ambiguous requests, and three servers behind: what the proxy refuses none of them has seen, and what it passes
on is the same one request to all of them (RFC 9112 section 11.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import h2.exceptions
import pytest

from support import http3
from support.ambiguous import CASES, HIDDEN, heads
from support.answer import Answer
from support.behind import Behind, Seen, all_of_them
from support.combinations import COMBINATIONS
from support.engine import make
from support.front import NEVER, proxy, serve
from support.http1 import connect
from support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.engine import Engine

# To nginx a method is in upper case; to RFC 9110 it is as it is.
ALL = [case for case in CASES + COMBINATIONS if not case.data.startswith(b"post ")]
PATIENCE, QUIET = 1.5, 0.3
"""Seconds for a first answer, and after it for another one."""
AT_ONCE = 64
"""Cases; they mostly wait."""

_CHUNKED = re.compile(
    rb"POST /it HTTP/1\.1\r\nhost: localhost\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n\r\n", re.IGNORECASE
)
"""A head with which nothing is wrong, whatever its chunks turn out to be."""


class Told(NamedTuple):
    """What the client of the proxy was told."""

    own: list[int]
    """The statuses of what the proxy has answered itself, but for interim answers."""
    behind: int
    """How many answers were those of the server behind."""


class Outcome(NamedTuple):
    """What a case has led to, with one server."""

    case: str
    told: Told
    seen: list[Seen]
    begins_well: bool
    """Whether what is wrong comes after the head, when the server may have seen that."""


class Setup(NamedTuple):
    """Servers, and a proxy before each, by the names of the servers."""

    behind: dict[str, Behind]
    fronts: dict[str, Engine]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    pair = make(tmp_path_factory.mktemp("certificate"))
    with all_of_them(tmp_path_factory.mktemp("behind")) as behind, contextlib.ExitStack() as stack:
        fronts = {name: serve(pair, {"/": proxy(one.url, ejection=NEVER)}) for name, one in behind.items()}
        for front in fronts.values():
            stack.enter_context(front)
        yield Setup(behind, fronts)


def marked(text: str, number: int) -> str:
    """With paths that tell whose they are."""
    return re.sub("/it(?![0-9])", f"/it{number:04}", text).replace("/hidden", f"/no{number:04}")


def over_h1(port: int, data: bytes) -> Told:
    """Send bytes, and wait for more answers than there should be."""
    got = bytearray()
    with connect(port) as stream, contextlib.suppress(OSError):
        # Whoever answers early may close before all is sent.
        with contextlib.suppress(OSError):
            stream.sendall(data)
        stream.settimeout(PATIENCE)
        while chunk := stream.recv(65536):
            got += chunk
            stream.settimeout(QUIET)
    answers = re.findall(rb"HTTP/1\.[01] ([2-5]\d\d) .*?\r\n(.*?)\r\n\r\n", got, re.DOTALL)
    own = [int(status) for status, fields in answers if b"x-behind:" not in fields]
    return Told(own, len(answers) - len(own))


def over_h2(port: int, head: list[tuple[str, str]], body: bytes) -> Told:
    answer = Answer(0)
    with Http2(port) as two, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
        two.socket.settimeout(1)
        stream = two.h2.get_next_available_stream_id()
        two.answers[stream] = answer
        two.h2.send_headers(stream, head, end_stream=not body)
        two.data(stream, body, end=bool(body))
        two.finish([stream])
    return told(answer)


def over_h3(port: int, head: list[tuple[str, str]], body: bytes) -> Told:
    answer = Answer(0)

    async def conversation() -> None:
        async with http3.Http3.open(port) as three:
            stream = three.send_head(head, body)
            three.answers[stream] = answer
            async with asyncio.timeout(PATIENCE):
                await three.finish(stream)

    with contextlib.suppress(OSError, TimeoutError):
        http3.run(conversation())
    return told(answer)


def told(answer: Answer) -> Told:
    behind = answer.get("x-behind") is not None
    return Told([answer.status] if answer.status and not behind else [], int(behind))


def outcomes(
    setup: Setup, first: int, cases: list[str], send: Callable[[int, int], Told], begins_well: Callable[[int], bool]
) -> dict[str, list[Outcome]]:
    """Send all cases through every proxy, by the names of the servers.

    Args:
        first: the number of the first case in its paths.
        cases: what to call each.
        send: takes a port and the place of a case.
        begins_well: whether what is wrong with the case in a place comes after its head.
    """
    places = range(len(cases))
    before = {name: len(server.seen) for name, server in setup.behind.items()}
    answers = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, engine in setup.fronts.items():
            answers[name] = list(pool.map(send, [engine.port] * len(cases), places))
    time.sleep(0.5)
    result = {}
    for name, server in setup.behind.items():
        by_case: dict[int, list[Seen]] = defaultdict(list)
        for one in server.seen[before[name] :]:
            for mark in re.findall(r"/(?:it|no)(\d{4})", one.target):
                by_case[int(mark)].append(one)
        result[name] = [Outcome(cases[at], answers[name][at], by_case[first + at], begins_well(at)) for at in places]
    return result


def disagreements(reading: dict[str, list[Outcome]]) -> Iterator[str]:
    """Cases of which somebody has thought otherwise than others."""
    for of_one in zip(*reading.values(), strict=True):
        case, *_ = of_one[0]
        read = [[one for one in outcome.seen if one.complete] for outcome in of_one]
        requests = {tuple((one.method, one.target) for one in some) for some in read}
        bodies = {tuple(one.body for one in some) for some in read}
        if len(requests) > 1 or len([some for some in bodies if None not in some]) > 1:
            yield f"{case}: read as {read}"
        if len({(outcome.told.behind, *outcome.told.own) for outcome in of_one}) > 1:
            yield f"{case}: answered {[outcome.told for outcome in of_one]}"
        for name, outcome, complete in zip(reading, of_one, read, strict=True):
            if outcome.told.behind != len(complete):
                yield f"{case}: {outcome.told.behind} answers of {name} to {complete}"
            if outcome.told.own and len(outcome.seen) > len(complete) and not outcome.begins_well:
                yield f"{case}: {name} has seen what was refused: {outcome.seen}"


def check(setup: Setup, reading: dict[str, list[Outcome]], passed: int) -> None:
    """Nobody disagrees, no server complains, each knows of every request, and so many were passed on."""
    found = list(disagreements(reading))
    assert not found, f"{len(found)} disagreements\n" + "\n".join(found)
    for name, server in setup.behind.items():
        assert server.refused == [], name
        by_connection: dict[int, list[int]] = defaultdict(list)
        for one in server.seen:
            by_connection[one.connection].append(one.number)
        for connection, numbers in by_connection.items():
            assert numbers == list(range(1, len(numbers) + 1)), f"{name}, connection {connection}"
        assert len(by_connection) < len(server.seen) / 2
    assert sum(outcome.told.behind for outcome in reading["h11"]) >= passed


def test_http1(setup: Setup) -> None:
    assert len(set(ALL)) == len(ALL) >= 300
    cases = [f"{case.family}: {case.data[:300]!r}" for case in ALL]

    def send(port: int, at: int) -> Told:
        return over_h1(port, marked(ALL[at].data.decode("latin-1"), at).encode("latin-1"))

    def begins_well(at: int) -> bool:
        return _CHUNKED.match(ALL[at].data) is not None

    check(setup, outcomes(setup, 0, cases, send, begins_well), 300)


@pytest.mark.parametrize(("over", "first", "passed"), [(over_h2, 4000, 6), (over_h3, 5000, 4)], ids=["h2", "h3"])
def test_http2_and_http3(
    setup: Setup, over: Callable[[int, list[tuple[str, str]], bytes], Told], first: int, passed: int
) -> None:
    """RFC 9113 sections 8.1 to 8.3, RFC 9114 sections 4.1 to 4.3: each head with a body, and without.

    What is passed on is a length of 0, the other scheme, and over HTTP/2 a fragment, which is cut off.
    """
    cases = list(heads(first))
    # What has a length of 0 is complete with its head: what comes then breaks off what is over already.
    bodies = [b"" if ("content-length", "0") in head else HIDDEN for head in cases]
    cases += heads(first + len(cases))
    bodies += [b""] * len(bodies)

    def send(port: int, at: int) -> Told:
        head = [(name, marked(value, first + at)) for name, value in cases[at]]
        return over(port, head, marked(bodies[at].decode(), first + at).encode())

    # A length is found to be wrong when the body is there.
    def begins_well(at: int) -> bool:
        return "content-length" in dict(cases[at])

    check(setup, outcomes(setup, first, [str(head) for head in cases], send, begins_well), passed)
