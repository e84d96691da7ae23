"""Dependencies: made once, in order, and cleaned up whatever happens."""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from velocity.edge import Body, Depends, EdgeApp, EdgeResponse, Header, HTTPProblem, WebSocket
from velocity.edge.testing import TestClient
from velocity.errors import ConfigError

log: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    log.clear()


def settings() -> dict[str, str]:
    log.append("settings")
    return {"name": "s"}


async def user(token: Annotated[str, Header()], settings: Annotated[dict[str, str], Depends(settings)]) -> str:
    if token == "bad":
        raise HTTPProblem(401, "who are you?", headers={"www-authenticate": "Bearer"})
    return f"{token}@{settings['name']}"


async def database() -> AsyncIterator[str]:
    log.append("open")
    try:
        yield "db"
        log.append("commit")
    except BaseException as error:
        log.append(f"rollback {type(error).__name__}")
        raise
    finally:
        log.append("close")


def lock() -> Iterator[int]:
    assert threading.current_thread() is not threading.main_thread()
    log.append("lock")
    yield 7
    log.append("unlock")


def test_they_are_called_once_for_a_request() -> None:
    app = EdgeApp()
    Fresh = Depends(settings, cached=False)  # noqa: N806

    @app.get("/")
    async def handler(
        user: Annotated[str, Depends(user)],
        again: Annotated[dict[str, str], Depends(settings)],
        fresh: Annotated[dict[str, str], Fresh],
    ) -> list[Any]:
        return [user, again]

    client = TestClient(app)
    assert client.get("/", headers={"token": "ada"}).json() == ["ada@s", {"name": "s"}]
    assert log == ["settings"] * 2
    assert client.get("/").json()["errors"][0]["name"] == "token"
    reply = client.get("/", headers={"token": "bad"})
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_who_is_refused_is_not_listened_to() -> None:
    app = EdgeApp()

    @app.post("/", dependencies=[Depends(user)])
    async def handler(body: dict[str, int]) -> None: ...

    assert TestClient(app).post("/", content=b"{", headers={"token": "bad"}).status == 401


def test_they_are_cleaned_up_last() -> None:
    app = EdgeApp()

    @app.get("/")
    async def handler(db: Annotated[str, Depends(database)], lock: Annotated[int, Depends(lock)]) -> EdgeResponse:
        async def pieces() -> AsyncIterator[str]:
            log.append("piece")
            yield f"{db} {lock}"

        response = EdgeResponse.stream(pieces())
        response.background.add(log.append, "background")
        return response

    assert TestClient(app).get("/").text == "db 7"
    assert log == ["open", "lock", "piece", "background", "unlock", "commit", "close"]


def test_they_learn_of_what_is_raised() -> None:
    app = EdgeApp()

    @app.get("/handler")
    async def fails(db: Annotated[str, Depends(database)]) -> None:
        raise HTTPProblem(409)

    @app.get("/other")
    async def second(db: Annotated[str, Depends(database)], user: Annotated[str, Depends(user)]) -> None: ...

    @app.get("/stream")
    async def stream(db: Annotated[str, Depends(database)]) -> EdgeResponse:
        async def pieces() -> AsyncIterator[str]:
            yield "a"
            raise RuntimeError

        return EdgeResponse.stream(pieces())

    client = TestClient(app)
    assert client.get("/handler").status == 409
    assert log == ["open", "rollback HTTPProblem", "close"]
    log.clear()
    assert client.get("/other", headers={"token": "bad"}).status == 401
    assert log == ["open", "settings", "rollback HTTPProblem", "close"]
    log.clear()
    with pytest.raises(RuntimeError):
        client.get("/stream")
    assert log == ["open", "rollback RuntimeError", "close"]


def test_what_they_raise_while_cleaning_up_is_the_answer() -> None:
    app = EdgeApp()

    async def translating() -> AsyncIterator[None]:
        try:
            yield
        except KeyError:
            raise HTTPProblem(404, "no such row") from None

    def swallowing() -> Iterator[None]:
        try:  # noqa: SIM105
            yield
        except ValueError:
            pass

    @app.get("/a", dependencies=[Depends(translating)])
    async def a() -> None:
        raise KeyError

    @app.get("/b", dependencies=[Depends(swallowing)])
    async def b() -> None:
        raise ValueError

    client = TestClient(app)
    assert client.get("/a").json()["detail"] == "no such row"
    assert client.get("/b").status == 500  # nothing was answered, whoever swallowed it


def test_classes() -> None:
    class Page:
        def __init__(self, page: int = 1, size: int = 10) -> None:
            self.first = (page - 1) * size

    app = EdgeApp()

    @app.get("/")
    def handler(page: Annotated[Page, Depends(Page)]) -> int:
        return page.first

    assert TestClient(app).get("/?page=3").json() == 20
    assert TestClient(app).get("/?page=x").status == 422


def test_websockets_have_them_too() -> None:
    app = EdgeApp()

    @app.websocket("/")
    async def handler(
        ws: WebSocket, db: Annotated[str, Depends(database)], user: Annotated[str, Depends(user)]
    ) -> None:
        await ws.send(f"{db} {user}")

    with TestClient(app).websocket("/", headers={"token": "ada"}) as ws:
        assert ws.receive() == "db ada@s"
    assert log[-2:] == ["commit", "close"]


def test_dependencies_that_cannot_be() -> None:
    async def takes_body(value: Annotated[int, Body()]) -> None: ...

    def circle(again: Annotated[int, "later"]) -> int:
        return again

    circle.__annotations__["again"] = Annotated[int, Depends(circle)]
    for function, message in ((takes_body, "is a dependency and takes a body"), (circle, "depends on itself")):

        async def handler(value: Annotated[Any, Depends(function)]) -> None: ...

        with pytest.raises(ConfigError, match=message):
            EdgeApp().get("/")(handler)
