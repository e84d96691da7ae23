"""An application that says what it was asked, served by uvicorn or in process: what clients are compared on."""

from __future__ import annotations

import gzip
import io
import json
import threading
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import multipart
import uvicorn

if TYPE_CHECKING:
    from types import TracebackType


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """By the first word of the path."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    words = scope["path"].strip("/").split("/")
    status, fields, content = 200, [("content-type", "application/json")], b""
    match words:
        case ["status", code]:
            status, content = int(code), b"" if code == "204" else f"status {code}".encode()
        case ["redirect", code, target]:
            status, fields, content = int(code), [("location", f"/{target}")], b"elsewhere"
        case ["circle"]:
            status, fields = 302, [("location", "/circle")]
        case ["set-cookies"]:
            pairs = parse_qsl(scope["query_string"].decode())
            status, fields = 303, [("set-cookie", f"{name}={value}; Path=/") for name, value in pairs]
            fields.append(("location", "/echo"))
        case ["gzip"]:
            fields, content = (
                [("content-encoding", "gzip"), ("content-type", "text/plain")],
                gzip.compress(b"packed " * 100),
            )
        case ["latin"]:
            fields, content = [("content-type", "text/plain; charset=iso-8859-1")], "käse".encode("latin-1")
        case ["lines"]:
            fields, content = [("content-type", "text/plain")], b"one\r\ntwo\nthree"
        case ["links"]:
            fields, content = [("link", '<https://h/2>; rel="next", </1>; rel=prev')], b""
        case ["digest"]:
            if not any(name == "authorization" for name, _ in headers):
                status, fields = (
                    401,
                    [("www-authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256')],
                )
        case _:
            content = json.dumps(_echo(scope, headers, body), sort_keys=True).encode()
    fields.append(("content-length", str(len(content))))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def _echo(scope: dict[str, Any], headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """What was asked, short of what names the client."""
    named = dict(headers)
    kind = named.get("content-type", "")
    said: dict[str, Any] = {
        "method": scope["method"],
        "path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "own": sorted((name, value) for name, value in headers if name.startswith("x-") or name == "authorization"),
        "cookies": {name: morsel.value for name, morsel in SimpleCookie(named.get("cookie", "")).items()},
        "type": kind.partition(";")[0],
    }
    if kind.startswith("multipart/form-data"):
        parser = multipart.MultipartParser(io.BytesIO(body), kind.partition("boundary=")[2], content_length=len(body))
        parts = list(parser)
        said["parts"] = [(part.name, part.filename, part.content_type, part.raw.decode("latin-1")) for part in parts]
        for part in parts:
            part.close()
    else:
        said["body"] = json.loads(body) if kind == "application/json" else body.decode("latin-1")
    return said


class Httpbin:
    """The application behind uvicorn, in a thread of its own."""

    def __init__(self) -> None:
        config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Httpbin:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    @property
    def url(self) -> str:
        """Its root."""
        port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"
