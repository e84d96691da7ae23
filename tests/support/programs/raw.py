"""An ASGI application without any framework: each path is one way to behave, or to misbehave."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

Scope = dict[str, Any]

heard: list[str] = []
"""What applications heard that could tell nobody."""


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await WEBSOCKETS[scope["path"]](scope, receive, send)
    else:
        await PATHS.get(scope["path"], hello)(scope, receive, send)


async def _lifespan(scope: Scope, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["started"] = "yes"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("put away", file=sys.stderr, flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, body: bytes, status: int = 200, fields: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(fields)})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"hello", fields=[(b"content-type", b"text/plain"), (b"x-twice", b"1"), (b"x-twice", b"2")])


async def facts(scope: Scope, receive: Any, send: Any) -> None:
    known = {key: value for key, value in scope.items() if key not in ("headers", "raw_path", "query_string")}
    known["raw_path"] = scope["raw_path"].decode()
    known["query_string"] = scope["query_string"].decode()
    known["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
    await answer(send, json.dumps(known).encode())


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    """Begins its answer before the request has ended."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
    await send({"type": "http.response.body"})


async def length(scope: Scope, receive: Any, send: Any) -> None:
    total, more = 0, True
    while more:
        message = await receive()
        total, more = total + len(message["body"]), message["more_body"]
    await answer(send, str(total).encode())


async def large(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64):
        await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        heard.append("large")
    await send({"type": "http.response.body"})


async def whole(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"x" * 3_000_000)


async def slowly(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b""})


async def trailers(scope: Scope, receive: Any, send: Any) -> None:
    fields = [(b"trailer", b"x-sum")]
    await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
    await send({"type": "http.response.body", "body": b"counted"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")]})


async def hint(scope: Scope, receive: Any, send: Any) -> None:
    if "http.response.early_hint" in scope["extensions"]:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
        await send({"type": "http.response.early_hint", "links": [b"</app.js>; rel=preload"]})
        await asyncio.sleep(0.05)
    await answer(send, b"hinted")


async def path_send(scope: Scope, receive: Any, send: Any) -> None:
    path = scope["query_string"].decode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.pathsend", "path": path})


async def wait(scope: Scope, receive: Any, send: Any) -> None:
    """Until the client has gone."""
    await receive()
    message = await receive()
    heard.append(f"wait: {message['type']}")
    try:
        await answer(send, b"too late")
    except OSError as error:
        heard.append(f"wait: {type(error).__name__}")
        raise


async def sleep(scope: Scope, receive: Any, send: Any) -> None:
    try:
        await asyncio.sleep(float(scope["query_string"] or b"30"))
    except asyncio.CancelledError:
        heard.append("sleep: cancelled")
        raise
    await answer(send, b"slept")


async def told(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, json.dumps(heard).encode())


async def early(scope: Scope, receive: Any, send: Any) -> None:
    raise RuntimeError("before the answer")


async def late(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the first part", "more_body": True})
    await asyncio.sleep(0.05)
    raise RuntimeError("after the answer began")


async def after(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"complete")
    raise RuntimeError("after the answer was complete")


async def nothing(scope: Scope, receive: Any, send: Any) -> None:
    return


async def half(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def unfinished(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})


async def order(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"first things last"})


async def twice(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"once")
    await answer(send, b"twice")


async def short(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"four", fields=[(b"content-length", b"5")])


async def stream_short(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"four", "more_body": True})
    await send({"type": "http.response.body"})


async def malformed(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"", fields=[(b"x-split", b"a\r\nset-cookie: b=c")])


async def leave(scope: Scope, receive: Any, send: Any) -> None:
    raise SystemExit(7)


async def block(scope: Scope, receive: Any, send: Any) -> None:
    time.sleep(2)
    await answer(send, b"blocked")


async def task(scope: Scope, receive: Any, send: Any) -> None:
    """receive and send as tasks, and what a task knows of itself."""
    assert asyncio.current_task() is not None
    message = await asyncio.create_task(receive())
    await asyncio.wait_for(asyncio.ensure_future(answer(send, message["type"].encode())), 5)


async def timed(scope: Scope, receive: Any, send: Any) -> None:
    """A receive that is given up, and then asked again."""
    await receive()
    try:
        async with asyncio.timeout(0.05):
            await receive()
    except TimeoutError:
        await answer(send, b"in time")


async def connect(receive: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"


async def ws_echo(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    offered = scope["subprotocols"]
    accept: dict[str, Any] = {"type": "websocket.accept", "headers": [(b"x-scheme", scope["scheme"].encode())]}
    await send(accept | {"subprotocol": offered[-1] if offered else None})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            heard.append(f"ws: {message['code']} {message['reason']}")
            return
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def ws_close(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "bye"})
    await send({"type": "websocket.close", "code": 4001, "reason": "enough"})


async def ws_deny(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    await send({"type": "websocket.close"})


async def ws_deny_oddly(scope: Scope, receive: Any, send: Any) -> None:
    """As FastAPI does where a parameter is not valid."""
    await connect(receive)
    await send({"type": "websocket.close", "code": 1008, "reason": [{"loc": ["query", "name"]}]})


async def ws_answer(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    assert "websocket.http.response" in scope["extensions"]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"who are you")]})
    await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"entry"})


async def ws_fail(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    raise RuntimeError("before the handshake")


async def ws_break(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    await send({"type": "websocket.accept"})
    raise RuntimeError("after the handshake")


async def ws_flood(scope: Scope, receive: Any, send: Any) -> None:
    await connect(receive)
    await send({"type": "websocket.accept"})
    for _ in range(200):
        await send({"type": "websocket.send", "bytes": bytes(64 * 1024)})
        heard.append("flood")
    await send({"type": "websocket.close"})


PATHS = {
    "/facts": facts,
    "/über/b": facts,
    "/api/facts": facts,
    "/echo": echo,
    "/length": length,
    "/large": large,
    "/whole": whole,
    "/slowly": slowly,
    "/trailers": trailers,
    "/hint": hint,
    "/file": path_send,
    "/wait": wait,
    "/sleep": sleep,
    "/told": told,
    "/early": early,
    "/late": late,
    "/after": after,
    "/nothing": nothing,
    "/half": half,
    "/unfinished": unfinished,
    "/order": order,
    "/twice": twice,
    "/short": short,
    "/stream-short": stream_short,
    "/malformed": malformed,
    "/leave": leave,
    "/block": block,
    "/task": task,
    "/timed": timed,
}
WEBSOCKETS = {
    "/echo": ws_echo,
    "/close": ws_close,
    "/deny": ws_deny,
    "/deny-oddly": ws_deny_oddly,
    "/answer": ws_answer,
    "/fail": ws_fail,
    "/break": ws_break,
    "/flood": ws_flood,
}


def make() -> Any:
    """A factory."""
    return app


async def without_lifespan(scope: Scope, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await answer(send, Path(__file__).name.encode())


async def startup_fails(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]
