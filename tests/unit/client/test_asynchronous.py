"""`AsyncClient` over functions and applications in the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import velocity
from velocity import EdgeApp, EdgeRequest, EdgeResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


def run(work: Callable[[velocity.AsyncClient], Awaitable[Any]], handler: Any, **options: Any) -> Any:
    transport = handler if isinstance(handler, velocity.AsyncBaseTransport) else velocity.MockTransport(handler)

    async def main() -> Any:
        async with velocity.AsyncClient(transport=transport, **options) as client:
            return await work(client)

    return asyncio.run(main())


def test_requests_and_redirects() -> None:
    async def handler(request: velocity.Request) -> velocity.Response:
        await asyncio.sleep(0)
        if request.url.path == "/a":
            return velocity.Response(303, headers=[("location", "/b"), ("set-cookie", "s=1")])
        return velocity.Response(200, json={"cookie": request.headers.get("cookie"), "method": request.method})

    async def work(client: velocity.AsyncClient) -> velocity.Response:
        return await client.post("https://h.example/a", json={}, follow_redirects=True)

    response = run(work, handler)
    assert response.json() == {"cookie": "s=1", "method": "GET"}
    assert [one.status_code for one in response.history] == [303]


def test_hooks_may_wait() -> None:
    log: list[str] = []

    async def hook(subject: velocity.Request | velocity.Response) -> None:
        await asyncio.sleep(0)
        log.append(type(subject).__name__)

    hooks = {"request": [hook], "response": [hook]}
    run(lambda client: client.get("https://h/"), lambda request: velocity.Response(200), event_hooks=hooks)
    assert log == ["Request", "Response"]


def test_streams() -> None:
    closed = []

    class Content:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in (b"a\n", b"b"):
                await asyncio.sleep(0)
                yield piece

        async def aclose(self) -> None:
            closed.append(True)

    async def work(client: velocity.AsyncClient) -> None:
        async with client.stream("GET", "https://h/") as response:
            assert [line async for line in response.aiter_lines()] == ["a", "b"]
        assert closed == [True]
        async with client.stream("GET", "https://h/") as response:
            assert [piece async for piece in response.aiter_bytes(1)] == [b"a", b"\n", b"b"]
        async with client.stream("GET", "https://h/") as response:
            pass
        with pytest.raises(velocity.StreamClosed):
            await response.aread()
        assert (await client.get("https://h/")).text == "a\nb"

    run(work, lambda request: velocity.Response(200, stream=Content()))


def test_retries() -> None:
    asked: list[int] = []

    def handler(request: velocity.Request) -> velocity.Response:
        asked.append(1)
        if len(asked) < 3:
            raise velocity.ReadError("CONNECTION_LOST", "gone")
        return velocity.Response(200)

    assert run(lambda client: client.get("https://h/"), handler, retries=velocity.Retry(2, backoff=0.001)).is_success
    assert len(asked) == 3


def test_digest() -> None:
    def handler(request: velocity.Request) -> velocity.Response:
        if "authorization" in request.headers:
            return velocity.Response(200)
        return velocity.Response(401, headers={"www-authenticate": 'Digest realm="r", nonce="n", qop="auth"'})

    response = run(lambda client: client.get("https://h/", auth=velocity.DigestAuth("u", "p")), handler)
    assert response.status_code == 200
    assert len(response.history) == 1


# --- applications ---

app = EdgeApp()


@app.post("/echo")
async def echo(request: EdgeRequest) -> EdgeResponse:
    return EdgeResponse.json({"body": (await request.body()).decode(), "query": request.query.get("q")})


@app.get("/numbers")
async def numbers() -> EdgeResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(1000):
            yield b"%d\n" % number

    return EdgeResponse.stream(pieces())


def test_an_application() -> None:
    async def work(client: velocity.AsyncClient) -> None:
        response = await client.post("/echo?q=ü", content="hello")
        assert response.json() == {"body": "hello", "query": "ü"}
        async with client.stream("GET", "/numbers") as response:
            assert len([line async for line in response.aiter_lines()]) == 1000
        async with client.stream("GET", "/numbers") as response:
            async for line in response.aiter_lines():
                assert line == "0"
                break
        assert (await client.get("/missing")).status_code == 404

    run(work, velocity.ASGITransport(app), base_url="https://testserver")


def test_an_application_that_fails() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("a defect")

    with pytest.raises(LookupError, match="a defect"):
        run(lambda client: client.get("https://h/"), velocity.ASGITransport(broken))
    quiet = velocity.ASGITransport(broken, raise_app_exceptions=False)
    assert run(lambda client: client.get("https://h/"), quiet).status_code == 500


def test_an_application_that_fails_half_way() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError("a defect")

    with pytest.raises(LookupError, match="a defect"):
        run(lambda client: client.get("https://h/"), velocity.ASGITransport(broken))
