"""WebSockets: handshakes that are refused, messages both ways, and every way to end."""

import threading

import pytest

from velocity.edge import EdgeApp, HTTPProblem, WebSocket, WebSocketDisconnect
from velocity.edge.testing import HandshakeRefused, TestClient

app = EdgeApp()
ended: list[object] = []
over = threading.Event()


@app.websocket("/echo/{room}")
async def echo(ws: WebSocket, room: str, limit: int = 10) -> None:
    async for message in ws:
        await ws.send(message)
    ended.append((room, limit, ws.closed))
    over.set()


@app.websocket("/json")
async def json(ws: WebSocket) -> None:
    await ws.accept("v2", headers={"x-a": "b"})
    while True:
        await ws.send_json({"got": await ws.receive_json(), "spoken": ws.subprotocols})


@app.websocket("/text")
async def text(websocket) -> None:  # type: ignore[no-untyped-def]
    await websocket.send(await websocket.receive_text())


@app.websocket("/bytes")
async def binary(ws: WebSocket) -> None:
    await ws.send(await ws.receive_bytes())
    await ws.close(4000, "enough")
    await ws.close()


@app.websocket("/refused")
async def refused(ws: WebSocket) -> None:
    raise HTTPProblem(402, "pay first")


@app.websocket("/late")
async def late(ws: WebSocket) -> None:
    await ws.accept()
    raise HTTPProblem(402, "pay first")


@app.websocket("/closed")
async def closed(ws: WebSocket) -> None:
    await ws.close()


@app.websocket("/broken/{when}")
async def broken(ws: WebSocket, when: str) -> None:
    if when == "after":
        await ws.accept()
    raise RuntimeError("a mistake")


@app.websocket("/open", origins=["https://Other.example/"])
async def other(ws: WebSocket) -> None:
    await ws.send("welcome")


@app.websocket("/any", origins=["*"])
async def anybody(ws: WebSocket) -> None:
    await ws.send("welcome")


@pytest.fixture
def client() -> TestClient:
    return TestClient(app)


def status(client: TestClient, path: str, **headers: str) -> int:
    with pytest.raises(HandshakeRefused) as caught, client.websocket(path, headers=headers):
        pass
    return caught.value.reply.status


def test_messages_both_ways(client: TestClient) -> None:
    with client.websocket("/echo/blue?limit=3") as ws:
        for message in ("ä", "", b"\0\xff", "x" * 100_000):
            ws.send(message)
            assert ws.receive() == message
    assert over.wait(5)
    assert ended[-1] == ("blue", 3, True)


def test_json_and_subprotocols(client: TestClient) -> None:
    with client.websocket("/json", subprotocols=["v1", "v2"]) as ws:
        assert ws.subprotocol == "v2"
        ws.send_json([1])
        assert ws.receive_json() == {"got": [1], "spoken": ["v1", "v2"]}
        ws.send("{")
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive()
    assert (caught.value.code, caught.value.reason) == (1007, "JSON is spoken here")


def test_the_wrong_kind_of_message(client: TestClient) -> None:
    with client.websocket("/text") as ws:
        ws.send(b"bytes")
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive()
    assert caught.value.code == 1003


def test_a_handler_that_closes(client: TestClient) -> None:
    with client.websocket("/bytes") as ws:
        ws.send("ä")
        assert ws.receive() == "ä".encode()
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive()
    assert (caught.value.code, caught.value.reason) == (4000, "enough")


def test_a_client_that_closes(client: TestClient) -> None:
    with client.websocket("/text") as ws:
        ws.close(1001)
        with pytest.raises(WebSocketDisconnect):
            ws.receive()


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/none", 404), ("/echo/a?limit=x", 422), ("/refused", 402), ("/closed", 403), ("/broken/before", 500)],
)
def test_handshakes_that_are_refused(client: TestClient, path: str, expected: int) -> None:
    assert status(client, path) == expected


def test_refusals_where_the_server_cannot_say_why() -> None:
    async def plain(scope, receive, send):  # type: ignore[no-untyped-def]
        scope["extensions"] = {}
        await app(scope, receive, send)

    assert status(TestClient(plain), "/none") == 403


def test_what_goes_wrong_later_closes(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    for path, code in (("/late", 1008), ("/broken/after", 1011)):
        with client.websocket(path) as ws, pytest.raises(WebSocketDisconnect) as caught:
            ws.receive()
        assert caught.value.code == code
    assert "the WebSocket /broken/after failed" in caplog.text


@pytest.mark.parametrize(
    ("path", "origin", "welcome"),
    [
        ("/echo/a", "https://testserver", True),
        ("/echo/a", "https://TESTSERVER", True),
        ("/echo/a", "https://evil.example", False),
        ("/echo/a", "https://testserver.evil.example", False),
        ("/echo/a", "null", False),
        ("/open", "https://other.example", True),
        ("/open", "https://testserver", False),
        ("/any", "null", True),
    ],
)
def test_origins(client: TestClient, path: str, origin: str, welcome: bool) -> None:
    if welcome:
        with client.websocket(path, headers={"origin": origin}):
            pass
    else:
        assert status(client, path, origin=origin) == 403


def test_a_websocket_is_not_a_request(client: TestClient) -> None:
    assert client.get("/any").status == 404


def test_silence_is_told(client: TestClient) -> None:
    with client.websocket("/echo/a") as ws:
        ws.send("")
        assert ws.receive() == ""
        with pytest.raises(TimeoutError, match=r"said nothing for 0\.05 s"):
            ws.receive(timeout=0.05)
