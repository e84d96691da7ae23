"""Chromium uses an application behind the proxy: a page, fetch both ways, server-sent events and a WebSocket."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import fastapi
import pytest
import uvicorn
from fastapi.responses import HTMLResponse, StreamingResponse

from support.chromium import Page, chromium
from support.server import Server
from support.site import noise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.site import Site

LARGE = noise(5_000_000)
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Behind the proxy</title>
<link rel="icon" href="data:,">
<style>body { font: 20px sans-serif; margin: 3rem } td { padding: .3rem 1rem; border-bottom: 1px solid #888 }</style>
<h1>Behind the proxy</h1>
<table><tbody></tbody></table>
<script>
const results = {};
function show(name, value) {
  results[name] = value;
  const row = document.querySelector("tbody").insertRow();
  row.insertCell().textContent = name;
  row.insertCell().textContent = value;
}
async function fetched() {
  const body = new Uint8Array(5000000).map((_, at) => at * 7 + (at >> 8));
  const hex = bytes => Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, "0")).join("");
  const own = hex(await crypto.subtle.digest("SHA-256", body));
  const theirs = await (await fetch("upload", {method: "PUT", body})).json();
  show("upload", theirs.sha256 === own && theirs.size === body.length);
  show("download", hex(await crypto.subtle.digest("SHA-256", await (await fetch("large")).arrayBuffer())));
  show("address", (await (await fetch("address")).json()).join(" "));
}
function events() {
  return new Promise(resolve => {
    const times = [], texts = [];
    const source = new EventSource("events");
    source.onmessage = event => {
      times.push(performance.now());
      texts.push(event.data);
      if (texts.length === 5) {
        source.close();
        show("events", texts.join(" "));
        show("one by one", times[4] - times[0] > 300);
        resolve();
      }
    };
  });
}
function spoken() {
  return new Promise(resolve => {
    const talk = new WebSocket(`wss://${location.host}/app/talk`, ["chat"]);
    talk.onopen = () => { talk.send("hello"); talk.send("x".repeat(100000)); };
    const got = [];
    talk.onmessage = event => { got.push(event.data.length > 20 ? event.data.length : event.data); };
    talk.onclose = event => {
      show("socket", `${talk.protocol} ${got.join(" ")} ${event.code} ${event.reason}`);
      resolve();
    };
  });
}
Promise.all([fetched(), events(), spoken()]).then(() => { document.documentElement.dataset.done = "yes"; });
</script>
</html>
"""


def application() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.get("/app/", response_model=None)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.put("/app/upload", response_model=None)
    async def upload(request: fastapi.Request) -> dict[str, str | int]:
        digest, size = hashlib.sha256(), 0
        async for chunk in request.stream():
            digest.update(chunk)
            size += len(chunk)
        return {"sha256": digest.hexdigest(), "size": size}

    @app.get("/app/large", response_model=None)
    async def large() -> fastapi.Response:
        return fastapi.Response(LARGE)

    @app.get("/app/address", response_model=None)
    async def address(request: fastapi.Request) -> list[str]:
        return [request.url.scheme, request.headers["x-forwarded-host"].partition(":")[0], request.headers["via"]]

    @app.get("/app/events", response_model=None)
    async def events() -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in range(5):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(numbers(), media_type="text/event-stream")

    @app.websocket("/app/talk")
    async def talk(talk: fastapi.WebSocket) -> None:
        await talk.accept(subprotocol="chat")
        for _ in range(2):
            await talk.send_text((await talk.receive_text()).upper())
        await talk.close(4001, "as agreed")

    return app


@contextmanager
def running() -> Iterator[str]:
    """The application under uvicorn; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application(), log_level="error", ws="websockets-sansio", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.mark.parametrize("protocol", ["h2", "h3"])
def test_an_application(fresh_site: Site, tmp_path: Path, protocol: str) -> None:
    with running() as behind, Server(fresh_site.root, "--proxy", f"/app={behind}") as server:
        quic = f"--origin-to-force-quic-on={server.address}" if protocol == "h3" else "--disable-quic"
        with chromium(tmp_path / "profile", server.certificate, quic) as page:
            check(page, server, protocol, tmp_path / f"{protocol}.png")


def check(page: Page, server: Server, protocol: str, picture: Path) -> None:
    page.open(server.url("/app/"), "document.documentElement.dataset.done")
    assert page.evaluate("results") == {
        "upload": True,
        "download": hashlib.sha256(LARGE).hexdigest(),
        "address": f"https localhost {protocol[1]} velocity",
        "events": "0 1 2 3 4",
        "one by one": True,
        "socket": "chat HELLO 100000 4001 as agreed",
    }
    for kind in ("navigation", "resource"):
        entries = page.evaluate(f"performance.getEntriesByType('{kind}').map(entry => entry.nextHopProtocol)")
        assert set(entries) == {protocol}
    # Extended CONNECT (RFC 8441) over HTTP/2; over HTTP/3 Chromium has no WebSockets, and goes by the upgrade.
    assert f'"alpn":"{"h2" if protocol == "h2" else "http/1.1"}"' in server.line_with('"path":"/app/talk"')
    # To close a source of events is to give up on its answer.
    assert all("'EventSource'" in problem and "'canceled': True" in problem for problem in page.problems)
    page.screenshot(picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") >= 1000, "the width of the window"
    assert len(content) > 10_000, "more than an empty page"
