"""Peers that break the rules of RFC 9114 and RFC 9204: they hear the right code, and nobody else is disturbed.

Every clause that names a code is tried without a network in `crates/velocity-h3/tests/clauses.rs`. Here a foreign
QUIC stack hears the code, while another connection of the same server is in the middle of a download.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support import site
from support.http3 import Http3, run
from support.http3_codes import (
    CLOSED_CRITICAL_STREAM,
    DECODER_STREAM_ERROR,
    DECOMPRESSION_FAILED,
    ENCODER_STREAM_ERROR,
    FRAME_ERROR,
    FRAME_UNEXPECTED,
    ID_ERROR,
    MESSAGE_ERROR,
    MISSING_SETTINGS,
    NO_ERROR,
    REQUEST_INCOMPLETE,
    REQUEST_REJECTED,
    SETTINGS_ERROR,
    STREAM_CREATION_ERROR,
)
from support.raw_quic import CONTROL, SETTINGS, RawQuic, field, frame, get, headers, number, post
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGE = 8 << 20
STREAMS = 100
"""How many requests the server permits at a time."""
BATCH = 20
"""How many of them aioquic gives up at a time: its pacer takes a nap after more."""

Act = Callable[[RawQuic], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, bytes]]:
    root: Path = tmp_path_factory.mktemp("rules")
    content = site.noise(LARGE)
    (root / "large.bin").write_bytes(content)
    (root / "index.html").write_bytes(site.INDEX)
    with Server(root) as started:
        yield started, content


def on(stream: int, data: bytes, end: bool = False) -> Act:
    """Something on one stream."""
    return lambda peer: peer.write(stream, data, end)


def then(*acts: Act) -> Act:
    """One after the other."""

    def all_of_them(peer: RawQuic) -> None:
        for act in acts:
            act(peer)

    return all_of_them


def reset_later(stream: int) -> Act:
    """Abort a stream whose beginning has been read: a reset that overtakes it hides what kind of stream it was."""

    def act(peer: RawQuic) -> None:
        asyncio.get_running_loop().call_later(0.3, peer.reset, stream)

    return act


def settings(*pairs: tuple[int, int]) -> bytes:
    """The beginning of a control stream with these settings."""
    return b"\x00" + frame(0x4, b"".join(number(key) + number(value) for key, value in pairs))


BLOCKED = frame(0x1, b"\x02\x00\x80")
"""A section that waits for an insertion."""

CONNECTION_ERRORS: dict[str, tuple[Act, int]] = {
    "4.1 DATA before HEADERS": (on(0, frame(0x0, b"x")), FRAME_UNEXPECTED),
    "4.1 HEADERS after trailers": (on(0, post() + headers(field("x", "y")) * 2), FRAME_UNEXPECTED),
    "5.2 GOAWAY that rises": (on(2, CONTROL + frame(0x7, b"\x01") + frame(0x7, b"\x02")), ID_ERROR),
    "6.2.1 control stream closed": (on(2, CONTROL, end=True), CLOSED_CRITICAL_STREAM),
    "6.2.1 control stream reset": (then(on(2, CONTROL), reset_later(2)), CLOSED_CRITICAL_STREAM),
    "6.2.1 second control stream": (then(on(2, CONTROL), on(6, b"\x00")), STREAM_CREATION_ERROR),
    "6.2.1 no SETTINGS": (on(2, b"\x00" + frame(0x7, b"\x00")), MISSING_SETTINGS),
    "6.2.2 push stream of a client": (on(2, b"\x01\x00"), STREAM_CREATION_ERROR),
    "7.1 frame cut by the end": (on(0, get()[:-1], end=True), FRAME_ERROR),
    "7.1 GOAWAY too long": (on(2, CONTROL + frame(0x7, b"\x00\x00")), FRAME_ERROR),
    "7.2.1 DATA on the control stream": (on(2, CONTROL + frame(0x0)), FRAME_UNEXPECTED),
    "7.2.3 CANCEL_PUSH of nothing": (on(2, CONTROL + frame(0x3, b"\x00")), ID_ERROR),
    "7.2.4 SETTINGS twice": (on(2, CONTROL + SETTINGS), FRAME_UNEXPECTED),
    "7.2.4 SETTINGS on a request stream": (on(0, SETTINGS), FRAME_UNEXPECTED),
    "7.2.4 setting twice": (on(2, settings((6, 1), (6, 1))), SETTINGS_ERROR),
    "7.2.4.1 setting of HTTP/2": (on(2, settings((2, 0))), SETTINGS_ERROR),
    "7.2.5 PUSH_PROMISE of a client": (on(0, get() + frame(0x5, b"\x00")), FRAME_UNEXPECTED),
    "7.2.7 MAX_PUSH_ID that falls": (on(2, CONTROL + frame(0xD, b"\x02") + frame(0xD, b"\x01")), ID_ERROR),
    "7.2.8 frame of HTTP/2 on a request stream": (on(0, frame(0x6)), FRAME_UNEXPECTED),
    "7.2.8 frame of HTTP/2 on the control stream": (on(2, CONTROL + frame(0x8)), FRAME_UNEXPECTED),
    "RFC 9204 2.1.2 too many blocked streams": (then(*(on(4 * n, BLOCKED) for n in range(17))), DECOMPRESSION_FAILED),
    "RFC 9204 2.2.1 section that is wrong": (on(0, frame(0x1, b"\x00\x00\x80")), DECOMPRESSION_FAILED),
    "RFC 9204 4.2 second encoder stream": (then(on(2, b"\x02"), on(6, b"\x02")), STREAM_CREATION_ERROR),
    "RFC 9204 4.2 encoder stream closed": (on(2, b"\x02", end=True), CLOSED_CRITICAL_STREAM),
    "RFC 9204 4.2 decoder stream closed": (on(2, b"\x03", end=True), CLOSED_CRITICAL_STREAM),
    "RFC 9204 4.3.1 capacity beyond the limit": (on(2, b"\x02\x3f\xe2\x1f"), ENCODER_STREAM_ERROR),
    "RFC 9204 4.4.3 increment of zero": (on(2, b"\x03\x00"), DECODER_STREAM_ERROR),
}

AUTHORITY = b"\x50\x09localhost"
STREAM_ERRORS: dict[str, tuple[bytes, int]] = {
    "4.1 no request": (b"", REQUEST_INCOMPLETE),
    "4.1.2 content-length that is too small": (post(field("content-length", "2")) + frame(0x0, b"abc"), MESSAGE_ERROR),
    "4.1.2 content-length that is too large": (post(field("content-length", "2")) + frame(0x0, b"a"), MESSAGE_ERROR),
    "4.2 field name in upper case": (get(field("X", "y")), MESSAGE_ERROR),
    "4.2 field of the connection": (get(field("connection", "close")), MESSAGE_ERROR),
    "4.3 pseudo-header field out of order": (headers(b"\xd1\xd7", AUTHORITY, field("x", "y"), b"\xc1"), MESSAGE_ERROR),
    "4.3.1 no path": (headers(b"\xd1\xd7", AUTHORITY), MESSAGE_ERROR),
    "4.4 CONNECT with a path": (headers(b"\xcf", AUTHORITY, b"\xc1"), MESSAGE_ERROR),
}


def over(peer: RawQuic, streams: range) -> Callable[[], bool]:
    """Whether the server has ended or reset all of these."""
    return lambda: all(stream in peer.resets or stream in peer.ended for stream in streams)


async def is_served(peer: RawQuic, stream: int, timeout: float = 5.0) -> None:
    """A request of this connection is answered."""
    peer.write(stream, get(), end=True)
    await peer.until(lambda: stream in peer.ended, timeout)
    assert site.INDEX in peer.received[stream]


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_the_connection_ends_and_no_other(server: tuple[Server, bytes], case: str) -> None:
    act, code = CONNECTION_ERRORS[case]

    async def conversation() -> None:
        async with Http3.open(server[0].port, library="aioquic") as other, RawQuic.open(server[0].port) as peer:
            stream = other.send("/large.bin")
            act(peer)
            assert await peer.closed() == code
            await other.finish(stream)
            assert other.answers[stream].body == server[1]

    run(conversation(), timeout=60)


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_the_stream_ends_and_no_other(server: tuple[Server, bytes], case: str) -> None:
    data, code = STREAM_ERRORS[case]

    async def conversation() -> None:
        async with RawQuic.open(server[0].port) as peer:
            peer.write(2, CONTROL)
            peer.write(0, data, end=True)
            await peer.until(lambda: 0 in peer.resets)
            assert peer.resets[0] == code
            await is_served(peer, 4)
            assert peer.error is None

    run(conversation())


def test_our_critical_streams_are_stopped(server: tuple[Server, bytes]) -> None:
    """Section 6.2.1: a peer that does not want to hear of the connection gets none."""

    async def conversation() -> None:
        async with RawQuic.open(server[0].port) as peer:
            await peer.until(lambda: 3 in peer.received)
            peer.stop(3)
            assert await peer.closed() == CLOSED_CRITICAL_STREAM

    run(conversation())


def test_streams_and_frames_of_unknown_types(server: tuple[Server, bytes]) -> None:
    """Sections 6.2.3 and 7.2.8: they are passed over, and a stream is refused without ado."""

    async def conversation() -> None:
        async with RawQuic.open(server[0].port) as peer:
            grease = 0x21 + 0x1F * 1000
            peer.write(2, CONTROL + frame(grease, b"x" * 5000))
            peer.write(6, number(grease) + b"anything")
            peer.write(0, frame(grease, b"x") + get() + frame(grease), end=True)
            await peer.until(lambda: 0 in peer.ended and 6 in peer.stopped)
            assert peer.stopped[6] == STREAM_CREATION_ERROR
            await is_served(peer, 4)

    run(conversation())


def test_a_request_after_goaway(tmp_path: Path) -> None:
    """Section 5.2: what came before is finished, what comes after is rejected and can be sent elsewhere."""
    content = site.noise(2 * LARGE)
    (tmp_path / "large.bin").write_bytes(content)

    async def conversation(running: Server) -> None:
        async with RawQuic.open(running.port) as peer:
            peer.write(2, CONTROL)
            peer.write(0, headers(b"\xd1\xd7", AUTHORITY, b"\x51\x0a/large.bin"), end=True)
            await peer.until(lambda: 0 in peer.received)
            running.terminate()
            await peer.until(lambda: peer.received.get(3, b"").endswith(frame(0x7, number(4))))
            assert 0 not in peer.ended, "the download was over too soon"
            peer.write(4, get(), end=True)
            await peer.until(lambda: 4 in peer.resets)
            assert peer.resets[4] == REQUEST_REJECTED
            await peer.until(lambda: 0 in peer.ended, timeout=60)
            assert peer.received[0].endswith(content[-1000:])
            assert await peer.closed() == NO_ERROR

    with Server(tmp_path) as running:
        run(conversation(running), timeout=90)
        assert running.wait() == 0


BEGUN = {"nothing": b"", "half a head": get()[:5], "GET": get(), "POST": post() + frame(0x0, b"abc")}


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN.keys())
def test_reset_storm(server: tuple[Server, bytes], begun: bytes) -> None:
    """Section 4.1.1: however many requests are given up, none of them takes the place of one that is not."""

    async def conversation() -> None:
        before = server[0].memory()
        async with RawQuic.open(server[0].port) as peer:
            peer.write(2, CONTROL)
            for first in range(0, 4 * 4 * STREAMS, 4 * BATCH):
                streams = range(first, first + 4 * BATCH, 4)
                for stream in streams:
                    peer.write(stream, begun)
                    peer.reset(stream)
                    peer.stop(stream)
                await peer.until(over(peer, streams))
            await is_served(peer, 4 * 4 * STREAMS)
            assert peer.error is None
        assert server[0].memory() - before < 20 << 20

    run(conversation())


@pytest.mark.parametrize("name", ["x", "trailers"])
def test_bombs(server: tuple[Server, bytes], name: str) -> None:
    """RFC 9204 section 7.3: a section that is small on the wire and large afterwards ends early, in either place."""
    bomb = frame(0x1, b"\x02\x00" + (b"\xd1\xd7" + AUTHORITY + b"\xc1" if name == "x" else b"") + b"\x80" * 50_000)

    async def conversation() -> None:
        before = server[0].memory()
        async with RawQuic.open(server[0].port) as peer:
            peer.write(2, CONTROL)
            # An entry of 4000 bytes, which the section names again and again.
            peer.write(6, b"\x02\x3f\xe1\x1f\x41x\x7f\xa1\x1e" + b"y" * 4000)
            await asyncio.sleep(0.05)
            for stream in range(0, 4 * 20, 4):
                peer.write(stream, bomb if name == "x" else post() + bomb, end=True)
            await peer.until(over(peer, range(0, 4 * 20, 4)))
            await is_served(peer, 4 * 20)
        assert server[0].memory() - before < 20 << 20

    run(conversation())
