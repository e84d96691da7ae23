"""What a peer may make the server hold, and for how long: sessions, heads, bodies, silence and nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support import http3
from support.backend import Backend, Exchange
from support.clients import PROTOCOLS, Protocol, ask
from support.front import proxy, serve
from support.http1 import Http1, connect, exchange
from support.http2 import Http2
from support.server import Server
from support.site import INDEX, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Pair

PATIENCE = 45.0
"""Longest that any silence may be tolerated, in seconds: no timeout by default is beyond this."""


@pytest.fixture
def own_server(fresh_site: Site) -> Iterator[Server]:
    with Server(fresh_site.root) as running:
        yield running


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_alt_svc_names_h3_on_this_port(server: Server, protocol: Protocol) -> None:
    value = ask(protocol, server.port, "/")["alt-svc"]
    assert re.search(rf'(^|,\s*)h3=":{server.port}"', value), value


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1", "h2"]])
def test_server_prefers_h2(server: Server, offered: list[str]) -> None:
    with connect(server.port, *offered) as stream:
        assert stream.selected_alpn_protocol() == "h2"


def test_unknown_alpn_is_refused(server: Server) -> None:
    with pytest.raises(ssl.SSLError):
        connect(server.port, "spdy/3").close()


def test_no_old_tls(server: Server) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", server.port), 5) as raw,
        pytest.raises(OSError, match=r"(?i)alert|reset|eof"),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_max_sessions(fresh_site: Site) -> None:
    """The limit counts TCP and QUIC together, and a place is free again once its connection has gone."""

    async def three_more(server: Server) -> None:
        async with http3.Http3.open(server.port) as first, http3.Http3.open(server.port):
            assert (await first.ask("/")).status == 200
            with pytest.raises((ConnectionError, TimeoutError)):
                async with asyncio.timeout(3), http3.Http3.open(server.port) as third:
                    await third.ask("/")

    with Server(fresh_site.root, "--max-sessions", "4") as running:
        with Http1(running.port) as one, Http2(running.port) as two:
            assert one.ask("/").status == 200
            assert two.ask("/").status == 200
            http3.run(three_more(running))
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ask("http/1.1", running.port, "/").body == INDEX
                break
            except OSError:
                assert time.monotonic() < deadline, "places of closed connections do not come back"
                time.sleep(0.1)


def test_many_connections_and_streams_at_once(server: Server, site: Site) -> None:
    def http1() -> None:
        with Http1(server.port) as connection:
            for _ in range(20):
                assert connection.ask("/data.bin").body == site.binary

    def http2() -> None:
        with Http2(server.port) as connection:
            streams = [connection.send("/data.bin" if n % 4 == 0 else "/hello.txt") for n in range(80)]
            connection.finish(streams)
            for n, stream in enumerate(streams):
                assert connection.answers[stream].body == (site.binary if n % 4 == 0 else b"hello\n")

    def quic() -> None:
        async def conversation() -> None:
            async with http3.Http3.open(server.port) as connection:
                streams = [connection.send("/hello.txt") for _ in range(80)]
                await connection.finish(*streams)
                assert all(connection.answers[stream].body == b"hello\n" for stream in streams)

        http3.run(conversation())

    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(http1) for _ in range(8)] + [pool.submit(http2) for _ in range(4)]
        jobs += [pool.submit(quic) for _ in range(4)]
        for job in jobs:
            job.result(timeout=120)


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    paths = ("/nothing", "/hello.txt", "/empty.txt", "/")
    requests = "".join(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n" for path in paths)
    last = "GET /data.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    got = exchange(server.port, (requests + last).encode())
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"404", *[b"200"] * 4]
    assert got.index(b"hello") < got.index(INDEX) < got.index(b'"answer"')


# RFC 9112 section 11.2: two readings of one message are how requests are smuggled.
@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked\r\ncontent-length: 5",
        b"content-length: 5\r\ncontent-length: 6",
        b"content-length: 5, 6",
        b"content-length: +5",
        b"content-length: -1",
        b"content-length: 0x5",
        b"content-length: 99999999999999999999",
        b"transfer-encoding: chunked, identity",
        b"transfer-encoding: xchunked",
        b"transfer-encoding : chunked",
        b"x: 1\r\n folded: 2",
        b"x\x00y: 1",
        b"x: a\x00b",
        b"no colon here",
        b": empty",
    ],
)
def test_ambiguous_requests_are_refused(server: Server, head: bytes) -> None:
    smuggled = b"0\r\n\r\nGET /hello.txt HTTP/1.1\r\nhost: localhost\r\n\r\n"
    got = exchange(server.port, b"POST / HTTP/1.1\r\nhost: localhost\r\n" + head + b"\r\n\r\n" + smuggled)
    assert got.startswith(b"HTTP/1.1 4") or got == b"", got
    assert got.count(b"HTTP/1.1 ") <= 1, "the rest was read as a second request"
    assert b"hello\n" not in got


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n",
        b"GET / HTTP/1.1\r\nhost: a/b\r\n",
    ],
    ids=["none", "two", "not one"],
)
def test_host_is_required_once(server: Server, start: bytes) -> None:
    """RFC 9112 section 3.2."""
    assert exchange(server.port, start + b"connection: close\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_huge_head_over_http1(own_server: Server) -> None:
    before = own_server.memory()
    data = b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: " + b"a" * (4 << 20) + b"\r\n\r\n"
    got = exchange(own_server.port, data)
    assert got == b"" or got.split()[1] in (b"431", b"400"), got
    many = b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 100_000 + b"\r\n"
    got = exchange(own_server.port, many)
    assert got == b"" or got.split()[1] in (b"431", b"400"), got
    assert own_server.memory() - before < 32 << 20
    assert ask("http/1.1", own_server.port, "/").status == 200


def test_long_request_target(server: Server) -> None:
    got = exchange(server.port, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert got == b"" or got.split()[1] in (b"414", b"431", b"400", b"404"), got[:200]


def test_huge_head_over_http2(own_server: Server) -> None:
    with contextlib.suppress(OSError), Http2(own_server.port) as connection:
        stream = connection.send("/", fields=[(f"x-{n}", "a" * 10_000) for n in range(200)])
        connection.finish([stream])
        assert stream in connection.reset or connection.answers[stream].status in (400, 431)
    assert ask("h2", own_server.port, "/").status == 200


def test_huge_head_over_http3(own_server: Server) -> None:
    before = own_server.memory()
    with contextlib.suppress(ConnectionError, TimeoutError):
        fields = [(f"x-{n}", "a" * 10_000) for n in range(400)]
        answer = http3.ask(own_server.port, "/", fields=fields, library="aioquic", timeout=10)
        assert answer.status in (400, 431)
    assert own_server.memory() - before < 32 << 20
    assert ask("h3", own_server.port, "/").status == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_request_body_nobody_wants_is_bounded(own_server: Server, protocol: Protocol) -> None:
    """A static site takes no bodies; one must neither fill memory nor hang the connection."""
    if protocol == "http/1.1":
        before = own_server.memory()
        head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 268435456\r\n\r\n"
        got = exchange(own_server.port, head + b"a" * (64 << 20))
        # Whoever is still sending when the connection closes may lose the answer to a reset.
        assert got == b"" or got.split()[1] in (b"405", b"413")
        assert own_server.memory() - before < 32 << 20
    assert ask(protocol, own_server.port, "/", "POST").status == 405
    assert ask(protocol, own_server.port, "/").status == 200


def test_nonsense_over_udp(own_server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", own_server.port))
        for size in (0, 1, 20, 1200, 1452, 9000):
            for first in (0x00, 0x40, 0x80, 0xC0, 0xFF):
                with contextlib.suppress(ConnectionRefusedError):
                    udp.send(bytes([first]) * min(size, 1) + os.urandom(max(0, size - 1)))
    assert ask("h3", own_server.port, "/").body == INDEX


def test_unknown_quic_version_is_answered_with_ours(server: Server) -> None:
    """Version negotiation, RFC 9000 section 6."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        packet = bytes([0xC0]) + bytes.fromhex("1a2a3a4a") + b"\x08" + b"d" * 8 + b"\x08" + b"s" * 8
        udp.sendto(packet.ljust(1200, b"\0"), ("127.0.0.1", server.port))
        answer = udp.recv(2048)
    assert answer[1:5] == bytes(4)
    assert bytes.fromhex("00000001") in [answer[n : n + 4] for n in range(23, len(answer), 4)]


def test_nonsense_over_tcp(own_server: Server) -> None:
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + os.urandom(2000),
        os.urandom(5000),
        b"\x00" * 100,
    ):
        with socket.create_connection(("127.0.0.1", own_server.port), 5) as raw:
            raw.sendall(data)
            raw.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(4096):
                    pass
    assert ask("http/1.1", own_server.port, "/").body == INDEX


def test_nonsense_inside_http2(own_server: Server) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (
        b"not a preface at all, really not",
        preface + os.urandom(4096),
        preface + b"\xff\xff\xff\x00\x00" + bytes(4),
    ):
        with connect(own_server.port, "h2") as stream:
            stream.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                stream.sendall(data)
                while stream.recv(65536):
                    pass
    assert ask("h2", own_server.port, "/").body == INDEX


def test_rapid_reset_is_cut_off_or_survived(own_server: Server) -> None:
    """CVE-2023-44487: streams opened and reset at once must not pile up work."""
    before = own_server.memory()
    with contextlib.suppress(OSError, ConnectionError), Http2(own_server.port) as connection:
        for _ in range(5000):
            stream = connection.h2.get_next_available_stream_id()
            head = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/data.bin")]
            connection.h2.send_headers(stream, head, end_stream=True)
            connection.h2.reset_stream(stream)
            if stream % 101 == 0:
                connection.socket.sendall(connection.h2.data_to_send() or b"")
    assert own_server.memory() - before < 64 << 20
    assert ask("h2", own_server.port, "/").body == INDEX


def test_silence_is_not_tolerated_for_ever(own_server: Server) -> None:
    """Slowloris before the ClientHello, inside it, and inside a request head: all at once, to be quick."""
    silent = socket.create_connection(("127.0.0.1", own_server.port))
    partial_hello = socket.create_connection(("127.0.0.1", own_server.port))
    partial_hello.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    partial_head = connect(own_server.port)
    partial_head.sendall(b"GET / HTTP/1.1\r\nhost: local")
    dripping = connect(own_server.port)
    dripping.sendall(b"GET / HTTP/1.1\r\n")
    open_ones: dict[str, socket.socket] = {
        "silent": silent,
        "partial hello": partial_hello,
        "partial head": partial_head,
        "dripping head": dripping,
    }
    for stream in open_ones.values():
        stream.settimeout(0.25)
    deadline = time.monotonic() + PATIENCE
    while open_ones and time.monotonic() < deadline:
        if "dripping head" in open_ones:
            with contextlib.suppress(OSError):
                dripping.sendall(b"x: y\r\n")
        for name, stream in list(open_ones.items()):
            try:
                while stream.recv(4096):
                    pass
            except TimeoutError:
                continue
            except OSError:
                pass
            stream.close()
            del open_ones[name]
    assert not open_ones, f"still open after {PATIENCE:.0f} s: {', '.join(open_ones)}"
    assert ask("http/1.1", own_server.port, "/").body == INDEX


async def much_later(exchange: Exchange) -> None:
    await asyncio.sleep(2.5)
    await exchange.answer(b"at last")


def test_who_waits_over_http2_is_asked_whether_he_is_there(pair: Pair) -> None:
    """RFC 9113 section 6.7. After two idle timeouts without a word the request is given up, at the upstream as well."""
    with (
        Backend({"/there": much_later, "/gone": much_later}) as backend,
        serve(pair, {"/": proxy(backend.url)}, limits={"idle_timeout_ms": 500}) as engine,
        Http2(engine.port) as there,
        Http2(engine.port) as gone,
    ):
        gone.send("/gone")
        assert there.ask("/there").body == b"at last", "whoever answers may wait for longer than he may idle"
        deadline = time.monotonic() + 10
        while gone.socket.recv(65_536):
            assert time.monotonic() < deadline, "nobody has noticed"
        assert ask("h2", engine.port, "/there").body == b"at last"


def test_nothing_is_leaked_by_connections_that_fail(own_server: Server) -> None:
    ask("http/1.1", own_server.port, "/")
    before = own_server.open_files()
    for _ in range(200):
        socket.create_connection(("127.0.0.1", own_server.port)).close()
    for _ in range(50):
        with Http1(own_server.port) as connection:
            connection.send("GET", "/data.bin")
    deadline = time.monotonic() + 10
    while own_server.open_files() > before + 2:
        assert time.monotonic() < deadline, "descriptors of gone connections are kept"
        time.sleep(0.1)
