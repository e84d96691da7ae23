"""The OpenAPI document: valid for a library of others, and true; and the page that shows it."""

import datetime
import re
from typing import Annotated, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

from velocity.edge import (
    Body,
    Cookie,
    Depends,
    EdgeApp,
    EdgeRequest,
    EdgeResponse,
    FormData,
    Header,
    Query,
    Router,
    UploadFile,
    WebSocket,
)
from velocity.edge.testing import TestClient


class Tag(BaseModel):
    name: str = Field(max_length=5)


class Item(BaseModel):
    """Something to sell."""

    name: str
    price: float = Field(gt=0, description="in euros")
    tags: list[Tag] = []
    parent: "Item | None" = None


class Filters(BaseModel):
    page: int = 1
    sort_by: str


def user(authorization: Annotated[str, Header(description="who asks")] = "") -> str:
    return authorization


def application() -> EdgeApp:
    app = EdgeApp(title="Shop <1>", version="2.0", description="All of it.")
    router = Router("/items", tags=["items"])

    @router.get("/{id}", summary="Find one", deprecated=True)
    async def find(id: int, user: Annotated[str, Depends(user)], q: Annotated[int, Query(), Field(ge=1)] = 3) -> Item:  # noqa: A002
        raise NotImplementedError

    @router.post("", status=201)
    async def create(item: Item, session: Annotated[str | None, Cookie(deprecated=True)] = None) -> Item:
        """Add an item.

        It is there at once.
        """
        raise NotImplementedError

    @router.get("")
    async def find_all(filters: Annotated[Filters, Query()], x: Annotated[Filters, Header()]) -> list[Item]:
        raise NotImplementedError

    @app.post("/several")
    async def several(item: Item, amount: Annotated[int, Body()] = 1) -> None: ...

    @app.post("/upload")
    async def upload(file: UploadFile, note: Annotated[str, FormData()], more: list[UploadFile] = []) -> str:  # noqa: B006
        raise NotImplementedError

    @app.post("/form")
    async def form(item: Annotated[Tag, FormData()]) -> bytes:
        raise NotImplementedError

    @app.put("/raw")
    async def raw(body: Annotated[bytes, Body()]) -> EdgeResponse:
        raise NotImplementedError

    @app.route("/many/{*rest}", ["GET", "DELETE", "PURGE"])
    async def many(request: EdgeRequest) -> dict[str, datetime.date] | EdgeResponse:
        raise NotImplementedError

    @app.get("/hidden", hidden=True)
    async def hidden() -> object: ...

    @app.get("/odd")
    async def odd() -> object:
        raise NotImplementedError

    @app.websocket("/ws")
    async def ws(ws: WebSocket) -> None: ...

    app.include(router)
    app.rules.text("/rule", "")
    return app


DOCUMENT: Any = TestClient(application()).get("/openapi.json").json()


def operation(path: str, method: str) -> Any:
    return DOCUMENT["paths"][path][method]


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"] == "3.1.1"
    assert DOCUMENT["info"] == {"title": "Shop <1>", "version": "2.0", "description": "All of it."}


def test_the_check_itself() -> None:
    with pytest.raises(Exception, match="required"):
        OpenAPIV31SpecValidator({**DOCUMENT, "info": {}}).validate()


def test_what_is_there() -> None:
    assert {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods} == {
        ("/items/{id}", "get"), ("/items", "post"), ("/items", "get"), ("/several", "post"), ("/upload", "post"),
        ("/form", "post"), ("/raw", "put"), ("/many/{rest}", "get"), ("/many/{rest}", "delete"), ("/odd", "get"),
    }  # fmt: skip
    names = [one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))


def test_parameters() -> None:
    found = {(one["in"], one["name"]): one for one in operation("/items/{id}", "get")["parameters"]}
    assert found["path", "id"]["required"] is True
    assert found["query", "q"]["schema"] == {"type": "integer", "minimum": 1, "default": 3}
    assert found["header", "authorization"]["description"] == "who asks"
    assert operation("/items/{id}", "get")["deprecated"] is True
    listed = {(one["in"], one["name"], one["required"]) for one in operation("/items", "get")["parameters"]}
    assert listed == {
        ("query", "page", False), ("query", "sort_by", True), ("header", "page", False), ("header", "sort-by", True),
    }  # fmt: skip
    assert operation("/items", "post")["parameters"][0]["deprecated"] is True
    assert operation("/many/{rest}", "get")["parameters"] == [
        {"name": "rest", "in": "path", "required": True, "schema": {"type": "string"}}
    ]


def test_bodies_and_answers() -> None:
    create = operation("/items", "post")
    assert (create["summary"], create["description"], create["tags"]) == (
        "Add an item",
        "It is there at once.",
        ["items"],
    )
    assert create["requestBody"]["content"]["application/json"]["schema"]["$ref"].startswith(
        "#/components/schemas/Item"
    )
    assert create["responses"].keys() == {"201", "422", "default"}
    assert operation("/several", "post")["responses"].keys() == {"204", "422", "default"}
    assert operation("/items", "get")["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    upload = operation("/upload", "post")["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert upload["properties"]["file"] == {"type": "string", "format": "binary"}
    assert upload["required"] == ["file", "note"]
    assert "application/x-www-form-urlencoded" in operation("/form", "post")["requestBody"]["content"]
    assert operation("/raw", "put")["requestBody"]["content"].keys() == {"application/octet-stream"}
    assert "content" not in operation("/raw", "put")["responses"]["200"]
    problem = create["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/HTTPProblem"}


def test_models_of_one_name_are_told_apart() -> None:
    def one() -> type[BaseModel]:
        class Thing(BaseModel):
            a: int

        return Thing

    def two() -> type[BaseModel]:
        class Thing(BaseModel):
            b: int

        return Thing

    app = EdgeApp()
    for path, model in (("/one", one()), ("/two", two())):

        async def handler(thing):  # type: ignore[no-untyped-def]
            return None

        handler.__annotations__["thing"] = model
        app.post(path)(handler)
    schemas = app.openapi()["components"]["schemas"]
    assert sorted(next(iter(schema["properties"])) for name, schema in schemas.items() if "Thing" in name) == ["a", "b"]


def test_routes_that_come_later_are_in_it() -> None:
    app = EdgeApp()
    assert app.openapi()["paths"] == {}
    app.get("/later")(lambda: "")
    assert list(app.openapi()["paths"]) == ["/later"]


def test_the_page() -> None:
    client = TestClient(application())
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Shop &lt;1&gt;" in page.text
    for text in ("/items/{id}", "Find one", 'href="openapi.json"', "#schema-Item"):
        assert text in page.text
    addresses = re.findall(r'(?:href|src)="([^"#]*)', page.text)
    assert set(addresses) == {"", "docs/style.css", "openapi.json"}
    assert "<script" not in page.text
    assert " style=" not in page.text  # the default policy for content would refuse it
    assert client.get("/docs/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.post("/docs").status == 405


def test_pages_that_are_not_wanted() -> None:
    client = TestClient(EdgeApp(openapi_path=None, docs_path=None))
    assert [client.get(path).status for path in ("/openapi.json", "/docs", "/docs/style.css")] == [404] * 3
    app = EdgeApp(docs_path="/about/api")
    assert 'href="../openapi.json"' in TestClient(app).get("/about/api").text
    assert 'href="api/style.css"' in TestClient(app).get("/about/api").text
    app.get("/openapi.json")(lambda: "mine")
    assert TestClient(app).get("/openapi.json").text == "mine"
