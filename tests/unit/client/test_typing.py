"""What type checkers make of a user's program: everything has a type, and mistakes are found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support import checkers

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import velocity
from velocity import AsyncClient, Client, EasyClient

with Client(
    base_url="https://h/",
    auth=("user", "password"),
    headers={"a": "b"},
    timeout=velocity.Timeout(5, read=None),
    limits=velocity.Limits(max_connections=1),
    retries=velocity.Retry(2),
    event_hooks={"request": [lambda request: None]},
    cache=velocity.Cache(velocity.MemoryStore()),
    protocols=["h3"],
    profile="secure",
) as client:
    response = client.post("/x", json={"a": 1}, params={"b": [1, 2]}, files={"f": open("f", "rb")})
    reveal_type(response)
    reveal_type(response.headers.get("a"))
    reveal_type(response.velocity.alpn)
    with client.stream("GET", "/") as streamed:
        for piece in streamed.iter_bytes():
            reveal_type(piece)


async def main() -> None:
    async with AsyncClient(transport=velocity.ASGITransport(app)) as client:
        reveal_type((await client.get("/")).text)
        async with client.stream("GET", "/") as streamed:
            async for line in streamed.aiter_lines():
                reveal_type(line)


async def app(scope: object, receive: object, send: object) -> None: ...


def answer(request: velocity.Request) -> velocity.Response:
    return velocity.Response(200, text=request.url.path)


mock = Client(transport=velocity.MockTransport(answer))
try:
    velocity.get("https://h/", verify=False).raise_for_status()
except velocity.HTTPStatusError as error:
    reveal_type(error.response.status_code)
except velocity.ConnectTimeout as error:
    reveal_type(error.code)
reveal_type(EasyClient.connect("h").fetch_text("/"))
"""
EXPECTED = [
    r"(velocity\.client\.responses\.)?Response", r"str \| None", r"str \| None", r"bytes", r"str", r"str", r"int",
    r"str", r"str",
]  # fmt: skip
WRONG = {
    "velocity.get(7)": r"int",
    'velocity.get("https://h/", tiemout=3)': r"tiemout",
    'Client(protocols=["h4"])': r"h4",
    'Client(fallback="sometimes")': r"sometimes",
    "response.velocity.alpnn": r"alpnn",
    "velocity.nothing": r"nothing",
    'Client(limits="many")': r"str",
}


@pytest.mark.parametrize("name", checkers.NAMES)
def test_type_checkers(name: str, tmp_path: Path) -> None:
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    said = checkers.said(name, PROGRAM, tmp_path)
    revealed = re.findall(r"(?:Revealed type is|is) \"(.*?)\"", said)
    assert len(revealed) == len(EXPECTED), said
    for kind, expected in zip(revealed, EXPECTED, strict=True):
        assert re.fullmatch(expected, kind.replace("builtins.", "").replace("Union[str, None]", "str | None")), said
    checkers.finds(name, PROGRAM, WRONG, tmp_path)
