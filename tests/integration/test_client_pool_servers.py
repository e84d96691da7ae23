"""The pool of client connections against servers that do what a server should not, or that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from support import certificates
from support.backend import Backend, Exchange
from support.dns import Dns
from support.h2c import H2c
from support.http3_server import Http3Server
from velocity._core import Pool
from velocity.errors import ConnectError, VelocityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

H1 = ("http/1.1",)


def code(call: Callable[[], object]) -> str:
    """The code of the error that a call ends with."""
    with pytest.raises(VelocityError) as caught:
        call()
    return caught.value.code


def get(pool: Pool, url: str, **options: Any) -> bytes:
    return pool.send("GET", url, [], **options).read_all()


def test_connections_are_kept_up_to_a_limit() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await exchange.answer(b"slow")

    with Backend({"/slow": slow}) as backend:
        pool = Pool(max_connections=5, max_keepalive=2)
        threads = [threading.Thread(target=get, args=(pool, f"{backend.url}/slow")) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(backend.of("/slow")) == 10
        assert backend.connections == 5
        assert pool.connections == {"open": 2, "idle": 2}
        for _ in range(20):
            assert get(pool, f"{backend.url}/") == b"hello\n"
        assert backend.connections == 5


def test_a_place_is_waited_for_and_not_for_ever() -> None:
    with Backend() as one, Backend() as other:
        pool = Pool(max_connections=1)
        held = pool.send("GET", f"{one.url}/", [], prefetch=0)
        assert code(lambda: get(pool, f"{other.url}/", pool_timeout=0.1)) == "POOL_TIMEOUT"
        held.read_all()
        # What idles elsewhere makes room.
        assert get(pool, f"{other.url}/", pool_timeout=1.0) == b"hello\n"
        assert pool.connections == {"open": 1, "idle": 1}


def test_what_idles_too_long_goes() -> None:
    with Backend() as backend:
        pool = Pool(keepalive=0.1)
        assert get(pool, f"{backend.url}/") == b"hello\n"
        deadline = time.monotonic() + 10
        while pool.connections["open"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert get(pool, f"{backend.url}/") == b"hello\n"
        assert backend.connections == 2


def test_a_connection_that_died_meanwhile_is_replaced() -> None:
    async def last(exchange: Exchange) -> None:
        await exchange.answer(b"last")
        exchange.close()

    async def dies(exchange: Exchange) -> None:
        if len(backend.of("/dies")) == 1:
            exchange.reset()
        else:
            await exchange.answer(b"alive")

    with Backend({"/last": last, "/dies": dies}) as backend:
        pool = Pool()
        for _ in range(10):
            assert get(pool, f"{backend.url}/last") == b"last"
        # It dies with the request, which is safe to be sent again.
        assert get(pool, f"{backend.url}/") == b"hello\n"
        assert get(pool, f"{backend.url}/dies") == b"alive"
        assert len(backend.of("/dies")) == 2


def test_what_is_not_idempotent_is_sent_once() -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.read()
        exchange.reset()

    with Backend({"/dies": dies}) as backend:
        pool = Pool()
        assert get(pool, f"{backend.url}/") == b"hello\n"
        assert code(lambda: pool.send("POST", f"{backend.url}/dies", [], b"x")) == "CONNECTION_LOST"
        assert len(backend.of("/dies")) == 1


ANSWERS = {
    "nonsense": (b"nonsense\r\n\r\n", "PROTOCOL_ERROR"),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "PROTOCOL_ERROR"),
    "a coding nobody knows": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nab", "PROTOCOL_ERROR"),
    "a large head": (b"HTTP/1.1 200 OK\r\na: " + b"x" * 200_000 + b"\r\n\r\n", "HEADERS_TOO_LARGE"),
    "many fields": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n", "HEADERS_TOO_LARGE"),
    "nothing": (b"", "CONNECTION_LOST"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-", "CONNECTION_LOST"),
}
BODIES = {
    "short": (b"content-length: 10\r\n\r\nabc", "BODY_TRUNCATED"),
    "no last chunk": (b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "BODY_TRUNCATED"),
    "no chunk": (b"transfer-encoding: chunked\r\n\r\nxyz\r\n", "PROTOCOL_ERROR"),
}


def says(data: bytes) -> Callable[[Exchange], Any]:
    async def script(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.send(data)
        exchange.close()

    return script


@pytest.mark.parametrize("name", ANSWERS)
def test_heads_that_are_none(name: str) -> None:
    data, expected = ANSWERS[name]
    with Backend({"/": says(data)}) as backend:
        assert code(lambda: Pool().send("POST", f"{backend.url}/", [])) == expected


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("prefetch", [0, 65536])
def test_bodies_that_break_off(name: str, prefetch: int) -> None:
    data, expected = BODIES[name]
    with Backend({"/": says(b"HTTP/1.1 200 OK\r\n" + data)}) as backend:
        exchange = Pool().send("GET", f"{backend.url}/", [], prefetch=prefetch)
        assert exchange.status == 200
        assert code(exchange.read_all) == expected


def test_interim_answers_and_trailers() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.head("link: </a>", status=103)
        await exchange.head("transfer-encoding: chunked", "x-latin: \xe9")
        await exchange.chunk(b"abc")
        await exchange.send(b"0\r\nx-sum: 1\r\n\r\n")

    with Backend({"/": script}) as backend:
        pool = Pool()
        for _ in range(2):
            exchange = pool.send("GET", f"{backend.url}/", [])
            assert (exchange.status, exchange.read_all()) == (200, b"abc")
            assert ("x-latin", "\xe9") in exchange.headers
            assert exchange.trailers == [("x-sum", "1")]
        assert backend.connections == 1


def test_what_takes_too_long() -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.wait_gone(5)

    async def stalls(exchange: Exchange) -> None:
        await exchange.head("content-length: 10")
        await exchange.send(b"abc")
        await exchange.wait_gone(5)

    async def deaf(exchange: Exchange) -> None:
        await asyncio.sleep(1)
        exchange.reset()

    with Backend({"/silent": silent, "/stalls": stalls, "/deaf": deaf}) as backend:
        pool = Pool()
        assert code(lambda: get(pool, f"{backend.url}/silent", read_timeout=0.2)) == "READ_TIMEOUT"
        assert code(lambda: get(pool, f"{backend.url}/stalls", read_timeout=0.2)) == "READ_TIMEOUT"
        large = bytes(64 << 20)
        send = pool.send
        assert code(lambda: send("POST", f"{backend.url}/deaf", [], large, write_timeout=0.3)) == "WRITE_TIMEOUT"


def test_nobody_is_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert code(lambda: get(Pool(), f"http://127.0.0.1:{port}/")) == "CONNECT_FAILED"
    assert code(lambda: get(Pool(insecure=True), f"https://127.0.0.1:{port}/")) == "CONNECT_FAILED"
    assert code(lambda: get(Pool(), "http://nowhere.invalid/")) == "RESOLVE_FAILED"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        begun = time.monotonic()
        assert code(lambda: get(Pool(insecure=True), url, connect_timeout=0.5)) == "CONNECT_TIMEOUT"
        assert time.monotonic() - begun < 3


def test_bodies_are_written_piece_by_piece() -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.answer(bytes(await exchange.read()))

    with Backend({"/echo": echo}) as backend:
        pool = Pool()
        exchange = pool.send("POST", f"{backend.url}/echo", [], streaming=True)
        assert exchange.status == 0
        assert [exchange.write(piece) for piece in (b"ab", b"", b"cd")] == [True, True, True]
        exchange.finish()
        exchange.wait()
        assert (exchange.status, exchange.read_all()) == (200, b"abcd")
        assert backend.requests[-1].get("transfer-encoding") == "chunked"
        exchange = pool.send("POST", f"{backend.url}/echo", [], streaming=True, length=3)
        exchange.write(b"abc")
        exchange.finish()
        exchange.wait()
        assert exchange.read_all() == b"abc"
        assert backend.requests[-1].get("content-length") == "3"

        async def run() -> bytes:
            exchange = await pool.start("POST", f"{backend.url}/echo", [], streaming=True)
            for _ in range(100):
                assert await exchange.awrite(b"x" * 1000)
            exchange.finish()
            await exchange.await_head()
            return await exchange.aread_all()

        assert asyncio.run(run()) == b"x" * 100_000


def test_a_writer_that_is_too_fast_waits() -> None:
    """Memory for what the server does not take is bounded, and so is the wait."""

    async def deaf(exchange: Exchange) -> None:
        await asyncio.sleep(1)
        exchange.reset()

    with Backend({"/deaf": deaf}) as backend:
        exchange = Pool().send("POST", f"{backend.url}/deaf", [], streaming=True, write_timeout=0.3)
        piece = bytes(1 << 20)

        def write() -> None:
            for _ in range(100):
                exchange.write(piece)

        assert code(write) == "WRITE_TIMEOUT"
        exchange.close()


def test_a_body_that_is_not_wanted_ends_early() -> None:
    async def refuses(exchange: Exchange) -> None:
        await exchange.head("content-length: 0", "connection: close", status=413)
        exchange.close()

    with Backend({"/": refuses}) as backend:
        exchange = Pool().send("POST", f"{backend.url}/", [], streaming=True)
        deadline = time.monotonic() + 10
        while exchange.write(bytes(100_000)):
            assert time.monotonic() < deadline
        exchange.wait()
        assert exchange.status == 413


def test_a_redirected_connection_and_our_fields() -> None:
    with Backend() as backend:
        pool = Pool(resolve={("shop.example", 80): ("127.0.0.1", backend.port)})
        fields = [("X-Twice", "1"), ("X-Twice", "2"), ("connection", "close"), ("content-length", "7")]
        pool.send("GET", "http://shop.example/a?b=c", fields).read_all()
        request = backend.requests[0]
        assert request.target == "/a?b=c"
        assert request.get("host") == "shop.example"
        assert request.get("x-twice") == "1, 2"
        assert request.get("connection") is None
        assert request.get("content-length") is None
        assert (request.get("user-agent") or "").startswith("velocity/")
        pool.send("GET", "http://shop.example/", [("host", "other.example")]).read_all()
        assert backend.requests[1].get("host") == "other.example"


@pytest.fixture
def h2c() -> Iterator[H2c]:
    with H2c() as server:
        yield server


def test_http2_without_tls(h2c: H2c) -> None:
    url = f"http://127.0.0.1:{h2c.port}"
    pool = Pool(protocols=["h2"])
    for _ in range(3):
        assert get(pool, f"{url}/") == b"hello"
    exchange = pool.send("POST", f"{url}/echo", [], b"x" * 50_000)
    assert (exchange.read_all(), exchange.trailers) == (b"x" * 50_000, [("x-length", "50000")])
    assert h2c.requests[-1]["content-length"] == "50000"
    assert h2c.connections == 1
    assert code(lambda: get(pool, f"{url}/half")) == "BODY_TRUNCATED"
    assert code(lambda: get(pool, f"{url}/cancelled")) == "STREAM_RESET"
    assert code(lambda: get(pool, f"{url}/silent", read_timeout=0.2)) == "READ_TIMEOUT"
    assert h2c.connections == 1


def test_what_http2_refused_is_sent_again(h2c: H2c) -> None:
    url = f"http://127.0.0.1:{h2c.port}"
    pool = Pool(protocols=["h2"])
    assert code(lambda: pool.send("POST", f"{url}/refused", [], b"x")) == "STREAM_RESET"
    assert [request[":path"] for request in h2c.requests].count("/refused") > 1
    assert get(pool, f"{url}/goaway") == b"bye"
    assert get(pool, f"{url}/") == b"hello"
    assert h2c.connections == 2


def test_a_connection_that_takes_no_more_is_left_alone(h2c: H2c) -> None:
    """RFC 9113 section 6.8: it stays open for what is under way."""
    url = f"http://127.0.0.1:{h2c.port}"
    pool = Pool(protocols=["h2"])

    async def get(path: str) -> bytes:
        return await (await pool.start("GET", f"{url}{path}", [])).aread_all()

    async def run() -> None:
        under_way = asyncio.create_task(get("/silent"))
        await asyncio.sleep(0.2)
        assert await get("/goaway") == b"bye"
        assert await get("/") == b"hello"
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)

    asyncio.run(run())
    assert h2c.connections == 2


def test_an_exchange_that_is_closed_resets_its_stream(h2c: H2c) -> None:
    pool = Pool(protocols=["h2"])

    async def run() -> None:
        task = asyncio.ensure_future(pool.start("GET", f"http://127.0.0.1:{h2c.port}/silent", []))
        await asyncio.sleep(0.2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    deadline = time.monotonic() + 5
    while "/silent" not in h2c.reset:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_http3_of_aioquic(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_bytes(b"small\n")
    pair = certificates.make(tmp_path / "pair")
    with Http3Server(tmp_path, pair) as server:
        pool = Pool(protocols=["h3"], ca_file=str(pair.cert))
        url = f"https://localhost:{server.port}"
        for _ in range(200):
            assert get(pool, f"{url}/small.txt") == b"small\n"
        assert code(lambda: get(pool, f"{url}/cancelled")) == "STREAM_RESET"
        assert code(lambda: get(pool, f"{url}/rejected")) == "STREAM_RESET"
        assert code(lambda: get(pool, f"{url}/never", read_timeout=0.2)) == "READ_TIMEOUT"
        assert pool.connections["open"] == 1


def test_tls_of_the_standard_library(tmp_path: Path) -> None:
    """Where there is no QUIC, TCP is taken, and one learns why it is not `velocity/1`."""
    pair = certificates.make(tmp_path)
    with Backend(tls=pair.server_context("http/1.1")) as backend:
        pool = Pool(ca_file=str(pair.cert), protocols=["h3", "h2", "http/1.1"])
        for _ in range(3):
            exchange = pool.send("GET", f"https://localhost:{backend.port}/", [])
            assert (exchange.version, exchange.read_all()) == ("HTTP/1.1", b"hello\n")
        assert exchange.negotiated["alpn"] == "http/1.1"
        assert backend.connections == 1
        pool = Pool(insecure=True)
        exchange = pool.send("GET", f"https://localhost:{backend.port}/", [])
        assert exchange.negotiated["fallback"] == "CONNECT_FAILED"
        with pytest.raises(ConnectError):
            Pool(insecure=True, fallback="never").send("GET", f"https://localhost:{backend.port}/", [])


def test_sessions_of_openssl_are_resumed(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)

    async def last(exchange: Exchange) -> None:
        await exchange.answer(b"x", fields=(("connection", "close"),))
        exchange.close()

    with Backend({"/": last}, tls=pair.server_context("http/1.1")) as backend:
        pool = Pool(ca_file=str(pair.cert), protocols=["http/1.1"])
        resumed = []
        for _ in range(3):
            exchange = pool.send("GET", f"https://localhost:{backend.port}/", [])
            exchange.read_all()
            resumed.append(exchange.negotiated["resumed"])
        assert resumed == [False, True, True]
        assert exchange.negotiated["verified"] is True


class Proxy:
    """An HTTP proxy that connects everybody to one port, or refuses."""

    def __init__(self, port: int, status: int = 200) -> None:
        self.heads: list[bytes] = []
        self._port, self._status = port, status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head)
            if not head.startswith(b"CONNECT"):
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy")
                return
            client.sendall(b"HTTP/1.1 %d Whatever\r\n\r\n" % self._status)
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_through_a_proxy(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    with Backend(tls=pair.server_context("http/1.1")) as backend, Proxy(backend.port) as proxy:
        pool = Pool(ca_file=str(pair.cert), proxy=f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        for _ in range(2):
            exchange = pool.send("GET", "https://localhost:1234/a", [])
            assert exchange.read_all() == b"hello\n"
        assert exchange.negotiated["proxy"] is True
        assert backend.connections == 1
        assert proxy.heads[0].startswith(b"CONNECT localhost:1234 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[0]
        assert b"authorization" not in backend.requests[0].raw.lower()
        assert get(pool, "http://shop.example:81/a?b") == b"proxy"
        assert proxy.heads[1].startswith(b"GET http://shop.example:81/a?b HTTP/1.1\r\n")
        assert b"proxy-authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[1]


def test_a_proxy_that_refuses(tmp_path: Path) -> None:
    with Proxy(0, status=407) as proxy:
        pool = Pool(insecure=True, proxy=f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectError) as caught:
            get(pool, "https://localhost/")
        assert (caught.value.code, caught.value.details["status"]) == ("PROXY_FAILED", "407")


def test_alternatives_are_remembered(tmp_path: Path) -> None:
    """RFC 7838: HTTP/3 is elsewhere, as the origin says over TCP."""
    pair = certificates.make(tmp_path / "pair")
    (tmp_path / "index.txt").write_bytes(b"over there\n")
    with Http3Server(tmp_path, pair) as there:

        async def says_so(exchange: Exchange) -> None:
            await exchange.answer(
                b"here\n", fields=(("alt-svc", f'h3=":{there.port}"; ma=60'), ("connection", "close"))
            )
            exchange.close()

        with Backend({"/index.txt": says_so}, tls=pair.server_context("http/1.1")) as here:
            options: dict[str, Any] = {"ca_file": str(pair.cert), "state_dir": str(tmp_path / "state")}
            url = f"https://localhost:{here.port}/index.txt"
            tcp = Pool(protocols=["http/1.1"], **options)
            assert get(tcp, url) == b"here\n"
            tcp.close()
            # On a machine that is busy, TCP may be faster all the same.
            raced = [get(Pool(protocols=["h3", "http/1.1"], **options), url) for _ in range(5)]
            assert b"over there\n" in raced
            assert get(Pool(protocols=["h3", "http/1.1"], discover=False, **options), url) == b"here\n"


def test_records_are_heeded(tmp_path: Path) -> None:
    """RFC 9460: DNS says where HTTP/3 is, or that there is none."""
    pair = certificates.make(tmp_path / "pair")
    (tmp_path / "index.txt").write_bytes(b"over there\n")
    with Http3Server(tmp_path, pair) as there, Dns() as dns:
        options: dict[str, Any] = {
            "ca_file": str(pair.cert),
            "server_name": "localhost",
            "resolver": dns.address,
            "resolve": {("shop.test", 8443): ("127.0.0.1", there.port)},
        }
        dns.origins["shop.test"] = "1 . alpn=h3 port=8443"
        assert get(Pool(protocols=["h3"], **options), "https://shop.test/index.txt") == b"over there\n"
        dns.origins["shop.test"] = "1 . alpn=h2"
        assert code(lambda: get(Pool(protocols=["h3"], **options), "https://shop.test/index.txt")) == "ALPN_REQUIRED"
