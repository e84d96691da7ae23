"""What type checkers make of an application: decorators leave handlers as they are, and mistakes are found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support import checkers

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
from typing import Annotated

from velocity import EdgeApp, EdgeRequest, EdgeResponse
from velocity.edge import Depends, Next, Query, Router, WebSocket
from velocity.edge.testing import TestClient

app = EdgeApp().with_rate_limit(100, per=60).with_waf()
router = Router("/r")


def user(token: str) -> int:
    return len(token)


@app.get("/{name}", status=201, tags=["a"])
async def hello(name: str, user: Annotated[int, Depends(user)], page: Annotated[int, Query()] = 1) -> dict[str, int]:
    return {name: page + user}


@router.post("/", max_body=None)
def create() -> EdgeResponse:
    return EdgeResponse.json({}, status=201)


@app.websocket("/ws")
async def ws(socket: WebSocket) -> None:
    reveal_type(await socket.receive())


@app.middleware
async def around(request: EdgeRequest, call_next: Next) -> EdgeResponse:
    return await call_next(request)


@app.on_startup
async def start() -> None: ...


class Around:
    def __init__(self, app: object, name: str) -> None: ...

    async def __call__(self, scope: object, receive: object, send: object) -> None: ...


app.add_middleware(Around, name="x")
app.include(router)
reveal_type(hello)
reveal_type(create)
reveal_type(TestClient(app).get("/").json())
"""
WRONG = {
    "app.get(7)(hello)": r"int",
    'app.get("/", statuss=3)(hello)': r"statuss",
    'app.with_rate_limit("many")': r"str",
    "app.middleware(create)": r"middleware|create",
    'EdgeResponse.redirect("/", 200)': r"200",
    'app.add_middleware(Around, nam="x")': r"nam",
}


@pytest.mark.parametrize("name", checkers.NAMES)
def test_type_checkers(name: str, tmp_path: Path) -> None:
    said = checkers.said(name, PROGRAM, tmp_path)
    assert re.search(r"str \| bytes", said)
    assert re.search(r"name: (builtins\.)?str, user: (builtins\.)?int, page: (builtins\.)?int", said)
    assert re.search(r"\(\) -> (velocity\.edge\.responses\.)?EdgeResponse", said)
    checkers.finds(name, PROGRAM, WRONG, tmp_path)
