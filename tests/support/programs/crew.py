"""An ASGI application that tells which process it is, and ends it in more than one way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

Scope = dict[str, Any]


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    assert scope["type"] == "http"
    seconds = float(scope["query_string"] or b"0")
    match scope["path"]:
        case "/sleep":
            await asyncio.sleep(seconds)
        case "/block":
            time.sleep(seconds)
        case "/kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "/exit":
            os._exit(3)
        case "/fork":
            if os.fork() == 0:
                os.closerange(0, 3)
                time.sleep(8)
                os._exit(0)
            os._exit(3)
        case "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(os.getpid()).encode(), "more_body": True})
            await asyncio.sleep(seconds)
    if scope["path"] != "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    else:
        await send({"type": "http.response.body"})


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    print(f"began {os.getpid()}", file=sys.stderr, flush=True)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print(f"ended {os.getpid()}", file=sys.stderr, flush=True)
    await send({"type": "lifespan.shutdown.complete"})
