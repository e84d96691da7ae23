"""Cloudflare's h3i breaks the rules of RFC 9114 and RFC 9204, and hears what they say it should.

Its frames and field sections are those of quiche. What it does is a list of steps, which the program in `h3i` carries
out over one connection.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from support import needs, rust, site
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
    REQUEST_INCOMPLETE,
    SETTINGS_ERROR,
    STREAM_CREATION_ERROR,
)
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(1200)
"""BoringSSL is built for the first test."""

Step = dict[str, Any] | str
Fields = list[tuple[str, str]]

CONTROL, PUSH, ENCODER, DECODER = 0, 1, 2, 3
"""Types of unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2)."""


class Heard(NamedTuple):
    """What h3i heard."""

    closed: int | None
    """The code of the peer's CONNECTION_CLOSE; None where it sent none."""
    resets: dict[int, int]
    """Codes, by stream."""
    statuses: dict[int, list[str]]
    """Of every answer, interim ones as well."""


@pytest.fixture(scope="module")
def program() -> Path:
    needs.command("cmake", "cmake, which BoringSSL is built with")
    return rust.build(Path(__file__).parent / "h3i")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root: Path = tmp_path_factory.mktemp("h3i")
    (root / "index.html").write_bytes(site.INDEX)
    with Server(root) as started:
        yield started


def run(program: Path, port: int, steps: list[Step]) -> Heard:
    """Have h3i do all of this."""
    words = [str(program), str(port)]
    done = subprocess.run(words, input=json.dumps(steps), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    error = summary["error"]
    assert not error["timed_out"], "nothing was heard until the connection was idle for too long"
    closed = error["peer_error"]["error_code"] if "peer_error" in error else None
    resets: dict[int, int] = {}
    statuses: dict[int, list[str]] = {}
    for name, frames in summary["stream_map"]["stream_frame_map"].items():
        for frame in frames:
            if "reset_stream" in frame:
                resets[int(name)] = frame["reset_stream"]["error_code"]
            elif "enriched_headers" in frame:
                fields = {one["name"]: one["value"] for one in frame["enriched_headers"]["headers"]}
                statuses.setdefault(int(name), []).append(fields.get(":status", ""))
    return Heard(closed, resets, statuses)


# --- steps ---


def request(*fields: tuple[str, str], method: str = "GET") -> Fields:
    """The fields of a request for /."""
    return [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", "/"), *fields]


def headers(fields: Fields, stream: int = 0, fin: bool = True, literal: bool = False) -> Step:
    """A HEADERS frame."""
    return {"headers": {"stream": stream, "fields": fields, "fin": fin, "literal": literal}}


def frame(stream: int, fin: bool = False, **content: Any) -> Step:
    """Any other frame."""
    return {"frame": {"stream": stream, "frame": content, "fin": fin}}


def data(text: bytes, stream: int = 0, fin: bool = False) -> Step:
    """A DATA frame."""
    return frame(stream, fin, data=text.hex())


def raw(stream: int, content: bytes, fin: bool = False) -> Step:
    """Bytes that are no frame."""
    return {"bytes": {"stream": stream, "hex": content.hex(), "fin": fin}}


def opened(stream: int, kind: int, fin: bool = False) -> Step:
    """A unidirectional stream."""
    return {"open": {"stream": stream, "kind": kind, "fin": fin}}


def control(*then: Step) -> list[Step]:
    """A control stream on stream 2, and what else it says."""
    return [opened(2, CONTROL), frame(2, settings=[]), *then]


POST = headers(request(method="POST"), fin=False)

CONNECTION_ERRORS: dict[str, tuple[list[Step], int]] = {
    "4.1 DATA before HEADERS": ([data(b"x", fin=True)], FRAME_UNEXPECTED),
    "4.1 DATA after trailers": ([POST, headers([("x", "y")], fin=False), data(b"x")], FRAME_UNEXPECTED),
    "5.2 GOAWAY that rises": (control(frame(2, goaway=0), frame(2, goaway=4)), ID_ERROR),
    "6.2.1 control stream closed": ([opened(2, CONTROL), frame(2, True, settings=[])], CLOSED_CRITICAL_STREAM),
    "6.2.1 second control stream": ([*control(), opened(6, CONTROL)], STREAM_CREATION_ERROR),
    "6.2.1 first frame is not SETTINGS": ([opened(2, CONTROL), frame(2, goaway=0)], MISSING_SETTINGS),
    "6.2.2 push stream of a client": ([*control(), opened(6, PUSH), raw(6, b"\x00")], STREAM_CREATION_ERROR),
    "7.1 frame cut by the end": ([raw(0, b"\x01\x20abc", fin=True)], FRAME_ERROR),
    "7.2.1 DATA on the control stream": (control(data(b"x", stream=2)), FRAME_UNEXPECTED),
    "7.2.2 HEADERS on the control stream": (control(headers(request(), stream=2, fin=False)), FRAME_UNEXPECTED),
    "7.2.3 CANCEL_PUSH of nothing": (control(frame(2, cancel_push=7)), ID_ERROR),
    "7.2.3 CANCEL_PUSH on a request stream": ([frame(0, cancel_push=0)], FRAME_UNEXPECTED),
    "7.2.4 SETTINGS twice": (control(frame(2, settings=[])), FRAME_UNEXPECTED),
    "7.2.4 SETTINGS on a request stream": ([frame(0, settings=[])], FRAME_UNEXPECTED),
    "7.2.4 setting twice": ([opened(2, CONTROL), frame(2, settings=[(0x21, 1), (0x21, 1)])], SETTINGS_ERROR),
    "7.2.4.1 setting of HTTP/2": ([opened(2, CONTROL), frame(2, settings=[(0x3, 100)])], SETTINGS_ERROR),
    "7.2.5 PUSH_PROMISE of a client": ([POST, frame(0, push_promise=1)], FRAME_UNEXPECTED),
    "7.2.6 GOAWAY on a request stream": ([frame(0, goaway=0)], FRAME_UNEXPECTED),
    "7.2.7 MAX_PUSH_ID that falls": (control(frame(2, max_push_id=9), frame(2, max_push_id=8)), ID_ERROR),
    "7.2.7 MAX_PUSH_ID on a request stream": ([frame(0, max_push_id=1)], FRAME_UNEXPECTED),
    "7.2.8 PING of HTTP/2": (control(frame(2, unknown=(0x6, "00"))), FRAME_UNEXPECTED),
    "7.2.8 CONTINUATION of HTTP/2": ([POST, frame(0, unknown=(0x9, "00"))], FRAME_UNEXPECTED),
    "RFC 9204 2.2 section of an unknown entry": ([raw(0, b"\x01\x03\x00\x00\x80", fin=True)], DECOMPRESSION_FAILED),
    "RFC 9204 4.2 second encoder stream": (
        [*control(), opened(6, ENCODER), opened(10, ENCODER)],
        STREAM_CREATION_ERROR,
    ),
    "RFC 9204 4.2 decoder stream closed": ([*control(), opened(6, DECODER, fin=True)], CLOSED_CRITICAL_STREAM),
    "RFC 9204 4.3.1 capacity beyond the limit": (
        [*control(), opened(6, ENCODER), raw(6, b"\x3f\xe1\xff\x3f")],
        ENCODER_STREAM_ERROR,
    ),
    "RFC 9204 4.4.3 increment beyond what was sent": (
        [*control(), opened(6, DECODER), raw(6, b"\x3e")],
        DECODER_STREAM_ERROR,
    ),
    "RFC 9218 7.1 PRIORITY_UPDATE on a request stream": ([frame(0, priority_update=(0, "u=1"))], FRAME_UNEXPECTED),
    "RFC 9218 7.1 PRIORITY_UPDATE of what is no request": (control(frame(2, priority_update=(6, "u=1"))), ID_ERROR),
}

STREAM_ERRORS: dict[str, tuple[list[Step], int]] = {
    "4.1 no request": ([raw(0, b"", fin=True)], REQUEST_INCOMPLETE),
    "4.1.2 content-length that is too large": (
        [headers(request(("content-length", "5"), method="POST"), fin=False), data(b"four", fin=True)],
        MESSAGE_ERROR,
    ),
    "4.1.2 content-length that is too small": (
        [headers(request(("content-length", "3"), method="POST"), fin=False), data(b"four", fin=True)],
        MESSAGE_ERROR,
    ),
    "4.2 field name in upper case": ([headers(request(("X-Y", "z")), literal=True)], MESSAGE_ERROR),
    "4.2 Connection": ([headers(request(("connection", "keep-alive")))], MESSAGE_ERROR),
    "4.2 Transfer-Encoding": ([headers(request(("transfer-encoding", "chunked")))], MESSAGE_ERROR),
    "4.2 TE that is not trailers": ([headers(request(("te", "gzip")))], MESSAGE_ERROR),
    "4.3 pseudo-header field after a field": ([headers([*request()[:3], ("x", "y"), (":path", "/")])], MESSAGE_ERROR),
    "4.3 pseudo-header field twice": ([headers([*request(), (":path", "/")])], MESSAGE_ERROR),
    "4.3 pseudo-header field of an answer": ([headers([*request(), (":status", "200")])], MESSAGE_ERROR),
    "4.3 unknown pseudo-header field": ([headers([*request(), (":x", "y")])], MESSAGE_ERROR),
    "4.3 pseudo-header field in trailers": ([POST, headers([(":path", "/")])], MESSAGE_ERROR),
    "4.3.1 no method": ([headers(request()[1:])], MESSAGE_ERROR),
    "4.3.1 no path": ([headers(request()[:3])], MESSAGE_ERROR),
    "4.3.1 empty path": ([headers([*request()[:3], (":path", "")])], MESSAGE_ERROR),
    "4.3.1 authority and Host that differ": ([headers(request(("host", "other.example")))], MESSAGE_ERROR),
    "4.4 CONNECT with a path": ([headers(request(method="CONNECT"))], MESSAGE_ERROR),
    "RFC 9110 5.5 field value with a line break": ([headers(request(("x", "a\r\nb")))], MESSAGE_ERROR),
}

FORGIVEN: dict[str, list[Step]] = {
    "7.2.8 reserved frames": [
        frame(0, unknown=(0x21, "abcd")),
        headers(request(), fin=False),
        frame(0, True, unknown=(0x40, "")),
    ],
    "7.2.4.1 reserved settings": [opened(2, CONTROL), frame(2, settings=[(0x21, 7), (0x40, 8)]), headers(request())],
    "6.2.3 reserved streams": [*control(), opened(6, 0x21), raw(6, b"anything"), headers(request())],
    "RFC 9218 7.1 priority of a stream to come": [*control(frame(2, priority_update=(0, "u=0"))), headers(request())],
}


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_the_connection_is_closed(program: Path, server: Server, case: str) -> None:
    steps, code = CONNECTION_ERRORS[case]
    assert run(program, server.port, steps).closed == code


def alive(steps: list[Step]) -> list[Step]:
    """These, and then a request that shows that the connection still is there."""
    return [*steps, {"ended": 0}, headers(request(), stream=40), {"ended": 40}, "close"]


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_the_stream_is_reset_and_the_next_answered(program: Path, server: Server, case: str) -> None:
    steps, code = STREAM_ERRORS[case]
    heard = run(program, server.port, alive(steps))
    assert heard.closed is None
    assert heard.resets == {0: code}
    assert heard.statuses[40] == ["200"]


@pytest.mark.parametrize("case", FORGIVEN)
def test_what_is_unknown_is_passed_over(program: Path, server: Server, case: str) -> None:
    heard = run(program, server.port, alive(FORGIVEN[case]))
    assert heard.closed is None
    assert heard.resets == {}
    assert heard.statuses == {0: ["200"], 40: ["200"]}
