"""The pool of client connections against the product's own server: every protocol, kept and shared."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.server import check_talk
from velocity._core import Exchange, Pool
from velocity.errors import ConfigError, ConnectError, RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from support.server import Server
    from support.site import Site
    from velocity.client.connect import Protocol

PROTOCOLS: tuple[Protocol, ...] = ("velocity/1", "h3", "h2", "http/1.1")
VERSIONS = {"velocity/1": "HTTP/3", "h3": "HTTP/3", "h2": "HTTP/2", "http/1.1": "HTTP/1.1"}

each = pytest.mark.parametrize("protocol", PROTOCOLS)


def pool(server: Server, *protocols: Protocol, **options: Any) -> Pool:
    return Pool(protocols=protocols or PROTOCOLS, ca_file=str(server.trust), **options)


def get(pool: Pool, url: str, **options: Any) -> Exchange:
    return pool.send("GET", url, [], **options)


@each
def test_requests_share_one_connection(server: Server, protocol: Protocol) -> None:
    one = pool(server, protocol)
    for number in range(20):
        exchange = get(one, server.url("/hello.txt"))
        assert (exchange.status, exchange.reason, exchange.version) == (200, "OK", VERSIONS[protocol])
        assert dict(exchange.headers)["content-type"].startswith("text/plain")
        assert exchange.read_all() == b"hello\n"
        assert exchange.read() == b""
        assert exchange.negotiated["reused"] is (number > 0)
    assert one.connections == {"open": 1, "idle": 1}
    one.close()
    with pytest.raises(RequestError) as caught:
        get(one, server.url("/hello.txt"))
    assert caught.value.code == "POOL_CLOSED"


@each
def test_what_was_negotiated_is_told(server: Server, protocol: Protocol) -> None:
    facts = get(pool(server, protocol), server.url("/hello.txt")).negotiated
    assert facts["alpn"] == protocol
    assert facts["remote"].endswith(f":{server.port}")
    assert (facts["tls_version"], facts["group"], facts["verified"]) == ("TLSv1.3", "X25519MLKEM768", True)
    assert (facts["proxy"], facts["early_data"], facts["resumed"]) == (False, False, False)
    if protocol == "velocity/1":
        assert (facts["profile"], facts["fallback"]) == ("balanced", None)
    else:
        assert (facts["profile"], facts["fallback"]) == (None, "not_offered")


def test_the_strongest_protocol_wins(server: Server) -> None:
    assert get(pool(server), server.url("/hello.txt")).negotiated["alpn"] == "velocity/1"
    assert get(pool(server, "h3", "h2"), server.url("/hello.txt")).negotiated["alpn"] == "h3"


@each
def test_large_bodies_both_ways(server: Server, site: Site, protocol: Protocol) -> None:
    one = pool(server, protocol)
    assert get(one, server.url("/data.bin")).read_all() == site.binary
    exchange = get(one, server.url("/data.bin"), prefetch=0)
    pieces = list(iter(exchange.read, b""))
    assert b"".join(pieces) == site.binary
    assert len(pieces) > 1
    exchange = one.send("POST", server.url("/hello.txt"), [], bytes(1 << 20))
    assert exchange.status == 405
    assert get(one, server.url("/hello.txt")).read_all() == b"hello\n"


@each
def test_an_answer_that_is_not_wanted_leaves_the_pool_usable(server: Server, protocol: Protocol) -> None:
    one = pool(server, protocol, max_connections=1)
    for _ in range(150):
        exchange = get(one, server.url("/data.bin"), prefetch=0)
        exchange.close()
        with pytest.raises(RequestError):
            exchange.read()
    assert get(one, server.url("/hello.txt")).read_all() == b"hello\n"


@each
def test_a_body_above_the_limit_is_refused(server: Server, protocol: Protocol) -> None:
    one = pool(server, protocol)
    with pytest.raises(RequestError) as caught:
        get(one, server.url("/data.bin")).read_all(1000)
    assert caught.value.code == "BODY_TOO_LARGE"
    assert get(one, server.url("/hello.txt")).read_all(6) == b"hello\n"


@each
def test_threads_share_a_pool(server: Server, protocol: Protocol) -> None:
    one = pool(server, protocol, max_connections=4)
    got: list[bytes] = []

    def work() -> None:
        got.extend(get(one, server.url("/hello.txt")).read_all() for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == [b"hello\n"] * 200
    assert one.connections["open"] <= 4


@each
def test_an_event_loop_has_many_at_once(server: Server, site: Site, protocol: Protocol) -> None:
    one = pool(server, protocol, max_connections=8)

    async def fetch(path: str) -> bytes:
        exchange = await one.start("GET", server.url(path), [])
        return await exchange.aread_all()

    async def run() -> None:
        got = await asyncio.gather(*(fetch("/hello.txt") for _ in range(200)))
        assert got == [b"hello\n"] * 200
        assert await fetch("/data.bin") == site.binary
        exchange = await one.start("GET", server.url("/data.bin"), [], prefetch=0)
        pieces = []
        while piece := await exchange.aread():
            pieces.append(piece)
        assert b"".join(pieces) == site.binary

    for _ in range(2):
        asyncio.run(run())
    # The same pool serves threads as well.
    assert get(one, server.url("/hello.txt")).read_all() == b"hello\n"


@each
def test_a_task_that_is_cancelled_takes_its_request_along(server: Server, protocol: Protocol) -> None:
    one = pool(server, protocol, max_connections=2)

    async def run() -> None:
        async def request() -> None:
            exchange = await one.start("GET", server.url("/data.bin"), [], prefetch=0)
            while await exchange.aread():
                pass

        for _ in range(50):
            task = asyncio.create_task(request())
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            exchange = await one.start("GET", server.url("/hello.txt"), [])
            assert await exchange.aread_all() == b"hello\n"

    asyncio.run(run())


def test_a_stranger_is_refused(server: Server, tmp_path: Path) -> None:
    from support import certificates

    pair = certificates.make(tmp_path)
    for protocol in PROTOCOLS[1:]:
        with pytest.raises(ConnectError) as caught:
            get(Pool(protocols=[protocol], ca_file=str(pair.cert)), server.url("/hello.txt"))
        assert caught.value.code == "CERTIFICATE_INVALID", protocol
    with pytest.raises(ConnectError) as caught:
        get(Pool(protocols=["velocity/1"], ca_file=str(pair.cert)), server.url("/hello.txt"))
    assert caught.value.code == "CERT_PQ_VALIDATION_FAILED"
    assert get(Pool(insecure=True), server.url("/hello.txt")).negotiated["verified"] is False


def test_velocity_or_nothing(server: Server) -> None:
    exchange = get(pool(server, fallback="never"), server.url("/hello.txt"))
    assert exchange.negotiated["profile"] == "balanced"
    exchange = get(pool(server, profile="secure", fallback="directed"), server.url("/hello.txt"))
    assert exchange.negotiated["profile"] == "secure"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"protocols": ["spdy"]}, "OPTION_INVALID"),
        ({"protocols": []}, "OPTION_INVALID"),
        ({"profile": "heavy"}, "OPTION_INVALID"),
        ({"fallback": "maybe"}, "OPTION_INVALID"),
        ({"max_connections": 0}, "OPTION_INVALID"),
        ({"proxy": "socks5://localhost"}, "PROXY_INVALID"),
        ({"ca_file": "/nowhere.pem"}, None),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], code: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        Pool(**options)
    assert code is None or caught.value.code == code


@pytest.mark.parametrize("url", ["", "/x", "ftp://localhost/", "https://", "https://a:b@localhost/", "https://x:y/"])
def test_urls_that_lead_nowhere(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pool().send("GET", url, [])
    assert caught.value.code == "URL_INVALID"


@pytest.mark.parametrize("field", [("a b", "c"), ("a", "b\r\nc: d"), ("", "x"), ("a", "\u20ac"), ("a", "\udcff")])
def test_fields_that_cannot_be_sent(server: Server, field: tuple[str, str]) -> None:
    with pytest.raises(RequestError) as caught:
        pool(server).send("GET", server.url("/hello.txt"), [field])
    assert caught.value.code == "HEADERS_INVALID"


def test_what_was_learnt_outlives_the_pool(server: Server, tmp_path: Path) -> None:
    state = tmp_path / "state"
    get(pool(server, "h3", "h2", state_dir=str(state)), server.url("/hello.txt"))
    file = state / "origins.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    assert json.loads(file.read_text())[f"https://localhost:{server.port}"]["spoke"] == "h3"


def test_a_child_that_is_forked_is_told(server: Server) -> None:
    one = pool(server, "http/1.1", "h2")
    assert get(one, server.url("/hello.txt")).read_all() == b"hello\n"
    kept = get(one, server.url("/data.bin"), prefetch=0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            get(one, server.url("/hello.txt"))
        except RequestError as error:
            if error.code == "POOL_FORKED":
                code = 0
        if code == 0 and get(pool(server, "h2"), server.url("/hello.txt")).read_all() != b"hello\n":
            code = 2
        del one, kept
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert hashlib.sha256(kept.read_all()).digest()
    assert get(one, server.url("/hello.txt")).read_all() == b"hello\n"


@each
def test_a_program_ends_whatever_is_open(server: Server, protocol: Protocol) -> None:
    program = f"""
import asyncio, threading
from velocity._core import Pool
pool = Pool(protocols=[{protocol!r}], ca_file={str(server.trust)!r})
url = {server.url("/data.bin")!r}
open_ = pool.send("GET", url, [], prefetch=0)
threading.Thread(target=lambda: pool.send("GET", url, [], prefetch=0).read_all(), daemon=True).start()
async def run():
    task = asyncio.create_task(request())
    await asyncio.sleep(0.01)
async def request():
    await pool.start("GET", url, [], prefetch=0)
asyncio.run(run())
print("end")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    check_talk(done.stderr)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
