"""A FastAPI application that does a little of everything."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastapi
import pydantic
from fastapi.responses import FileResponse, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Item(pydantic.BaseModel):
    name: str
    price: float


def make() -> fastapi.FastAPI:
    done: list[str] = []
    present: list[fastapi.WebSocket] = []

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"started": True}

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.middleware("http")
    async def protocol(request: fastapi.Request, following: Any) -> Any:
        response = await following(request)
        response.headers["x-protocol"] = request.scope["extensions"]["velocity"]["alpn"]
        return response

    @app.get("/items/{item}")
    async def items(request: fastapi.Request, item: int, q: str = "") -> dict[str, Any]:
        if item == 404:
            raise fastapi.HTTPException(404)
        return {"item": item, "q": q, "started": request.state.started}

    @app.post("/items", status_code=201)
    async def post(item: Item) -> dict[str, Any]:
        return {**item.model_dump(), "id": 1}

    @app.put("/upload")
    async def upload(request: fastapi.Request) -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        async for chunk in request.stream():
            digest.update(chunk)
            size += len(chunk)
        return {"sha256": digest.hexdigest(), "bytes": size}

    @app.get("/stream", response_model=None)
    async def stream() -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in range(5):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.02)

        return StreamingResponse(numbers(), media_type="text/event-stream")

    @app.get("/file", response_model=None)
    async def file() -> FileResponse:
        return FileResponse(Path(os.environ["SHOP_FOLDER"]) / "file.bin")

    @app.get("/sync")
    def sync() -> str:
        return "from a thread"

    @app.get("/later")
    async def later(tasks: fastapi.BackgroundTasks) -> str:
        tasks.add_task(done.append, "later")
        return "soon"

    @app.get("/done")
    async def told() -> list[str]:
        return done

    @app.websocket("/chat")
    async def chat(socket: fastapi.WebSocket) -> None:
        await socket.accept()
        present.append(socket)
        await socket.send_text(f"{len(present)} here")
        try:
            while True:
                text = await socket.receive_text()
                for one in present:
                    await one.send_text(text)
        except fastapi.WebSocketDisconnect:
            present.remove(socket)

    return app
