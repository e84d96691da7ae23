"""An `EdgeApp` with rules of every kind, that remembers which requests have come to Python; `RULED` names its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from velocity.edge import EdgeApp, EdgeRequest, WebSocket
from velocity.edge.guard import Guard

FOLDER = Path(os.environ["RULED"])

seen: list[str] = []


class _Counted(Guard):
    async def __call__(self, scope: Any, receive: Any, send: Any, inner: Any) -> None:
        seen.append(scope["path"])
        await super().__call__(scope, receive, send, inner)


def made() -> EdgeApp:
    app = EdgeApp(templates_dir=FOLDER)
    app._guard = _Counted(app, app.rules)

    @app.get("/seen")
    async def before() -> list[str]:
        return seen

    return app


def answering() -> EdgeApp:
    app = made().with_rate_limit(1000, per=3600).with_headers({"x-path": "{{ path }}|{{ host }}|{{ scheme }}"})
    app.with_headers({"x-query": "{{ query.q }}"}).with_security_headers(x_frame_options="DENY")
    rules = app.rules
    rules.json("/json/{name}", {"q": "{{ query.q }} {{ request.query }}", "a": ["{{ name }}", 1, None, 1.5, True]})
    rules.json("/known", "{{ method }} {{ path }} {{ host }} {{ scheme }} {{ client }}{{ identity }}", methods=["PUT"])
    rules.json("/fields", ["{{ request.headers.x_one }}", "{{ request.headers.none }}"])
    rules.json("/upper/{name}", "{{ name | upper }}")
    rules.text("/text", "{{ as it is }} ä", status=203)
    rules.text("/nothing", "", status=204)
    rules.text("/teapot", "", status=418)
    rules.template("/page/{name}", "page.html.j2")
    rules.file("/robots.txt", FOLDER / "public" / "sub" / "a.txt")
    rules.file("/gone", FOLDER / "none.txt")
    rules.files("/static", FOLDER / "public", cache_control="max-age=60")
    rules.redirect("/old/{name}", "/new/{{ name }}?q={{ query.q }}")
    rules.redirect("/go/{*rest}", "/{{ rest }}", status=302)
    rules.text("/exact/{name}", "less exact")
    rules.text("/exact/me", "exact")
    rules.text("/mine/{name}", "a rule")
    rules.text("/mine/it/is", "a rule")

    @app.get("/mine/own")
    async def own() -> str:
        return "a handler"

    @app.post("/text")
    async def posted(request: EdgeRequest) -> bytes:
        return await request.body()

    @app.get("/boom")
    async def boom() -> str:
        raise ValueError("boom")

    return app


app = answering()
limited = made().with_rate_limit(3, per=3600)
limited.rules.text("/rule", "ok")
limited.get("/handler")(lambda: "ok")
guarded = made().with_waf(rules=[{"name": "mine", "pattern": "forbidden-word"}])
guarded.rules.text("/rule", "ok")
guarded.get("/handler")(lambda: "ok")
late = made()
broken = made().with_waf(rules=["("])
filtered = made().with_headers({"x-path": "{{ path | upper }}"}).with_rate_limit(3, per=3600)
inner = made().with_rate_limit(3, per=3600)
inner.rules.text("/rule", "inner")
outer = made()
outer.mount("/inner", inner)


@limited.websocket("/socket")
async def socket(ws: WebSocket) -> None:
    await ws.send("hello")


@late.on_startup
def on_startup() -> None:
    late.with_headers({"x-late": "yes"})
    late.rules.text("/rule", "late")


@late.get("/change/{what}")
async def change(what: str) -> str:
    try:
        match what:
            case "limit":
                late.with_rate_limit(1)
            case "attribute":
                late.rules.security_headers = False
            case "rule":
                late.rules.text("/more", "more")
            case "handler":
                late.get("/rule/more")(lambda: "")
            case "middleware":
                late.add_middleware(lambda inner: inner)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "changed"


async def python(scope: Any, receive: Any, send: Any) -> None:
    """The same, which the server does not know to be an `EdgeApp`."""
    await app(scope, receive, send)


async def limited_in_python(scope: Any, receive: Any, send: Any) -> None:
    await limited(scope, receive, send)


class _Refusing:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/private"):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body"})
            return
        await self._inner(scope, receive, send)


wrapped = made().with_headers({"x-own": "yes"})
wrapped.add_middleware(_Refusing)
wrapped.rules.text("/private", "secret")
