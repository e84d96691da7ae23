"""The test client: cookies, redirects, failures, and applications of others."""

from __future__ import annotations

from typing import Any

import fastapi
import pytest

from velocity.edge import EdgeApp, EdgeRequest, EdgeResponse
from velocity.edge.testing import TestClient


def application() -> EdgeApp:
    app = EdgeApp()

    @app.get("/login")
    async def login() -> EdgeResponse:
        response = EdgeResponse.redirect("/who", 303)
        response.set_cookie("user", "ada")
        return response

    @app.get("/logout")
    async def logout() -> EdgeResponse:
        response = EdgeResponse()
        response.delete_cookie("user")
        return response

    @app.route("/who", ["GET", "POST"])
    async def who(request: EdgeRequest) -> str:
        return f"{request.method} {request.cookies.get('user')} {(await request.body()).decode()}"

    @app.post("/move/{status}")
    async def move(status: int) -> EdgeResponse:
        return EdgeResponse(b"", status, headers={"location": "../who"})

    @app.get("/loop")
    async def loop() -> EdgeResponse:
        return EdgeResponse.redirect("/loop")

    return app


def test_cookies_and_redirects() -> None:
    client = TestClient(application())
    assert client.get("/login").status == 303
    client.cookies.clear()
    assert client.get("/login", follow_redirects=True).text == "GET ada "
    assert client.cookies == {"user": "ada"}
    assert client.get("/logout").cookies == {"user": ""}
    assert client.get("/who").text == "GET None "
    client = TestClient(application(), follow_redirects=True)
    assert client.post("/move/307", content="x").text == "POST None x"
    assert client.post("/move/302", content="x").text == "GET None "
    with pytest.raises(RuntimeError, match="more than 20 redirects"):
        client.get("/loop")


async def raising(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    raise RuntimeError("a mistake")


def test_what_the_application_raises() -> None:
    with TestClient(raising) as client, pytest.raises(RuntimeError, match="a mistake"):
        client.get("/")
    with TestClient(raising, raise_exceptions=False) as client:
        assert client.get("/").status == 500


def test_any_application() -> None:
    app = fastapi.FastAPI()

    @app.post("/echo/{name}")
    async def echo(name: str, body: dict[str, int], q: str = "") -> list[object]:
        return [name, body, q]

    @app.websocket("/ws")
    async def ws(websocket: fastapi.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    with TestClient(app) as client:
        assert client.post("/echo/x", json={"a": 1}, params={"q": "ä"}).json() == ["x", {"a": 1}, "ä"]
        with client.websocket("/ws") as session:
            session.send("hi")
            assert session.receive() == "hi"


def test_pytest_does_not_take_it_for_a_test() -> None:
    assert TestClient.__test__ is False
