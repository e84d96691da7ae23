"""An ASGI application that answers slowly, and counts what it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

asked = 0


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global asked
    if scope["type"] != "http":
        return
    asked += 1
    if scope["path"] == "/late":
        await asyncio.sleep(1.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(150 if scope["path"] == "/drip" else 0):
        await send({"type": "http.response.body", "body": b"%d," % number, "more_body": True})
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": b"asked:%d" % asked})
