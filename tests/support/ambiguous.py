"""Requests that two readers could read in two ways (RFC 9112 section 11.2), each with another one hidden in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: localhost\r\n\r\n"
HOST = b"host: localhost\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
LENGTH = b"content-length: %d\r\n" % len(HIDDEN)


class Case(NamedTuple):
    """Bytes to send; `/it` is replaced by the case's own path, and `/hidden` by another."""

    family: str
    data: bytes


def post(lines: bytes, body: bytes, start: bytes = b"POST /it HTTP/1.1\r\n", host: bytes = HOST) -> bytes:
    return start + host + lines + b"\r\n" + body


def in_chunks(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def lengths() -> Iterator[Case]:
    own = b"%d" % len(HIDDEN)
    for one, other in [(own, b"0"), (b"0", own), (own, own + b"0"), (b"5", b"6"), (own, b"x"), (own, b"")]:
        for first, second in [(b"content-length", b"content-length"), (b"Content-Length", b"CONTENT-LENGTH")]:
            yield Case("length", post(b"%b: %b\r\n%b: %b\r\n" % (first, one, second, other), HIDDEN))
        yield Case("length", post(b"content-length: %b, %b\r\n" % (one, other), HIDDEN))
    for text in (
        b"+%b", b"-%b", b"0x%b", b"%b.0", b"%be0", b"%b %b", b"%b;a", b"\x0b%b", b"\x0c%b", b"%b\x0b", b"%b\x0c",
        b"'%b'",
        b'"%b"', b"%b\x00", b"\x00%b", b"\xa0%b", b"%b\xff", b"1844674407370955161%b", b"99999999999999999999999999%b",
        b"%b_0", b"%b,", b",%b", b"NaN", b"", b"\xd9\xa5", b"%b%%20", b"%b/", b"(%b)", b"%b\t5",
    ):  # fmt: skip
        value = text.replace(b"%b", own).replace(b"%%", b"%")
        yield Case("length", post(b"content-length: %b\r\n" % value, HIDDEN))
    for text in (b"%b ", b"\t%b", b"  %b\t", b"0000%b", b"%b, %b", b"%b,%b"):
        yield Case("length, harmless", post(b"content-length: %b\r\n" % text.replace(b"%b", own), HIDDEN))


CODINGS = (
    b"chunked, identity", b"identity, chunked", b"chunked, chunked", b"chunked,chunked", b"xchunked", b"chunkedx",
    b"chunked;q=1", b"\x0bchunked", b"chunked\x0b", b"'chunked'", b'"chunked"', b"chunked,", b",chunked",
    b"gzip, chunked",
    b"gzip", b"identity", b"chunk", b"chunked\x00", b"ch\x00unked", b"\xffchunked", b"cow", b"", b"chun\r\n ked",
    b"chunked\rx: y", b"chunked cow", b"Chunked", b"CHUNKED", b"\tchunked", b"chunked\t ",
)  # fmt: skip


def codings() -> Iterator[Case]:
    for coding in CODINGS:
        line = b"transfer-encoding: %b\r\n" % coding
        for lines, family in [(line, "coding"), (line + LENGTH, "coding, length"), (LENGTH + line, "length, coding")]:
            yield Case(family, post(lines, HIDDEN))
            yield Case(family, post(lines, in_chunks(HIDDEN)))
    for one, other in [("chunked", "identity"), ("identity", "chunked"), ("chunked", "chunked"), ("cow", "chunked")]:
        line = f"transfer-encoding: {one}\r\nTransfer-Encoding: {other}\r\n".encode()
        for lines in (line, line + LENGTH, LENGTH + line):
            yield Case("codings", post(lines, in_chunks(HIDDEN)))


def coding_and_length() -> Iterator[Case]:
    """The classic ones: the two framings end the body at different places."""
    for name in (b"transfer-encoding", b"Transfer-Encoding", b"TRANSFER-ENCODING"):
        line = name + b": chunked\r\n"
        for lines in (line + LENGTH, LENGTH + line):
            yield Case("TE and CL", post(lines, b"0\r\n\r\n" + HIDDEN))
            yield Case("TE and CL", post(lines, b"0\r\n\r\n" + HIDDEN, b"GET /it HTTP/1.1\r\n"))
        for lines in (line + b"content-length: 4\r\n", b"content-length: 4\r\n" + line):
            yield Case("TE and CL", post(lines, in_chunks(HIDDEN)))
            yield Case("TE and CL", post(lines, b"5c\r\n" + HIDDEN))


def disguises() -> Iterator[Case]:
    """A Transfer-Encoding that one may see and another not."""
    for line in (
        b"transfer-encoding : chunked\r\n", b" transfer-encoding: chunked\r\n", b"transfer-encoding\t: chunked\r\n",
        b"transfer-encoding\x00: chunked\r\n", b"x: a\r\n transfer-encoding: chunked\r\n",
        b"x: a\r\n\ttransfer-encoding: chunked\r\n", b"x: a\rtransfer-encoding: chunked\r\n",
        b"transfer-encoding:\r\n chunked\r\n", b"transfer-encoding:\n chunked\r\n", b"transfer encoding: chunked\r\n",
        b"\x0btransfer-encoding: chunked\r\n", b"transfer-encoding\xa0: chunked\r\n",
        b"transfer-encoding\x85: chunked\r\n",
        b"x\r\ntransfer-encoding: chunked\r\n", b":transfer-encoding: chunked\r\n",
        b"transfer-encoding\r\n: chunked\r\n",
        b"transfer-\r\n encoding: chunked\r\n", b"\x00transfer-encoding: chunked\r\n",
        b"transfer-encoding;: chunked\r\n",
        b'"transfer-encoding": chunked\r\n', b"transfer-encoding=chunked\r\n", b"content-length : 5\r\n",
    ):  # fmt: skip
        yield Case("disguise", post(line + LENGTH, HIDDEN))
        yield Case("disguise", post(LENGTH + line, HIDDEN))
    for line in (
        b"transfer_encoding: chunked\r\n",
        b"x-transfer-encoding: chunked\r\n",
        b"x: transfer-encoding: chunked\r\n",
    ):
        yield Case("disguise, harmless", post(line + LENGTH, HIDDEN))
        yield Case("disguise, harmless", post(LENGTH + line, HIDDEN))


def line_ends() -> Iterator[Case]:
    for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x0b", b"\r\n\x00"):
        family = "bare LF" if end == b"\n" else "line end"
        yield Case(family, b"POST /it HTTP/1.1" + end + HOST + LENGTH + b"\r\n" + HIDDEN)
        yield Case(family, post(b"x: y" + end + LENGTH, HIDDEN))
        yield Case(family, post(LENGTH[:-2] + end + b"x: y\r\n", HIDDEN))
        yield Case(family, post(LENGTH + b"x: y" + end + CHUNKED, HIDDEN))
        yield Case(family, b"POST /it HTTP/1.1\r\n" + HOST + LENGTH + end + HIDDEN)
        yield Case(family, post(CHUNKED, b"5" + end + b"hello\r\n0\r\n\r\n" + HIDDEN))
        yield Case(family, post(CHUNKED, b"5\r\nhello" + end + b"0\r\n\r\n" + HIDDEN))
        yield Case(family, post(CHUNKED, b"5\r\nhello\r\n0" + end + b"\r\n" + HIDDEN))
        yield Case(family, post(CHUNKED, b"5\r\nhello\r\n0\r\n" + end + HIDDEN))


def chunks() -> Iterator[Case]:
    hidden = b"\r\n0\r\n\r\n" + HIDDEN
    for size in (
        b" 5", b"+5", b"-5", b"0x5", b"5,", b"FFFFFFFFFFFFFFFF", b"10000000000000005", b"8000000000000000",
        b"100000000000000000000000000005", b"5\x00", b"g", b"", b"5 5", b"5\x0b", b"5.", b"\x0c5", b"'5'", b"5\xa0",
        b"5;a\rb", b"ffffffff", b"7fffffffffffffff", b"5\r", b"5;" + b"a" * 40_000,
    ):  # fmt: skip
        yield Case("chunk size", post(CHUNKED, size + b"\r\nhello" + hidden))
    for size in (b"05", b"5;a", b"5;a=b", b'5;a="b"', b"5 ;a", b"5 ", b"5\t", b"0000000000000005", b"5;", b"5;a=\xff"):
        yield Case("chunk size, harmless", post(CHUNKED, size + b"\r\nhello\r\n0\r\n\r\n"))
    for size in (b"5;a=\x00", b"5\t\t;\x00", b"5" + b" " * 4000):
        yield Case("chunk size with blanks or NUL", post(CHUNKED, size + b"\r\nhello\r\n0\r\n\r\n"))
    # One that ends at LF ends the extension here, and the chunk begins.
    yield Case("chunk extension with LF", post(CHUNKED, b"5;a\n" + b"hello" + hidden))
    yield Case("chunk extension with LF", post(CHUNKED, b"2;\nxx\r\n5\r\n0\r\n\r\n" + HIDDEN + b"\r\n0\r\n\r\n"))
    for after in (b"", b"XX", b"\n\n", b"x\r\n", b"  \r\n", b"\x00\x00"):
        yield Case("chunk end", post(CHUNKED, b"5\r\nhello" + after + b"0\r\n\r\n" + HIDDEN))
    for last in (b"0 x", b"-0", b"0x0", b"0\x00"):
        yield Case("last chunk", post(CHUNKED, b"5\r\nhello\r\n" + last + b"\r\n\r\n" + HIDDEN))
    for trailer in (
        b"foo", b" : x", b"x : y", b"x\x00: y", b"x: \x00", b"x: a\rb", b"\tx: y", b": y", b"x: " + b"a" * 100_000,
        b"x: y\r\n" * 10_000 + b"x: y", b"(x): y",
    ):  # fmt: skip
        yield Case("trailer", post(CHUNKED, b"0\r\n" + trailer + b"\r\n\r\n" + HIDDEN))
    for trailer in (b"content-length: 5", b"transfer-encoding: chunked", b"host: evil"):
        yield Case("trailer that frames", post(CHUNKED, b"0\r\n" + trailer + b"\r\n\r\n"))
    yield Case("trailer, harmless", post(CHUNKED, b"0\r\nx-forwarded-for: 6.6.6.6\r\n\r\n"))


def fields() -> Iterator[Case]:
    for line in (
        b"x\x00y: 1", b"x: a\x00b", b"x: a\rb", b"x: a\x01b", b"x: a\x7fb", b": empty", b"no colon", b"x y: 1",
        b"x\ty: 1",
        b"x(y): 1", b"x{y}: 1", b'x"y": 1', b"x/y: 1", b"x@y: 1", b"x[y]: 1", b"x?y: 1", b"x=y: 1", b"x,y: 1",
        b"x;y: 1",
        b"x\\y: 1", b"x<y>: 1", b"\xc3\xa9: 1", b"x\xffy: 1", b"x: y\r\n folded", b"x: y\r\n\tfolded", b" x: y",
        b"\tx: y",
        b"host : evil", b"host\t: evil", b"content-length\x00: 0", b"x:y\r\n\x00: z",
    ):  # fmt: skip
        yield Case("field", post(line + b"\r\n" + LENGTH, HIDDEN))
        yield Case("field", b"POST /it HTTP/1.1\r\n" + line + b"\r\n" + HOST + LENGTH + b"\r\n" + HIDDEN)


def request_lines() -> Iterator[Case]:
    for line in (
        b"POST  /it HTTP/1.1", b"POST /it  HTTP/1.1", b"POST\t/it\tHTTP/1.1", b"POST /it", b"POST /it HTTP/1.1 ",
        b"POST /it HTTP/1.2", b"POST /it HTTP/2.0", b"POST /it HTTP/0.9", b"POST /it http/1.1", b"POST /it HTTP/1.1 x",
        b" POST /it HTTP/1.1", b"\x00POST /it HTTP/1.1", b"POST /i\x00t HTTP/1.1", b"POST /it\x0b HTTP/1.1",
        b"POST /it HTTP/1,1", b"POST /it HTTP/01.1", b"POST /it HTTP/1.10", b"POST /it HTTP/+1.1",
        b"PO ST /it HTTP/1.1",
        b"P(ST /it HTTP/1.1", b"POST\x00 /it HTTP/1.1", b"POST it HTTP/1.1", b"POST \\it HTTP/1.1", b"POST * HTTP/1.1",
        b"POST /it HTTP/1.1\rx: y", b"POST /it\rHTTP/1.1", b"PRI * HTTP/2.0", b"POST /it\x7f HTTP/1.1",
        b"POST  HTTP/1.1",
        b"CONNECT localhost:443 HTTP/1.1", b"CONNECT /it HTTP/1.1", b"POST /../it HTTP/1.1",
        b"POST /a/../../it HTTP/1.1",
        b"POST /%2e%2e/it HTTP/1.1", b"POST /it%00 HTTP/1.1", b"POST /a%2fit HTTP/1.1", b"POST //[/it HTTP/1.1",
        b"POST localhost:443 HTTP/1.1", b"POST ?it HTTP/1.1", b"POST #it HTTP/1.1", b"POST http:///it HTTP/1.1",
        b"POST https://user@evil/it HTTP/1.1", b"POST https://a b/it HTTP/1.1", b"POST https://evil:x/it HTTP/1.1",
    ):  # fmt: skip
        yield Case("request line", post(LENGTH, HIDDEN, line + b"\r\n"))
    for line in (
        b"POST https://evil.example/it HTTP/1.1", b"POST http://evil.example/it HTTP/1.1",
        b"POST HTTPS://localhost/it HTTP/1.1",
        b"POST ftp://localhost/it HTTP/1.1", b"POST //evil.example/it HTTP/1.1", b"POST /it#fragment HTTP/1.1",
        b"POST /it?a=\xff HTTP/1.1", b"POST /it;a=b?c HTTP/1.1", b"M-POST /it HTTP/1.1", b"post /it HTTP/1.1",
        b"POST /it?%0d%0aGET%20/other HTTP/1.1", b"POST /it%0d%0ax:y HTTP/1.1", b"\r\n\r\nPOST /it HTTP/1.1",
        b"POST /it?a b HTTP/1.1",
    ):  # fmt: skip
        yield Case("request line, harmless", post(LENGTH, HIDDEN, line + b"\r\n"))
    for version in (b"1.0", b"1.1"):
        start = b"POST /it HTTP/%b\r\n" % version
        yield Case("version", post(b"connection: keep-alive\r\n" + CHUNKED, in_chunks(HIDDEN), start))
        yield Case("version", post(b"connection: keep-alive\r\n" + CHUNKED + LENGTH, in_chunks(HIDDEN), start))


def hosts() -> Iterator[Case]:
    for host in (
        b"", b"host: a\r\nhost: b\r\n", b"host: localhost\r\nhost: localhost\r\n", b"host: a, b\r\n", b"host: a b\r\n",
        b"host: a/b\r\n", b"host: user@a\r\n", b"host: a:b\r\n", b"host: a:99999\r\n", b"host: [::1\r\n",
        b"host: a\x00b\r\n",
        b"host: a\tb\r\n", b"host: \xff\r\n", b"host: a\r\n b\r\n", b"host: a?b\r\n", b"host: a#b\r\n",
        b"host: <a>\r\n",
        b"host: a:\r\nhost: b\r\n", b"host: a%20b\r\n", b"host: a\\b\r\n", b"host: localhost\x0b\r\n",
    ):  # fmt: skip
        yield Case("host", post(LENGTH, HIDDEN, host=host))
    for host in (
        b"host: \r\n",
        b"host: LOCALHOST\r\n",
        b"host: localhost:1\r\n",
        b"host: [::1]:1\r\n",
        b"Host:localhost\r\n",
    ):
        yield Case("host, harmless", post(LENGTH, HIDDEN, host=host))


def connections() -> Iterator[Case]:
    for names in (
        b"content-length", b"transfer-encoding", b"host", b"close, content-length", b"keep-alive, Content-Length",
        b"x-forwarded-for", b"forwarded", b"via", b"te", b"upgrade", b"cookie", b"expect", b"trailer", b"connection",
        b",,,",
        b"\x80", b"content-length\tclose", b'"content-length"',
    ):  # fmt: skip
        line = b"connection: %b\r\n" % names
        yield Case("connection, harmless", post(line + LENGTH, HIDDEN))
        yield Case("connection, harmless", post(line + CHUNKED, in_chunks(HIDDEN)))


def methods() -> Iterator[Case]:
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"PUT", b"PATCH", b"QUERY"):
        start = method + b" /it HTTP/1.1\r\n"
        yield Case("method, harmless", post(LENGTH, HIDDEN, start))
        yield Case("method, harmless", post(CHUNKED, in_chunks(HIDDEN), start))
    for line in (
        b"expect: 100-continue\r\n",
        b"expect: 100-continue, x\r\n",
        b"expect: something\r\n",
        b"expect: \r\n",
    ):
        yield Case("expect, harmless", post(line + LENGTH, HIDDEN))
    for line in (
        b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        b"connection: upgrade\r\nupgrade: TLS/1.0\r\n", b"connection: upgrade\r\nupgrade: websocket\r\n",
    ):  # fmt: skip
        yield Case("upgrade, harmless", post(line + LENGTH, HIDDEN, b"GET /it HTTP/1.1\r\n"))
        yield Case("upgrade, harmless", post(line + CHUNKED, in_chunks(HIDDEN)))


FAMILIES = (
    lengths,
    codings,
    coding_and_length,
    disguises,
    line_ends,
    chunks,
    fields,
    request_lines,
    hosts,
    connections,
    methods,
)
CASES = [case for family in FAMILIES for case in family()]


HEADS: list[list[tuple[str, str]]] = [
    [("transfer-encoding", "chunked")],
    [("Transfer-Encoding", "chunked")],
    [("transfer-encoding", "identity")],
    [("connection", "close")],
    [("connection", "content-length")],
    [("keep-alive", "1")],
    [("proxy-connection", "close")],
    [("upgrade", "websocket")],
    [("content-length", "3")],
    [("content-length", "0")],
    [("content-length", "41"), ("content-length", "42")],
    [("content-length", "41, 42")],
    [("content-length", "+41")],
    [("content-length", "x")],
    [("content-length", "99999999999999999999999")],
    [("X-Upper", "1")],
    [("x y", "1")],
    [("x:y", "1")],
    [("x\r\ny", "1")],
    [("x\ny", "1")],
    [("x\x00y", "1")],
    [("", "1")],
    [("x", "a\r\nhost: evil")],
    [("x", "a\r\n\r\nGET /hidden HTTP/1.1\r\nhost: localhost\r\n\r\n")],
    [("x", "a\nb")],
    [("x", "a\rb")],
    [("x", "a\x00b")],
    [(":path", "/other")],
    [(":method", "GET")],
    [(":unknown", "1")],
    [("x", "1"), (":scheme", "https")],
    [("host", "evil.example")],
    [("host", "a"), ("host", "b")],
    [("te", "gzip, chunked")],
]
"""Behind the pseudo-header fields."""

PSEUDO: list[dict[str, str]] = [
    {":path": "/it HTTP/1.1\r\nhost: evil\r\n\r\nGET /hidden"},
    {":path": "/it\r\nx: y"},
    {":path": "/it HTTP/1.1"},
    {":path": "/it\x00"},
    {":path": "it"},
    {":path": ""},
    {":path": "*"},
    {":path": "https://evil/it"},
    {":path": "/it#fragment"},
    {":method": "POST /hidden HTTP/1.1\r\nhost: a\r\n\r\nGET"},
    {":method": "PO ST"},
    {":method": ""},
    {":method": "POST\r\n"},
    {":method": "CONNECT"},
    {":scheme": "http"},
    {":scheme": "https://evil/"},
    {":scheme": "ftp"},
    {":scheme": ""},
    {":authority": ""},
    {":authority": "a b"},
    {":authority": "a\r\nx: y"},
    {":authority": "user@a"},
    {":authority": "a/b"},
    {":authority": "a:b"},
    {":authority": "evil, localhost"},
]
"""Instead of the usual ones."""


def heads(first: int = 0) -> Iterator[list[tuple[str, str]]]:
    """Heads of requests over HTTP/2 and HTTP/3, with all pseudo-header fields; paths are numbered from `first`."""
    usual = {":method": "POST", ":scheme": "https", ":authority": "localhost", ":path": "/it"}
    for number, more in enumerate(HEADS, first):
        yield [*(usual | {":path": f"/it{number:04}"}).items(), *more]
    for number, other in enumerate(PSEUDO, first + len(HEADS)):
        named = {name: value.replace("/it", f"/it{number:04}") for name, value in other.items()}
        yield list((usual | {":path": f"/it{number:04}"} | named).items())
    for number, name in enumerate(usual, first + len(HEADS) + len(PSEUDO)):
        yield [pair for pair in (usual | {":path": f"/it{number:04}"}).items() if pair[0] != name]
