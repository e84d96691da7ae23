"""`EdgeApp` under uvicorn, asked by httpx and websockets: it is an ordinary ASGI application."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn
import websockets.sync.client
from openapi_spec_validator import OpenAPIV31SpecValidator

from velocity.edge import EdgeApp, EdgeRequest, EdgeResponse, UploadFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "edge_api" / "app.py"


@contextmanager
def served(app: Any) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("edge_api_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with served(module.app) as address:
        yield address


# --- the example ---


def test_the_api_of_the_example(shop: str) -> None:
    with httpx2.Client(base_url=f"http://{shop}") as client:
        made = client.post("/api/items", json={"name": "<Tea>", "price": 2, "tags": ["hot"]})
        assert (made.status_code, made.headers["x-shop"]) == (201, "1.0")
        number = made.json()["id"]
        assert client.get(f"/api/items/{number}").json() == {"name": "<Tea>", "price": 2.0, "tags": ["hot"]}
        assert [one["name"] for one in client.get("/api/items?tag=hot").json()] == ["<Tea>"]
        assert client.get("/api/items?tag=cold").json() == []
        refused = client.post("/api/items", json={"name": "", "price": -1})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert [error["pointer"] for error in refused.json()["errors"]] == ["#/name", "#/price"]
        assert client.get("/api/items/999").json()["detail"] == "there is no item 999"
        assert "&lt;Tea&gt;</a>, 2.00 €" in client.get("/").text
        OpenAPIV31SpecValidator(client.get("/openapi.json").json()).validate()
        assert client.get("/docs").status_code == 200


def test_the_rules_of_the_example(shop: str) -> None:
    with httpx2.Client(base_url=f"http://{shop}") as client:
        health = client.get("/healthz")
        assert health.text == "ok"
        assert health.headers["ratelimit-limit"] == "1000"
        assert health.headers["x-content-type-options"] == "nosniff"
        assert client.get("/hello/Ada").json() == {"message": "Hello, Ada!"}
        assert client.get("/static/shop.css").headers["content-type"] == "text/css; charset=utf-8"
        assert client.get("/static/../app.py").status_code == 404


def test_the_events_of_the_example(shop: str) -> None:
    with httpx2.Client(base_url=f"http://{shop}") as client, client.stream("GET", "/events") as reply:
        lines = reply.iter_lines()
        first = [next(lines) for _ in range(3)]
        assert first[0::2] == ["event: count", ""]
        client.post("/api/items", json={"name": "Cup", "price": 1})
        assert next(lines) == "event: count"
        assert json.loads(next(lines).removeprefix("data: "))["items"] >= 1


def test_the_chat_of_the_example(shop: str) -> None:
    with websockets.sync.client.connect(f"ws://{shop}/chat/tea") as chat:
        for said in ("hello", "ä" * 1000):
            chat.send(said)
            assert json.loads(chat.recv()) == {"room": "tea", "said": said}
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        websockets.sync.client.connect(f"ws://{shop}/none")
    assert caught.value.response.status_code == 404
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        websockets.sync.client.connect(f"ws://{shop}/chat/tea", origin=websockets.Origin("https://evil.example"))
    assert caught.value.response.status_code == 403


# --- what only a real server shows ---


def test_files_ranges_and_head(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "big.bin").write_bytes(content)
    app = EdgeApp()

    @app.get("/big")
    async def big() -> EdgeResponse:
        return EdgeResponse.file(tmp_path / "big.bin")

    with served(app) as address, httpx2.Client(base_url=f"http://{address}") as client:
        whole = client.get("/big")
        assert whole.content == content
        part = client.get("/big", headers={"range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, content[1000:2000])
        assert client.get("/big", headers={"if-none-match": whole.headers["etag"]}).status_code == 304
        head = client.head("/big")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(content)))
        assert client.get("/big/", follow_redirects=True).content == content


def test_uploads_and_limits() -> None:
    app = EdgeApp(max_body=2_000_000)

    @app.post("/upload")
    async def upload(file: UploadFile) -> dict[str, object]:
        return {"name": file.filename, "size": file.size, "type": file.content_type}

    with served(app) as address, httpx2.Client(base_url=f"http://{address}") as client:
        sent = client.post("/upload", files={"file": ("ä.bin", b"x" * 1_500_000, "image/png")})
        assert sent.json() == {"name": "ä.bin", "size": 1_500_000, "type": "image/png"}
        assert client.post("/upload", files={"file": b"x" * 2_500_000}).status_code == 413


def test_a_client_that_goes_away_ends_the_stream() -> None:
    ended = threading.Event()
    app = EdgeApp()

    @app.get("/")
    async def endless(request: EdgeRequest) -> EdgeResponse:
        async def pieces() -> AsyncIterator[str]:
            try:
                while True:
                    yield "x"
                    await asyncio.sleep(3600)
            finally:
                ended.set()

        return EdgeResponse.stream(pieces())

    with served(app) as address:
        with httpx2.Client(base_url=f"http://{address}") as client, client.stream("GET", "/") as reply:
            assert next(reply.iter_bytes()) == b"x"
        assert ended.wait(10)


def test_failures_before_and_after_the_answer_began() -> None:
    app = EdgeApp()

    @app.get("/before")
    async def before() -> None:
        raise RuntimeError("secret")

    @app.get("/after")
    async def after() -> EdgeResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"
            raise RuntimeError("secret")

        return EdgeResponse.stream(pieces())

    with served(app) as address, httpx2.Client(base_url=f"http://{address}") as client:
        refused = client.get("/before")
        assert (refused.status_code, "secret" in refused.text) == (500, False)
        with pytest.raises(httpx2.RemoteProtocolError):
            client.get("/after")
        assert client.get("/before").status_code == 500  # and the server goes on
