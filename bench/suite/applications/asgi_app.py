"""The application that every server of Python applications runs: the least that answers what the benches ask."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ROOT = Path(os.environ["BENCH_ROOT"])
TYPE = (b"content-type", b"application/octet-stream")
BODIES = {"/small": b"Hello, world!", "/10k": os.urandom(10 << 10), "/1k.bin": (ROOT / "1k.bin").read_bytes()}
HEADS = {path: [TYPE, (b"content-length", str(len(body)).encode())] for path, body in BODIES.items()}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer from memory, from a file, or by WebSocket whatever comes."""
    if scope["type"] == "http":
        path = scope["path"]
        if path.startswith("/pathsend/"):
            file = ROOT / path.removeprefix("/pathsend/")
            length = (b"content-length", str(file.stat().st_size).encode())
            await send({"type": "http.response.start", "status": 200, "headers": [TYPE, length]})
            await send({"type": "http.response.pathsend", "path": str(file)})
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADS[path]})
        await send({"type": "http.response.body", "body": BODIES[path]})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
