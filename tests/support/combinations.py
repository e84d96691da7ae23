"""Requests over HTTP/1.1 from every combination of what frames, addresses and follows them (RFC 9112)."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from support.ambiguous import HIDDEN, HOST, Case, in_chunks, post

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = len(HIDDEN)
_LENGTHS = (
    b"", b"content-length: %d\r\n" % _SIZE, b"Content-Length:%d \r\n" % _SIZE, b"content-length: %d\r\n" % (_SIZE - 1),
    b"content-length: %d\r\n" % (_SIZE + 1), b"content-length: %d, %d\r\n" % (_SIZE, _SIZE), b"content-length: 0\r\n",
    b"content-length: %d\r\ncontent-length: %d\r\n" % (_SIZE, _SIZE),
    b"content-length: 0\r\ncontent-length: %d\r\n" % _SIZE, b"content-length: +%d\r\n" % _SIZE,
    b"content-length:\r\n %d\r\n" % _SIZE,
)  # fmt: skip
_CODINGS = (
    b"", b"transfer-encoding: chunked\r\n", b"Transfer-Encoding:chunked \r\n", b"transfer-encoding: identity\r\n",
    b"transfer-encoding:\r\n chunked\r\n", b"transfer-encoding : chunked\r\n", b"transfer-encoding: xchunked\r\n",
    b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", b"transfer_encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n", b"x: y\ntransfer-encoding: chunked\r\n",
)  # fmt: skip
_BODIES = (HIDDEN, in_chunks(HIDDEN), b"0\r\n\r\n" + HIDDEN)


def framings() -> Iterator[Case]:
    """Every length beside every coding, before every body."""
    for number, (length, coding, body) in enumerate(product(_LENGTHS, _CODINGS, _BODIES)):
        yield Case("framing", post(length + coding if number % 2 else coding + length, body))


_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"QUERY", b"M-SEARCH")
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3")


def starts() -> Iterator[Case]:
    """Every method of every version, with every way to frame a body, and with none."""
    framed = (
        (b"", b""),
        (b"content-length: %d\r\n" % _SIZE, HIDDEN),
        (b"transfer-encoding: chunked\r\n", in_chunks(HIDDEN)),
    )
    for method, version, (lines, body) in product(_METHODS, _VERSIONS, framed):
        yield Case("start", post(lines, body, b"%b /it %b\r\n" % (method, version)))


_TARGETS = (
    b"/it", b"https://localhost/it", b"http://localhost/it", b"HTTPS://LOCALHOST:443/it", b"https://other.example/it",
    b"https://localhost@other.example/it", b"//other.example/it", b"https:/it", b"localhost/it",
)  # fmt: skip
_HOSTS = (
    b"", b"host: localhost\r\n", b"host: other.example\r\n", b"host: localhost\r\nhost: other.example\r\n",
    b"host: localhost\r\nhost: localhost\r\n", b"host: localhost, other.example\r\n", b"host : localhost\r\n",
    b"host: localhost\r\n other.example\r\n", b"x: y\r\nhost: localhost\r\n",
)  # fmt: skip


def addresses() -> Iterator[Case]:
    """Every form of a target before every Host."""
    for target, host in product(_TARGETS, _HOSTS):
        lines = b"content-length: %d\r\n" % _SIZE
        yield Case("address", post(lines, HIDDEN, b"POST %b HTTP/1.1\r\n" % target, host))


_CHUNK_SIZES = (b"5", b"05", b"5;a=b", b'5;a="\r"', b"5;a\n", b"5 ", b" 5", b"0x5", b"5\n", b"+5", b"5;\x00")
_DATA_ENDS = (b"\r\n", b"\n", b"", b"\r", b"x\r\n")
_TRAILERS = (b"", b"x: y\r\n", b"content-length: 3\r\n", b"x: y\r\n z\r\n", b"x: y\n")


def chunkings() -> Iterator[Case]:
    """Every way to write a chunk, before every trailer section."""
    for size, end, trailer in product(_CHUNK_SIZES, _DATA_ENDS, _TRAILERS):
        if (size != b"5") + (end != b"\r\n") + (trailer != b"") > 2:
            continue  # Two things that are odd are enough.
        body = size + b"\r\nhello" + end + b"0\r\n" + trailer + b"\r\n" + HIDDEN
        yield Case("chunking", post(b"transfer-encoding: chunked\r\n", body))


_FIRST = (
    b"GET /it HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /it HTTP/1.1\r\n" + HOST + b"\r\n",
    post(b"content-length: 5\r\n", b"hello"),
    post(b"transfer-encoding: chunked\r\n", in_chunks(b"hello")),
    post(b"content-length: 5\r\nexpect: 100-continue\r\n", b"hello"),
    post(b"connection: close\r\ncontent-length: 5\r\n", b"hello"),
    post(b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\ncontent-length: 5\r\n", b"hello"),
    post(b"connection: content-length, x\r\ncontent-length: 5\r\nx: y\r\n", b"hello"),
)
_FOLLOWING = (
    b"", b"\r\n", b"\n", b"\r\n\r\n", b"\x00", b"G", b" ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /it?2 HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /it?2 HTTP/1.1\r\nx: y\r\n" + HOST + b"\r\n",
    b"GET /it?2 HTTP/1.1\n" + HOST + b"\r\n", b"GET /it?2 HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"\r\nGET /it?2 HTTP/1.1\r\n" + HOST + b"\r\n", b"XGET /it?2 HTTP/1.1\r\n" + HOST + b"\r\n",
    post(b"content-length: 5\r\ntransfer-encoding: chunked\r\n", HIDDEN, b"POST /it?2 HTTP/1.1\r\n"),
    post(b"content-length: 5\r\n", b"again", b"POST /it?2 HTTP/1.1\r\n"),
)  # fmt: skip


def pipelines() -> Iterator[Case]:
    """What follows a request on its connection."""
    for first, following in product(_FIRST, _FOLLOWING):
        yield Case("pipeline", first + following)


COMBINATIONS = [case for family in (framings, starts, addresses, chunkings, pipelines) for case in family()]
