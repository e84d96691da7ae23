"""Typed parameters: where they come from, what they become, and what a client is told that got them wrong."""

import dataclasses
import datetime
import enum
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from velocity.edge import (
    Body,
    Cookie,
    Depends,
    EdgeApp,
    EdgeRequest,
    FormData,
    Header,
    Path,
    Query,
    UploadFile,
    WebSocket,
)
from velocity.edge.testing import Reply, TestClient
from velocity.errors import ConfigError


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


class Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")
    page: int = 1
    sort: Literal["name", "price"] = "name"
    tag: list[str] = []


class Colour(enum.Enum):
    RED = "red"


class Point(TypedDict):
    x: int


@dataclasses.dataclass
class Size:
    width: int


def client(handler: Callable[..., Any], path: str = "/", method: str = "GET", **options: Any) -> TestClient:
    app = EdgeApp()
    app.route(path, (method,), **options)(handler)
    return TestClient(app)


def errors(reply: Reply) -> list[tuple[str, ...]]:
    assert reply.status == 422
    assert reply.headers["content-type"] == "application/problem+json"
    return [tuple(error.get(key, "") for key in ("in", "name", "pointer", "type")) for error in reply.json()["errors"]]


# --- the path ---


def test_path() -> None:
    async def handler(id: int, when: datetime.date, rest: str) -> list[Any]:  # noqa: A002
        return [id, when, rest]

    asked = client(handler, "/{id}/{when}/{*rest}")
    assert asked.get("/7/2030-01-02/a/b").json() == [7, "2030-01-02", "a/b"]
    assert errors(asked.get("/x/y/z")) == [
        ("path", "id", "", "int_parsing"),
        ("path", "when", "", "date_from_datetime_parsing"),
    ]


def test_an_alias() -> None:
    async def handler(
        number: Annotated[int, Path(alias="id")], page: Annotated[int, Query(alias="p")] = 1
    ) -> list[int]:
        return [number, page]

    assert client(handler, "/{id}").get("/3?p=4&page=5").json() == [3, 4]


# --- the query ---


@pytest.mark.parametrize(
    ("annotation", "query", "expected"),
    [
        (int, "v=3", 3),
        (float, "v=1.5", 1.5),
        (bool, "v=true", True),
        (bool, "v=off", False),
        (str, "v=%C3%A4+b", "ä b"),
        (str, "v=", ""),
        (str, "v=1&v=2", "2"),
        (list[int], "v=1&v=2", [1, 2]),
        (set[str], "v=a&v=a", ["a"]),
        (tuple[int, str], "v=1&v=b", [1, "b"]),
        (list[int] | None, "v=1", [1]),
        (Colour, "v=red", "red"),
        (uuid.UUID, "v=12345678123456781234567812345678", "12345678-1234-5678-1234-567812345678"),
        (datetime.timedelta, "v=PT1H", "PT1H"),
        (Literal["a", "b"], "v=b", "b"),
        (Annotated[int, Field(ge=3)], "v=3", 3),
        (int | None, "v=7", 7),
    ],
)
def test_query(annotation: Any, query: str, expected: Any) -> None:
    async def handler(v):  # type: ignore[no-untyped-def]
        return {"v": v}

    handler.__annotations__["v"] = annotation
    assert client(handler).get(f"/?{query}").json() == {"v": expected}


@pytest.mark.parametrize(
    ("annotation", "query", "kind"),
    [
        (int, "", "missing"),
        (int, "v=", "int_parsing"),
        (int, "v=1.5", "int_parsing"),
        (bool, "v=maybe", "bool_parsing"),
        (Literal["a"], "v=b", "literal_error"),
        (list[int], "v=1&v=x", "int_parsing"),
        (Annotated[int, Field(ge=3)], "v=2", "greater_than_equal"),
    ],
)
def test_no_such_query(annotation: Any, query: str, kind: str) -> None:
    async def handler(v):  # type: ignore[no-untyped-def]
        return None

    handler.__annotations__["v"] = annotation
    assert errors(client(handler).get(f"/?{query}")) == [("query", "v", "", kind)]


@given(st.text(max_size=40), st.integers(-(10**15), 10**15), st.lists(st.text(max_size=10), max_size=5))
def test_values_come_as_they_were_sent(text: str, number: int, many: list[str]) -> None:
    async def handler(text: str, number: int, many: Annotated[list[str], Query()] = []) -> list[Any]:  # noqa: B006
        return [text, number, many]

    reply = client(handler).get("/", params={"text": text, "number": number, "many": many})
    assert reply.json() == [text.encode("utf-8", "replace").decode(), number, many]


def test_a_model_of_the_query() -> None:
    async def handler(filters: Annotated[Filters, Query()]) -> Filters:
        return filters

    asked = client(handler)
    assert asked.get("/?page=2&tag=a&tag=b").json() == {"page": 2, "sort": "name", "tag": ["a", "b"]}
    assert errors(asked.get("/?page=x&sort=size&more=1")) == [
        ("query", "page", "", "int_parsing"),
        ("query", "sort", "", "literal_error"),
        ("query", "more", "", "extra_forbidden"),
    ]


def test_endless_queries_are_refused() -> None:
    async def handler(v: str = "") -> None: ...

    assert client(handler).get("/?" + "&".join(["v=1"] * 1001)).status == 400


# --- header fields and cookies ---


def test_headers_and_cookies() -> None:
    async def handler(
        x_token: Annotated[str, Header()],
        accept: Annotated[list[str], Header()],
        session: Annotated[str | None, Cookie()] = None,
        agent: Annotated[str, Header(alias="User-Agent")] = "",
    ) -> list[Any]:
        return [x_token, accept, session, agent]

    asked = client(handler)
    fields = {"X-Token": "t", "Accept": "a/b, c/d", "Cookie": 'x=1; session="s"', "User-Agent": "me"}
    assert asked.get("/", headers=fields).json() == ["t", ["a/b", "c/d"], "s", "me"]
    assert errors(asked.get("/")) == [("header", "x-token", "", "missing")]


# --- bodies ---


def test_a_json_body() -> None:
    async def handler(item: Item) -> Item:
        return item

    asked = client(handler, method="POST")
    assert asked.post("/", json={"name": "a", "price": 1}).json() == {"name": "a", "price": 1.0, "tags": []}
    reply = asked.post("/", json={"price": -1, "tags": ["a", 1]})
    assert errors(reply) == [
        ("body", "", "#/name", "missing"),
        ("body", "", "#/price", "greater_than"),
        ("body", "", "#/tags/1", "string_type"),
    ]
    assert "-1" not in reply.text  # what was sent is not repeated


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b'{"name": "a", "price": 1}', "application/problem+json; charset=utf-8", 204),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"", "application/json", 400),
        (b" " * 2_000, "application/json", 413),
    ],
)
def test_bodies_that_are_not_taken(content: bytes, kind: str | None, status: int) -> None:
    async def handler(item: Item) -> None: ...

    headers = {"content-type": kind} if kind else {}
    limit = 20_000 if status != 413 else 1_000
    asked = client(handler, method="POST", max_body=limit)
    assert asked.post("/", content=content, headers=headers).status == status
    assert asked.post("/", content=[content, b""], headers=headers).status == status  # without a length


def test_several_of_a_body_are_members_of_it() -> None:
    async def handler(item: Item, amount: Annotated[int, Body()], note: Annotated[str, Body()] = "-") -> list[Any]:
        return [item.name, amount, note]

    asked = client(handler, method="POST")
    assert asked.post("/", json={"item": {"name": "a", "price": 1}, "amount": 2}).json() == ["a", 2, "-"]
    assert errors(asked.post("/", json={"item": {"name": "a", "price": 0}})) == [
        ("body", "", "#/item/price", "greater_than"),
        ("body", "", "#/amount", "missing"),
    ]


def test_pointers_are_escaped() -> None:
    async def handler(numbers: dict[str, int]) -> None: ...

    assert errors(client(handler, method="POST").post("/", json={"a/b~ü": "x"})) == [
        ("body", "", "#/a~1b~0%C3%BC", "int_parsing")
    ]


@pytest.mark.parametrize(
    ("annotation", "sent"),
    [
        (Point, {"x": 1}),
        (Size, {"width": 1}),
        (dict[str, int], {"a": 1}),
        (list[Item], [{"name": "a", "price": 1.0, "tags": []}]),
    ],
)
def test_what_has_members_is_a_body(annotation: Any, sent: Any) -> None:
    async def handler(value):  # type: ignore[no-untyped-def]
        return value

    handler.__annotations__["value"] = annotation
    assert client(handler, method="POST").post("/", json=sent).json() == sent


def test_a_body_as_it_is() -> None:
    async def handler(body: Annotated[bytes, Body()]) -> bytes:
        return body[::-1]

    async def text(body: Annotated[str, Body()] = "none") -> str:
        return body

    assert client(handler, method="POST").post("/", content=b"\x00\xff").content == b"\xff\x00"
    assert client(text, method="POST").post("/", content="ä").text == "ä"
    assert client(text, method="POST").post("/").text == "none"
    assert client(text, method="POST").post("/", content=b"\xff").status == 400


def test_forms() -> None:
    async def handler(
        name: Annotated[str, FormData()],
        file: UploadFile,
        more: Annotated[list[UploadFile], FormData()] = [],  # noqa: B006
        age: Annotated[int | None, FormData()] = None,
    ) -> list[Any]:
        return [name, age, file.filename, file.content_type, (await file.read()).decode(), len(more)]

    asked = client(handler, method="POST")
    files = {"file": ("../a.txt", b"hello", "text/plain"), "more": b"x"}
    assert asked.post("/", data={"name": "a", "age": 3}, files=files).json() == [
        "a",
        3,
        "a.txt",
        "text/plain",
        "hello",
        1,
    ]
    assert errors(asked.post("/", data={"age": "x", "file": "text"})) == [
        ("body", "name", "", "missing"),
        ("body", "file", "", "is_instance_of"),
        ("body", "age", "", "int_parsing"),
    ]
    assert asked.post("/", json={}).status == 415


def test_a_model_of_a_form() -> None:
    async def handler(item: Annotated[Item, FormData()]) -> Item:
        return item

    reply = client(handler, method="POST").post("/", data={"name": "a", "price": "2", "tags": ["x", "y"]})
    assert reply.json() == {"name": "a", "price": 2.0, "tags": ["x", "y"]}


def test_everything_wrong_is_told_at_once() -> None:
    async def handler(id: int, item: Item, page: int, x_a: Annotated[int, Header()]) -> None: ...  # noqa: A002

    reply = client(handler, "/{id}", "POST").post("/x?page=y", json={}, headers={"x-a": "z"})
    assert [one[0] for one in errors(reply)] == ["path", "query", "header", "body", "body"]


def test_people_are_told_in_text() -> None:
    async def handler(page: int) -> None: ...

    reply = client(handler).get("/?page=x", headers={"accept": "text/html,*/*;q=0.8"})
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text.startswith(
        "422 Unprocessable Content\n1 value is not what this resource takes\nquery page: Input"
    )


# --- how parameters are guessed ---


def test_without_annotations() -> None:
    async def handler(request, name, page="1"):  # type: ignore[no-untyped-def]
        assert isinstance(request, EdgeRequest)
        return [name, page]

    assert client(handler, "/{name}").get("/7?page=2").json() == ["7", "2"]


def test_names_that_only_the_function_around_knows() -> None:
    class Local(BaseModel):
        x: int

    async def handler(local: "Local") -> "Local":
        return local

    assert client(handler, method="POST").post("/", json={"x": 1}).json() == {"x": 1}


def _default_marker(page: int = Query()) -> None: ...  # type: ignore[assignment]
def _depends_default(page: int = Depends(int)) -> None: ...  # type: ignore[assignment]
def _anything(*args: int) -> None: ...
def _by_position(page: int, /) -> None: ...
def _two_marks(page: Annotated[int, Query(), Header()]) -> None: ...
def _no_such_path(page: Annotated[int, Path()]) -> None: ...
def _path_default(id: int = 3) -> None: ...  # noqa: A002
def _two_bodies(item: Item, name: Annotated[str, FormData()]) -> None: ...
def _unknown(page: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _unfit(page: object.__class__.__call__) -> None: ...  # type: ignore[name-defined]
def _websocket(ws: WebSocket) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (_default_marker, r"has Query\(\.\.\.\) as the default of page"),
        (_depends_default, r"has Depends\(\.\.\.\) as the default of page"),
        (_anything, r"takes any arguments \(\*args: int\)"),
        (_by_position, "takes page by position only"),
        (_two_marks, "says twice where page comes from"),
        (_no_such_path, "takes page from the path, which has no such parameter"),
        (_path_default, "has a default for id, which the path always has"),
        (_two_bodies, "takes item as JSON and name from a form"),
        (_unknown, "has an annotation that cannot be evaluated: name 'Nowhere' is not defined"),
        (_unfit, "page, which cannot be validated"),
        (_websocket, "serves requests and takes a WebSocket"),
    ],
)
def test_handlers_that_cannot_be(handler: Callable[..., Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        EdgeApp().get("/{id}")(handler)
    line = handler.__code__.co_firstlineno
    assert str(caught.value).startswith(f"{__file__}:{line}: {handler.__name__} ")
    assert caught.value.code == "HANDLER_INVALID"
    assert "\n" not in str(caught.value)
