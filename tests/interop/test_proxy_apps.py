"""Applications as people run them, behind the proxy: FastAPI under uvicorn, WebSockets of Node, and gRPC."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import subprocess
import threading
import time
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING

import fastapi
import grpc
import pytest
import uvicorn
import websockets
from fastapi.responses import StreamingResponse

from support.clients import PROTOCOLS, Protocol, ask
from support.engine import make
from support.front import http, proxy, send, serve
from support.http1 import tls_context
from support.node import WS, installed
from support.server import Server
from support.site import Site, noise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def application() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.post("/echo", response_model=None)
    async def echo(request: fastapi.Request) -> fastapi.Response:
        assert request.client is not None
        return fastapi.Response(await request.body(), headers={"x-client": request.client.host})

    @app.put("/upload", response_model=None)
    async def upload(request: fastapi.Request) -> dict[str, str]:
        digest = hashlib.sha256()
        async for chunk in request.stream():
            digest.update(chunk)
        return {"sha256": digest.hexdigest(), "url": str(request.url)}

    @app.get("/stream", response_model=None)
    async def stream() -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for n in range(5):
                yield f"data: {n}\n\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(numbers(), media_type="text/event-stream")

    @app.get("/items/{item}")
    async def items(item: int, q: str = "") -> dict[str, int | str]:
        return {"item": item, "q": q}

    return app


@pytest.fixture(scope="module")
def uvicorn_url() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application(), log_level="error", proxy_headers=True, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def front(uvicorn_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pair = make(tmp_path_factory.mktemp("certificate"))
    with serve(pair, {"/": proxy(uvicorn_url, preserve_host=True, retries={"attempts": 1})}) as engine:
        yield engine.port


@every_protocol
def test_fastapi(front: int, protocol: Protocol) -> None:
    answer = ask(protocol, front, "/items/42?q=%E2%82%AC")
    assert (answer.status, bytes(answer.body)) == (200, '{"item":42,"q":"€"}'.encode())
    assert answer["server"] == "uvicorn"
    assert ask(protocol, front, "/items/none").status == 422
    body = noise(300_000)
    echoed = send(protocol, front, "/echo", body)
    assert (echoed.body, echoed["x-client"]) == (body, "127.0.0.1")
    sent = send(protocol, front, "/upload", body, "PUT").body
    assert hashlib.sha256(body).hexdigest().encode() in sent
    assert b'"url":"https://localhost' in sent, "as the client asked"


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_fastapi_streams(front: int, protocol: Protocol) -> None:
    with http(front, protocol) as client, client.stream("GET", "/stream") as response:
        began = time.monotonic()
        times = [time.monotonic() - began for _ in response.iter_raw()]
    assert len(times) == 5
    assert times[0] < 0.2 < times[-1]


@contextmanager
def node() -> Iterator[int]:
    """The port of `ws` in Node."""
    program, folder = installed(WS, "ws")
    command = [program, "server.js"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_websocket(tmp_path: Path) -> None:
    async def conversation(port: int) -> None:
        context = tls_context("http/1.1")
        url = f"wss://localhost:{port}/chat?room=1"
        async with websockets.connect(url, ssl=context, proxy=None, max_size=None) as client:
            assert await client.recv() == '{"path":"/chat?room=1","for":"127.0.0.1"}'
            for message in ("hello", b"\x00\xff", "x" * 100_000, noise(2_000_000)):
                await client.send(message)
                assert await client.recv() == message
            await client.send("burst")
            assert [await client.recv() for _ in range(1000)] == [str(n) for n in range(1000)]
            await asyncio.wait_for(await client.ping(), 5)
            await asyncio.sleep(1.2)  # longer than an answer may take, and than a connection waits for requests
            await client.send("still there?")
            assert await client.recv() == "still there?"
            await client.send("close")
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")

    with node() as behind:
        short = {"response_ms": 1000, "idle_ms": 1000}
        with serve(make(tmp_path), {"/": proxy(f"http://127.0.0.1:{behind}", timeouts=short)}) as engine:
            asyncio.run(asyncio.wait_for(conversation(engine.port), 30))


class Service(grpc.GenericRpcHandler):
    """`/test.Echo/...` with bytes as messages."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        match details.method:
            case "/test.Echo/Unary":
                return grpc.unary_unary_rpc_method_handler(self._unary)
            case "/test.Echo/Both":
                return grpc.stream_stream_rpc_method_handler(self._both)
            case "/test.Echo/Fails":
                return grpc.unary_unary_rpc_method_handler(self._fails)
            case "/test.Echo/Slow":
                return grpc.unary_stream_rpc_method_handler(self._slow)
            case _:
                return None

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def _unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-length", str(len(message))), ("x-kept-bin", b"\x00\xff")))
        return message

    def _both(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"ready"
        for message in messages:
            yield message.upper()
        context.set_trailing_metadata((("x-done", "yes"),))

    def _fails(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no, really")
        return b""

    def _slow(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        yield b"one"
        self.cancelled.wait(10)


@pytest.fixture(scope="module")
def channel(site: Site) -> Iterator[tuple[grpc.Channel, Service]]:
    service = Service()
    behind = grpc.server(futures.ThreadPoolExecutor(8))
    behind.add_generic_rpc_handlers((service,))
    port = behind.add_insecure_port("127.0.0.1:0")
    behind.start()
    with Server(site.root, "--proxy", f"/test.Echo=h2c://127.0.0.1:{port}") as server:
        trust = grpc.ssl_channel_credentials(server.certificate.read_bytes())
        options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.enable_http_proxy", 0)]
        with grpc.secure_channel(server.address, trust, options) as opened:
            yield opened, service
    behind.stop(None).wait(10)


def test_grpc_messages(channel: tuple[grpc.Channel, Service]) -> None:
    unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel[0].unary_unary("/test.Echo/Unary")
    for message in (b"", b"hello", noise(3_000_000)):
        answer, call = unary.with_call(message, timeout=20)
        assert answer == message
        trailers = dict(call.trailing_metadata())
        assert (trailers["x-length"], trailers["x-kept-bin"]) == (str(len(message)), b"\x00\xff")
        assert call.code() == grpc.StatusCode.OK


def test_grpc_both_ways_at_once(channel: tuple[grpc.Channel, Service]) -> None:
    """Each message is answered before the next is sent."""
    answered = threading.Semaphore(0)

    def messages() -> Iterator[bytes]:
        for n in range(50):
            assert answered.acquire(timeout=10)
            yield b"message %d" % n

    both: grpc.StreamStreamMultiCallable[bytes, bytes] = channel[0].stream_stream("/test.Echo/Both")
    call = both(messages(), timeout=20)
    got = []
    for message in call:
        got.append(message)
        answered.release()
    assert got == [b"ready", *(b"MESSAGE %d" % n for n in range(50))]
    assert dict(call.trailing_metadata())["x-done"] == "yes"


def test_grpc_failures(channel: tuple[grpc.Channel, Service]) -> None:
    fails: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel[0].unary_unary("/test.Echo/Fails")
    with pytest.raises(grpc.RpcError) as failed:
        fails(b"", timeout=20)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no, really")
    missing: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel[0].unary_unary("/test.Echo/Missing")
    with pytest.raises(grpc.RpcError) as unknown:
        missing(b"", timeout=20)
    assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_grpc_that_is_cancelled(channel: tuple[grpc.Channel, Service]) -> None:
    slow: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel[0].unary_stream("/test.Echo/Slow")
    call = slow(b"")
    assert next(call) == b"one"
    call.cancel()
    assert channel[1].cancelled.wait(5), "the server behind works for nobody"
