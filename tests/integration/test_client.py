"""`Client` and `AsyncClient` over the network: our own server over every protocol, and servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import velocity
from support import certificates
from support.backend import Backend, Exchange
from support.clients import PROTOCOLS, Protocol
from support.front import closed_port
from support.server import Server
from support.site import INDEX
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.site import Site

BOMB = gzip.compress(gzip.compress(bytes(64 << 20), 1))
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
VERSIONS = {"velocity/1": "HTTP/3", "h3": "HTTP/3", "h2": "HTTP/2", "http/1.1": "HTTP/1.1"}


@every_protocol
def test_every_protocol(server: Server, site: Site, protocol: Protocol) -> None:
    with velocity.Client(base_url=server.url(), verify=str(server.trust), protocols=[protocol]) as client:
        response = client.get("/")
        assert (response.status_code, response.content) == (200, INDEX)
        assert response.http_version == VERSIONS[protocol]
        assert response.velocity.alpn == protocol
        assert response.velocity.group == "X25519MLKEM768"
        assert response.velocity.verified
        assert (response.velocity.profile is not None) is (protocol == "velocity/1")
        assert client.get("/").velocity.reused
        assert client.head("/").headers["content-length"] == str(len(INDEX))
        assert client.get("/data.bin").content == site.binary
        with client.stream("GET", "/data.bin") as streamed:
            digest = hashlib.sha256()
            for piece in streamed.iter_bytes(10_000):
                digest.update(piece)
        assert digest.digest() == hashlib.sha256(site.binary).digest()
        assert client.get("/missing").status_code == 404


@every_protocol
def test_asyncio(server: Server, site: Site, protocol: Protocol) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"base_url": server.url(), "verify": str(server.trust), "protocols": [protocol]}
        async with velocity.AsyncClient(**options, timeout=30) as client:
            responses = await asyncio.gather(*(client.get("/hello.txt") for _ in range(200)))
            assert {response.content for response in responses} == {b"hello\n"}
            async with client.stream("GET", "/data.bin") as streamed:
                assert b"".join([piece async for piece in streamed.aiter_raw()]) == site.binary

    asyncio.run(main())


def test_uvloop(server: Server) -> None:
    async def main() -> None:
        async with velocity.AsyncClient(base_url=server.url(), verify=str(server.trust), timeout=30) as client:
            responses = await asyncio.gather(*(client.get("/hello.txt") for _ in range(200)))
            assert {response.content for response in responses} == {b"hello\n"}

    uvloop.run(main())


def test_one_client_in_many_loops(server: Server) -> None:
    client = velocity.AsyncClient(base_url=server.url(), verify=str(server.trust), timeout=30)

    async def main() -> bytes:
        return (await client.get("/hello.txt")).content

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: asyncio.run(main()), range(12))) == {b"hello\n"}
    asyncio.run(client.aclose())


def test_the_best_one_is_chosen(server: Server) -> None:
    with velocity.Client(verify=str(server.trust)) as client:
        response = client.get(server.url("/hello.txt"))
    assert response.velocity.alpn == "velocity/1"
    assert response.velocity.fallback is None
    assert response.velocity.ml_dsa_level


def test_what_was_learnt_is_kept_where_the_user_keeps_such_things(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for kept in (False, True):
        with velocity.Client(verify=str(server.trust), state_dir=kept) as client:
            client.get(server.url("/hello.txt"))
        assert (tmp_path / "velocity" / "origins.json").is_file() is kept


def test_functions(server: Server) -> None:
    assert velocity.get(server.url(), verify=str(server.trust)).content == INDEX
    again = velocity.get(server.url(), verify=str(server.trust))
    assert again.velocity.reused
    with velocity.stream("GET", server.url(), verify=str(server.trust)) as response:
        assert response.read() == INDEX
    assert velocity.post(server.url(), verify=str(server.trust), json={}).status_code == 405


def test_certificates(server: Server, tmp_path: Path) -> None:
    with pytest.raises(velocity.CertificateError) as caught:
        velocity.get(server.url())
    assert isinstance(caught.value, velocity.ConnectError)
    assert caught.value.hint
    assert caught.value.request.url == server.url()
    assert velocity.get(server.url(), verify=False).velocity.verified is False
    pair = certificates.make(tmp_path / "pair", "other.example")
    with Server(tmp_path, "--cert", pair.cert, "--key", pair.key) as other, pytest.raises(velocity.CertificateError):
        velocity.get(other.url(), verify=str(pair.cert), timeout=20)


def test_policies(server: Server) -> None:
    with (
        Backend(tls=tls_context_of(server)) as classical,
        velocity.Client(verify=False, fallback="never", timeout=10) as client,
        pytest.raises(velocity.ConnectError),
    ):
        client.get(classical.url)


def tls_context_of(server: Server) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.certificate.parent / "key.pem")
    return context


# --- EasyClient ---


def test_easy(server: Server, tmp_path: Path) -> None:
    address = f"localhost:{server.port}"
    options: dict[str, Any] = {"server_key": server.trust, "cache_dir": tmp_path / "state"}
    with velocity.EasyClient.connect(address, **options) as client:
        assert client.negotiated is None
        assert client.fetch_text("/hello.txt") == "hello\n"
        assert client.fetch_bytes("/hello.txt") == b"hello\n"
        assert client.negotiated is not None
        assert client.negotiated.alpn == "velocity/1"
        with pytest.raises(velocity.HTTPStatusError):
            client.fetch_text("/missing")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_easy_and_pinned(server: Server, tmp_path: Path) -> None:
    address = f"localhost:{server.port}"
    with pytest.raises(ConfigError, match="nothing to believe"):
        velocity.EasyClient.connect(address, server_key_autodiscover=False)
    options: dict[str, Any] = {"server_key_autodiscover": False, "cache_dir": tmp_path / "state"}
    with velocity.EasyClient.connect(address, server_key=server.trust, **options) as client:
        assert client.fetch_text("/hello.txt") == "hello\n"
    assert not (tmp_path / "state").exists()
    stranger = certificates.make(tmp_path / "pair")
    with (
        velocity.EasyClient.connect(address, server_key=stranger.cert, **options) as client,
        pytest.raises(velocity.CertificateError),
    ):
        client.fetch_text("/hello.txt")


def test_easy_by_another_name(server: Server, tmp_path: Path) -> None:
    config = velocity.EasyClientConfig(
        f"127.0.0.1:{server.port}", hostname="localhost", server_key=server.trust, cache_dir=tmp_path
    )
    with velocity.EasyClient.connect(config) as client:
        assert client.fetch("/hello.txt").request.url.host == "localhost"


def test_easy_falls_back_when_it_is_told(site: Site, server: Server, tmp_path: Path) -> None:
    def ask(port: int, trust: Path, fallback: Any) -> Any:
        options: dict[str, Any] = {"server_key": trust, "fallback": fallback, "cache_dir": tmp_path / fallback}
        with velocity.EasyClient.connect(f"localhost:{port}", **options) as client:
            client.fetch("/hello.txt")
            return client.negotiated

    with Server(site.root, "--alpn", "h3,h2,http/1.1") as telling:
        found = ask(telling.port, telling.trust, "directed")
        assert found.alpn == "h3"
        assert found.fallback
        with pytest.raises(velocity.ConnectError):
            ask(telling.port, telling.trust, "never")
    with Backend(tls=tls_context_of(server)) as silent:
        with pytest.raises(velocity.ConnectError):
            ask(silent.port, server.trust, "directed")
        assert ask(silent.port, server.trust, "allow").alpn == "http/1.1"


# --- servers that misbehave ---


async def silent(exchange: Exchange) -> None:
    await exchange.wait_gone(20)
    exchange.close()


async def slow_body(exchange: Exchange) -> None:
    await exchange.head("content-length: 100")
    await exchange.send(b"x" * 10)
    await silent(exchange)


async def truncated(exchange: Exchange) -> None:
    await exchange.head("content-length: 100")
    await exchange.send(b"x" * 10)
    exchange.close()


async def truncated_chunks(exchange: Exchange) -> None:
    await exchange.head("transfer-encoding: chunked")
    await exchange.chunk(b"x" * 10)
    exchange.close()


async def endless_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        await exchange.send(b"x-%d: %b\r\n" % (number, b"y" * 1000))


async def endless_line(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(10_000):
        await exchange.send(b"y" * 10_000)


async def nonsense(exchange: Exchange) -> None:
    await exchange.send(b"SSH-2.0-OpenSSH_9.9\r\n")
    exchange.close()


async def rude(exchange: Exchange) -> None:
    exchange.reset()


async def never_reads(exchange: Exchange) -> None:
    await asyncio.sleep(20)


async def bomb(exchange: Exchange) -> None:
    await exchange.answer(BOMB, fields=(("content-encoding", "gzip, gzip"),))


SCRIPTS = {
    "/silent": silent, "/slow-body": slow_body, "/truncated": truncated, "/truncated-chunks": truncated_chunks,
    "/endless-head": endless_head, "/endless-line": endless_line, "/nonsense": nonsense, "/rude": rude,
    "/never-reads": never_reads, "/bomb": bomb,
}  # fmt: skip

FAILURES: dict[str, type[velocity.RequestError]] = {
    "/silent": velocity.ReadTimeout,
    "/slow-body": velocity.ReadTimeout,
    "/truncated": velocity.BodyTruncated,
    "/truncated-chunks": velocity.BodyTruncated,
    "/endless-head": velocity.HeadersTooLarge,
    "/endless-line": velocity.HeadersTooLarge,
    "/nonsense": velocity.RemoteProtocolError,
    "/rude": velocity.ReadError,
    "/bomb": velocity.DecompressionBomb,
}


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend(SCRIPTS) as running:
        yield running


@pytest.mark.parametrize(("path", "kind"), FAILURES.items())
def test_misbehaviour_has_a_type(backend: Backend, path: str, kind: type[velocity.RequestError]) -> None:
    timeout = velocity.Timeout(30, read=1.0)
    with velocity.Client(base_url=backend.url, timeout=timeout) as client:
        with pytest.raises(kind) as caught:
            client.get(path)
        assert caught.value.request.url.path == path
        assert "\n" not in str(caught.value)
        with pytest.raises(kind), client.stream("GET", path) as response:
            for _ in response.iter_bytes():
                pass
        assert client.get("/").text == "hello\n"

    async def main() -> None:
        async with velocity.AsyncClient(base_url=backend.url, timeout=timeout) as client:
            with pytest.raises(kind):
                await client.get(path)
            assert (await client.get("/")).text == "hello\n"

    asyncio.run(main())


def test_nobody_there() -> None:
    with velocity.Client(timeout=5) as client:
        with pytest.raises(velocity.ConnectError):
            client.get(f"http://127.0.0.1:{closed_port()}/")
        with pytest.raises(velocity.ResolveError):
            client.get("http://no-such-host.invalid/")
        with pytest.raises(velocity.UnsupportedProtocol):
            client.get("ftp://h/")
        with pytest.raises(velocity.UnsupportedProtocol):
            client.get("/relative")


def test_write_timeout(backend: Backend) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 20)

    with velocity.Client(timeout=velocity.Timeout(10, write=1.0)) as client, pytest.raises(velocity.WriteTimeout):
        client.post(f"{backend.url}/never-reads", content=endless())


def test_pool_timeout(backend: Backend) -> None:
    limits = velocity.Limits(max_connections=1)
    timeout = velocity.Timeout(10, pool=0.3)
    with velocity.Client(base_url=backend.url, limits=limits, timeout=timeout) as client:
        with client.stream("GET", "/slow-body"), pytest.raises(velocity.PoolTimeout):
            client.get("/")
        assert client.get("/").text == "hello\n"


# --- bodies on their way up ---


async def measure(exchange: Exchange) -> None:
    await exchange.read()
    await exchange.answer(f"{exchange.length} {exchange.digest.hexdigest()}".encode())


def test_uploads(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    expected = f"{len(content)} {hashlib.sha256(content).hexdigest()}"
    (tmp_path / "f").write_bytes(content)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(content), 70_001):
            yield content[at : at + 70_001]

    async def later() -> AsyncIterator[bytes]:
        for piece in pieces():
            await asyncio.sleep(0)
            yield piece

    with Backend({"/": measure}) as backend:
        with velocity.Client(timeout=20) as client:
            assert client.post(backend.url, content=content).text == expected
            assert client.post(backend.url, content=pieces()).text == expected
            with (tmp_path / "f").open("rb") as file:
                assert client.post(backend.url, content=file).text == expected

        async def main() -> str:
            async with velocity.AsyncClient(timeout=20) as client:
                return (await client.post(backend.url, content=later())).text

        assert asyncio.run(main()) == expected
        lengths = [exchange.get("content-length") for exchange in backend.requests]
    assert lengths == [str(len(content)), None, str(len(content)), None]


def test_a_failing_upload_is_not_a_short_one() -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * 1000
        raise LookupError("no more")

    with Backend({"/": measure}) as backend, velocity.Client() as client:
        with pytest.raises(LookupError):
            client.post(backend.url, content=failing())
        assert client.get(f"{backend.url}/hello").text == "hello\n"
        assert not any(exchange.complete for exchange in backend.of("/"))


# --- proxies ---


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Backend() as proxy:
        with velocity.Client(proxy=f"http://user:pass@127.0.0.1:{proxy.port}") as client:
            response = client.get("http://far.invalid/a?b")
        assert (response.text, response.velocity.proxy) == ("hello\n", True)
        assert proxy.requests[0].target == "http://far.invalid/a?b"
        assert proxy.requests[0].get("proxy-authorization") == "Basic dXNlcjpwYXNz"
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert velocity.get("http://far.invalid/").text == "hello\n"
        monkeypatch.setenv("no_proxy", "far.invalid")
        with pytest.raises(velocity.ResolveError):
            velocity.get("http://far.invalid/")
        with pytest.raises(velocity.ResolveError):
            velocity.get("http://near.invalid/", trust_env=False)


# --- the end of the process ---

ENDS = """
import os, sys, threading, velocity
url, trust = sys.argv[1:]
assert velocity.get(url, verify=trust).is_success
child = os.fork()
if child == 0:
    assert velocity.get(url, verify=trust).is_success
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
client = velocity.Client(verify=trust, timeout=None)
kept = client.send(client.build_request("GET", url), stream=True)
threading.Thread(target=lambda: velocity.get(url, verify=trust), daemon=True).start()
"""


def test_a_program_ends(server: Server) -> None:
    """With connections open, a response half read, a thread that asks, and after a fork."""
    url, trust = server.url("/data.bin"), str(server.trust)
    done = subprocess.run([sys.executable, "-c", ENDS, url, trust], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# --- many at once, and giving up ---


def test_threads_share_a_client(server: Server) -> None:
    with (
        velocity.Client(base_url=server.url(), verify=str(server.trust), timeout=30) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        found = set(pool.map(lambda _: client.get("/hello.txt").content, range(400)))
    assert found == {b"hello\n"}


@every_protocol
def test_cancellation(server: Server, protocol: Protocol) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"base_url": server.url(), "verify": str(server.trust), "protocols": [protocol]}
        async with velocity.AsyncClient(**options, timeout=30) as client:
            for delay in (0, 0.001, 0.002):
                tasks = [asyncio.ensure_future(client.get("/data.bin")) for _ in range(20)]
                await asyncio.sleep(delay)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert (await client.get("/hello.txt")).content == b"hello\n"

    asyncio.run(main())


def test_cancelled_while_nothing_comes(backend: Backend) -> None:
    async def main() -> float:
        async with velocity.AsyncClient(timeout=None) as client:
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.get(f"{backend.url}/silent")
            return time.monotonic() - started

    assert asyncio.run(main()) < 5


def test_it_ends_while_somebody_waits(backend: Backend) -> None:
    failed: list[Exception] = []

    def ask() -> None:
        try:
            client.get("/silent")
        except velocity.RequestError as error:
            failed.append(error)

    with velocity.Client(base_url=backend.url, timeout=3) as client:
        waiting = threading.Thread(target=ask)
        waiting.start()
        backend.wait_for("/silent", 1)
    waiting.join(10)
    assert not waiting.is_alive()
    assert failed
