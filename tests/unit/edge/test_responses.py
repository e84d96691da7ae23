"""Answers: what handlers return, cookies, and what no answer can have."""

import dataclasses
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, Field

from velocity.edge import EdgeApp, EdgeResponse, MutableHeaders
from velocity.edge.testing import TestClient


class Model(BaseModel):
    some_name: int = Field(default=1, alias="someName")


@dataclasses.dataclass
class Data:
    when: datetime.date


async def pieces() -> AsyncIterator[str]:
    yield "a"
    yield "b"


JSON, TEXT = "application/json", "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("value", "status", "kind", "content"),
    [
        (None, 204, None, b""),
        ("ä", 200, TEXT, "ä".encode()),
        (b"\0", 200, "application/octet-stream", b"\0"),
        ({"a": [1, None, True]}, 200, JSON, b'{"a":[1,null,true]}'),
        ([Model()], 200, JSON, b'[{"someName":1}]'),
        (Data(datetime.date(2030, 1, 2)), 200, JSON, b'{"when":"2030-01-02"}'),
        (float("nan"), 200, JSON, b"null"),
        (0, 200, JSON, b"0"),
        (False, 200, JSON, b"false"),
        (EdgeResponse.html("<p>", 201), 201, "text/html; charset=utf-8", b"<p>"),
        (EdgeResponse.redirect("/there", 303), 303, None, b""),
        (EdgeResponse(b"x", 205), 205, None, b""),
        (pieces(), 200, "application/octet-stream", b"ab"),
        (iter([b"a", "ä"]), 200, "application/octet-stream", b"a\xc3\xa4"),
    ],
)
def test_what_handlers_return(value: Any, status: int, kind: str | None, content: bytes) -> None:
    app = EdgeApp()

    @app.get("/")
    async def handler() -> Any:
        return value

    reply = TestClient(app).get("/")
    assert (reply.status, reply.headers.get("content-type"), reply.content) == (status, kind, content)
    assert ("content-length" in reply.headers) is (
        status not in (204, 205) and not (hasattr(value, "__aiter__") or hasattr(value, "__next__"))
    )


def test_the_status_of_a_route_is_for_what_is_no_answer_yet() -> None:
    app = EdgeApp()
    app.get("/a", status=202)(lambda: "a")
    app.get("/b", status=202)(lambda: None)
    app.get("/c", status=202)(lambda: EdgeResponse(b"", 418))
    client = TestClient(app)
    assert [client.get(path).status for path in ("/a", "/b", "/c")] == [202, 202, 418]


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1, object()}, type])
def test_what_is_no_answer_is_a_fault_of_ours(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = EdgeApp()

    @app.get("/")
    async def handler() -> Any:
        return value

    reply = TestClient(app).get("/")
    assert reply.status == 500
    assert reply.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    assert "GET / failed" in caplog.text


def test_cookies() -> None:
    response = EdgeResponse()
    response.set_cookie("a", "1")
    response.set_cookie(
        "b", "x y;", max_age=60, path="/p", domain="example.com", secure=False, http_only=False, same_site="strict"
    )
    response.delete_cookie("c")
    assert response.headers.getlist("set-cookie") == [
        "a=1; HttpOnly; Path=/; SameSite=Lax; Secure",
        'b="x y\\073"; Domain=example.com; Max-Age=60; Path=/p; SameSite=Strict',
        'c=""; HttpOnly; Max-Age=0; Path=/; SameSite=Lax; Secure',
    ]
    with pytest.raises(ValueError, match="no name of a cookie"):
        response.set_cookie("a b", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("a b", ""), ("", ""), ("a:", ""), ("ä", ""), ("a", "x\r\nset-cookie: y=1"), ("a", "\0"), ("a", "€")],
)
def test_no_header_fields(name: str, value: str) -> None:
    for make in (
        lambda: EdgeResponse(headers={name: value}),
        lambda: EdgeResponse().headers.add(name, value),
        lambda: EdgeResponse().headers.__setitem__(name, value),
    ):
        with pytest.raises(ValueError, match=r"header field|control character"):
            make()


def test_redirects_have_nothing_that_no_address_has() -> None:
    assert EdgeResponse.redirect("/ä b?q=%C3%A4&r=€").headers["location"] == "/%C3%A4%20b?q=%C3%A4&r=%E2%82%AC"
    assert EdgeResponse.redirect("/\r\nx: y").headers["location"] == "/%0D%0Ax:%20y"


def test_header_fields() -> None:
    headers = MutableHeaders([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (headers["A"], headers.getlist("a"), list(headers), len(headers)) == ("1, 3", ["1", "3"], ["a", "b"], 2)
    headers["a"] = " 4 "
    headers.setdefault("a", "5")
    headers.setdefault("C", "6")
    del headers["b"]
    assert headers.raw == [(b"a", b"4"), (b"c", b"6")]
    with pytest.raises(KeyError):
        headers["b"]
