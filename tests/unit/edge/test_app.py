"""An application as a whole: methods, slashes, middleware, exceptions, routers, mounts, start and stop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from velocity.edge import (
    BackgroundTasks,
    Depends,
    EdgeApp,
    EdgeRequest,
    EdgeResponse,
    HTTPProblem,
    Next,
    Router,
)
from velocity.edge.testing import TestClient
from velocity.edge.types import ASGIApp, Receive, Scope, Send
from velocity.errors import ConfigError, StartError


def hello(app: Router, path: str = "/hello", method: str = "GET") -> None:
    @app.route(path, (method,), operation_id=f"{method}{path}")
    async def handler() -> str:
        return f"{method} {path}"


# --- methods and addresses ---


def test_methods() -> None:
    app = EdgeApp()
    for method in ("get", "post", "put", "patch", "delete"):
        getattr(app, method)(f"/{method}")(lambda request: request.method)
    client = TestClient(app)
    for method in ("get", "post", "put", "patch", "delete"):
        assert getattr(client, method)(f"/{method}").text == method.upper()
    app.route("/x", ["purge"])(lambda: "x")
    assert client.request("PURGE", "/x").text == "x"
    with pytest.raises(ConfigError, match="'a b' is no method"):
        app.route("/y", ["a b"])(lambda: "")


def test_what_there_is_for_nothing() -> None:
    app = EdgeApp()
    hello(app)
    hello(app, method="POST")
    client = TestClient(app)
    head = client.head("/hello")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", "10")
    options = client.options("/hello")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = client.delete("/hello")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert client.options("/none").status == 404


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/problem+json"),
        ("", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; charset=utf-8"),
        ("text/*", "text/plain; charset=utf-8"),
        ("text/html;q=0.5, application/problem+json;q=0.9", "application/problem+json"),
        ("text/html;q=x", "application/problem+json"),
        (",;=,q=1;;", "application/problem+json"),
    ],
)
def test_nothing_in_the_form_that_the_client_wants(accept: str, kind: str) -> None:
    reply = TestClient(EdgeApp()).get("/none", headers={"accept": accept})
    assert (reply.status, reply.headers["content-type"], reply.headers["vary"]) == (404, kind, "accept")


def test_slashes() -> None:
    app = EdgeApp()
    hello(app, "/a")
    hello(app, "/b/")
    hello(app, "/c", "POST")
    client = TestClient(app)
    reply = client.get("/a/?q=%C3%A4")
    assert (reply.status, reply.headers["location"]) == (308, "/a?q=%C3%A4")
    assert client.get("/b", follow_redirects=True).text == "GET /b/"
    assert client.post("/c/").status == 308
    assert client.get("/c/").status == 404
    assert client.get("//evil.example/").status == 404


def test_a_route_that_is_there_twice_names_both_places() -> None:
    app = EdgeApp()

    @app.get("/users/{id}")
    async def one(id: int) -> None: ...  # noqa: A002

    def two(name: str) -> None: ...

    with pytest.raises(ConfigError) as caught:
        app.get("/users/{name}")(two)
    first = one.__code__.co_firstlineno
    assert f"{__file__}:{first} and {__file__}:{two.__code__.co_firstlineno}" in str(caught.value)


# --- handlers ---


def test_a_handler_that_blocks_holds_up_nobody() -> None:
    app = EdgeApp()
    release = threading.Event()

    @app.get("/slow")
    def slow() -> str:
        assert threading.current_thread() is not threading.main_thread()
        release.wait(10)
        return "slow"

    @app.get("/fast")
    async def fast() -> str:
        release.set()
        return "fast"

    with TestClient(app) as client:
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(client.get("/slow").text))
        thread.start()
        assert client.get("/fast").text == "fast"
        thread.join(10)
    assert answers == ["slow"]


def test_decorators_give_the_handler_back() -> None:
    app = EdgeApp()

    async def handler(number: int) -> int:
        return number

    assert app.get("/{number}")(handler) is handler
    assert asyncio.run(handler(3)) == 3


def test_callable_objects_and_partials() -> None:
    import functools

    class Adder:
        async def __call__(self, a: int, b: int) -> int:
            return a + b

    def power(a: int, b: int) -> float:
        return float(a**b)

    app = EdgeApp()
    app.get("/add/{a}/{b}")(Adder())
    app.get("/square/{a}")(functools.partial(power, b=2))
    client = TestClient(app)
    assert client.get("/add/2/3").json() == 5
    assert client.get("/square/3").json() == 9.0


def test_background_tasks(caplog: pytest.LogCaptureFixture) -> None:
    app = EdgeApp()
    done: list[object] = []

    async def later(what: str, *, times: int) -> None:
        done.append((what, times))

    def fails() -> None:
        raise RuntimeError("in the background")

    @app.get("/")
    async def handler(tasks: BackgroundTasks) -> EdgeResponse:
        tasks.add(later, "a", times=2)
        tasks.add(fails)
        tasks.add(done.append, "b")
        response = EdgeResponse.text("sent")
        response.background.add(done.append, "own")
        done.append("handled")
        return response

    assert TestClient(app).get("/").text == "sent"
    assert done == ["handled", "own", ("a", 2), "b"]
    assert "a background task failed" in caplog.text


# --- middleware ---


def test_middleware() -> None:
    seen: list[str] = []

    def noting(name: str) -> Any:
        async def middleware(request: EdgeRequest, call_next: Next) -> EdgeResponse:
            seen.append(name)
            response = await call_next(request)
            seen.append(f"{name} {response.status}")
            response.headers[f"x-{name}"] = "1"
            return response

        return middleware

    router = Router("/r", middleware=[noting("router")])

    @router.get("/", middleware=[noting("route")])
    async def handler() -> None:
        raise HTTPProblem(418)

    app = EdgeApp(middleware=[noting("first")])
    app.middleware(noting("second"))
    app.include(router)
    reply = TestClient(app).get("/r/")
    assert seen == [
        *("first", "second", "router", "route"),
        *("route 418", "router 418", "second 418", "first 418"),
    ]
    assert {"x-first", "x-second", "x-router", "x-route"} < set(reply.headers)
    seen.clear()
    assert TestClient(app).get("/none").status == 404
    assert seen == ["first", "second", "second 404", "first 404"]


def test_middleware_that_answers_and_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    app = EdgeApp()

    @app.middleware
    async def outer(request: EdgeRequest, call_next: Next) -> EdgeResponse:
        response = await call_next(request)
        response.headers["x-outer"] = str(response.status)
        return response

    @app.middleware
    async def inner(request: EdgeRequest, call_next: Next) -> EdgeResponse:
        if "refuse" in request.query:
            return EdgeResponse.text("no", 403)
        if "fail" in request.query:
            raise RuntimeError("broken")
        request.state.user = "Ada"
        return "nothing"  # type: ignore[return-value]

    hello(app)
    client = TestClient(app)
    assert client.get("/hello?refuse").headers["x-outer"] == "403"
    assert client.get("/hello?fail").headers["x-outer"] == "500"
    assert client.get("/hello").headers["x-outer"] == "500"
    assert "inner returned str, and no EdgeResponse" in caplog.text


def test_asgi_middleware() -> None:
    order: list[str] = []

    class Noting:
        def __init__(self, app: ASGIApp, name: str) -> None:
            self.app, self.name = app, name

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            order.append(self.name)
            await self.app(scope, receive, send)

    app = EdgeApp()
    hello(app)
    app.add_middleware(Noting, "outer")
    app.add_middleware(Noting, name="inner")
    assert TestClient(app).get("/hello").text == "GET /hello"
    assert order == ["outer", "inner"]


# --- exceptions ---


class TeapotError(Exception):
    pass


class SmallTeapotError(TeapotError):
    pass


def test_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    app = EdgeApp()

    @app.exception_handler(TeapotError)
    def teapot(request: EdgeRequest, error: TeapotError) -> EdgeResponse:
        return EdgeResponse.text(f"{type(error).__name__} at {request.path}", 418)

    @app.exception_handler(KeyError)
    async def key(request: EdgeRequest, error: KeyError) -> dict[str, str]:
        return {"missing": str(error.args[0])}

    @app.exception_handler(LookupError)
    async def worse(request: EdgeRequest, error: LookupError) -> None:
        raise HTTPProblem(410, "gone for good")

    errors = {"tea": SmallTeapotError(), "key": KeyError("k"), "index": IndexError(), "other": RuntimeError("secret")}

    @app.get("/{name}")
    async def handler(name: str) -> None:
        raise errors[name]

    client = TestClient(app)
    assert (client.get("/tea").status, client.get("/tea").text) == (418, "SmallTeapotError at /tea")
    assert (client.get("/key").status, client.get("/key").json()) == (500, {"missing": "k"})
    assert client.get("/index").status == 410
    assert caplog.text == ""
    reply = client.get("/other")
    assert reply.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    assert "RuntimeError: secret" in caplog.text


def test_a_problem_says_what_it_is_told() -> None:
    app = EdgeApp()

    @app.get("/")
    async def handler() -> None:
        raise HTTPProblem(
            402, "30 are too few", title="No credit", problem_type="https://example.com/credit",
            headers={"x-a": "b"}, balance=30,
        )  # fmt: skip

    reply = TestClient(app).get("/")
    assert (reply.status, reply.headers["x-a"]) == (402, "b")
    assert reply.json() == {
        "type": "https://example.com/credit", "title": "No credit", "status": 402,
        "detail": "30 are too few", "balance": 30,
    }  # fmt: skip


# --- routers and mounts ---


def test_routers() -> None:
    called: list[str] = []
    inner = Router("/inner/{b}", dependencies=[Depends(lambda: called.append("inner"))])

    @inner.get("/{c}", dependencies=[Depends(lambda: called.append("route"))])
    async def handler(a: int, b: str, c: str) -> list[Any]:
        return [a, b, c]

    outer = Router("/outer", dependencies=[Depends(lambda: called.append("outer"))])
    outer.include(inner, "/{a}")
    app = EdgeApp(dependencies=[Depends(lambda: called.append("app"))])
    app.include(outer, "/v1")
    assert TestClient(app).get("/v1/outer/1/inner/2/3").json() == [1, "2", "3"]
    assert called == ["app", "outer", "inner", "route"]
    with pytest.raises(ConfigError, match="comes after its router was included"):
        inner.get("/late")(lambda: "")
    with pytest.raises(ConfigError, match="no beginning of a path"):
        Router("users/")


def test_mounts() -> None:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        text = f"{scope['root_path']} {scope['path']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})

    inner = EdgeApp()
    started: list[str] = []
    inner.on_startup(lambda: started.append("inner"))
    hello(inner, "/deep/{x}")
    hello(inner, "/slash/")
    app = EdgeApp()
    app.mount("/sub/", inner)
    app.mount("/foreign", foreign)
    hello(app, "/foreign/own")
    with TestClient(app) as client:
        assert started == ["inner"]
        assert client.get("/sub/deep/1").text == "GET /deep/{x}"
        assert client.get("/sub/slash").headers["location"] == "/sub/slash/"
        assert client.get("/sub/openapi.json").json()["paths"].keys() == {"/deep/{x}", "/slash/"}
        assert client.get("/sub/none").status == 404
        assert client.post("/foreign/a/b").text == "/foreign /foreign/a/b"
        assert client.get("/foreign").text == "/foreign /foreign"
        assert client.get("/foreign/own").text == "GET /foreign/own"


def test_below_a_root_path() -> None:
    app = EdgeApp()
    hello(app, "/hello/")

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "root_path": "/api"}, receive, send)

    client = TestClient(behind)
    assert client.get("/api/hello/").text == "GET /hello/"
    assert client.get("/api/hello").headers["location"] == "/api/hello/"
    assert client.get("/apihello/").status == 404


# --- start and stop ---


def test_the_life_of_an_application() -> None:
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(app: EdgeApp) -> AsyncIterator[None]:
        app.state.database = "open"
        life.append("enter")
        yield
        life.append("leave")

    app = EdgeApp(lifespan=lifespan)

    @app.on_startup
    async def start() -> None:
        life.append("start")

    @app.on_shutdown
    def stop() -> None:
        life.append("stop")

    @app.on_shutdown
    async def stop_first() -> None:
        life.append("stop first")

    @app.get("/")
    async def handler(request: EdgeRequest) -> str:
        return str(request.app.state.database)

    with TestClient(app) as client:
        assert client.get("/").text == "open"
        assert life == ["enter", "start"]
    assert life == ["enter", "start", "stop first", "stop", "leave"]


def test_an_application_that_does_not_start() -> None:
    app = EdgeApp()

    @app.on_startup
    def start() -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"), TestClient(app):
        pass


def test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    app = EdgeApp()
    served: list[object] = []
    module = types.ModuleType("velocity.asgi")
    monkeypatch.setitem(sys.modules, "velocity.asgi", module)
    with pytest.raises(StartError, match="serves no applications") as caught:
        app.run()
    assert (caught.value.code, caught.value.exit_code) == ("ASGI_SERVER_MISSING", 3)
    module.serve = lambda *args, **options: served.append((args, options))  # type: ignore[attr-defined]
    app.run(listen="127.0.0.1:0")
    assert served == [((app,), {"listen": "127.0.0.1:0"})]


# --- requests ---


def test_a_request() -> None:
    app = EdgeApp()
    facts: dict[str, Any] = {}

    @app.post("/x/{name}")
    async def handler(request: EdgeRequest) -> None:
        facts.update(
            method=request.method, path=request.path, params=dict(request.params), query=request.query.pairs(),
            host=request.host, scheme=request.scheme, client=request.client, tls=request.tls, body=await request.body(),
            again=b"".join([piece async for piece in request.stream()]), json=await request.json(),
            text=await request.text(), cookies=dict(request.cookies),
        )  # fmt: skip

    known = {"alpn": "velocity/1", "group": "X25519MLKEM768", "profile": "balanced", "early_data": True, "new": 1}
    client = TestClient(app, extensions={"velocity": known})
    client.cookies["a"] = "b"
    assert client.post("/x/%C3%A4?q=1&q=2", content=[b"[1", b",2]"]).status == 204
    from velocity.edge.requests import Address, Tls

    assert facts == {
        "method": "POST", "path": "/x/ä", "params": {"name": "ä"}, "query": [("q", "1"), ("q", "2")],
        "host": "testserver", "scheme": "https", "client": Address("127.0.0.1", 50000),
        "tls": Tls(alpn="velocity/1", group="X25519MLKEM768", profile="balanced", early_data=True),
        "body": b"[1,2]", "again": b"[1,2]", "json": [1, 2], "text": "[1,2]", "cookies": {"a": "b"},
    }  # fmt: skip


def test_bodies_are_bounded() -> None:
    app = EdgeApp(max_body=10)

    async def size(request: EdgeRequest) -> int:
        return len(await request.body())

    app.post("/small")(size)
    app.post("/large", max_body=100)(size)
    app.post("/any", max_body=None)(size)
    client = TestClient(app)
    for content in (b"x" * 11, [b"x" * 6, b"x" * 5]):
        assert client.post("/small", content=content).status == 413
    assert client.post("/large", content=b"x" * 100).json() == 100
    assert client.post("/any", content=b"x" * 3_000_000).json() == 3_000_000


def test_json_that_is_none() -> None:
    app = EdgeApp()

    @app.post("/")
    async def handler(request: EdgeRequest) -> Any:
        return await request.json()

    client = TestClient(app)
    assert client.post("/", content="{").status == 400
    assert client.post("/", content="NaN").status == 400
    assert client.post("/", content="[1]").json() == [1]


def test_an_annotated_request() -> None:
    app = EdgeApp()

    @app.get("/")
    async def handler(request: Annotated[EdgeRequest, "of whom"]) -> str:
        return request.method

    assert TestClient(app).get("/").text == "GET"


def test_time_is_not_wasted() -> None:
    """A handler that is not asynchronous runs beside others, not after them."""
    app = EdgeApp()

    @app.get("/")
    def handler() -> None:
        time.sleep(0.3)

    begin = time.monotonic()
    with TestClient(app) as client:
        threads = [threading.Thread(target=client.get, args=("/",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert time.monotonic() - begin < 1.5
