"""A chat: FastAPI with a database (SQLite) and WebSockets, in the server's process and over HTTP/3.

velocity serve app:app --self-signed          # then open https://localhost:4433/

Messages are kept in `chat.sqlite3`; CHAT_DATABASE names another file.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, WebSocket, WebSocketDisconnect, status
from fastapi.concurrency import run_in_threadpool
from fastapi.requests import HTTPConnection  # noqa: TC002 - FastAPI reads annotations
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = File(__file__).parent
WAITING = 100
"""Messages that may wait for one listener: who is slower than that is let go."""

Name = Annotated[str, Field(min_length=1, max_length=40)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Room = Annotated[str, Path(pattern="^[a-z0-9-]{1,40}$")]
text_of = TypeAdapter[str](Text)


class Message(BaseModel):
    """Who said what."""

    name: Name
    text: Text


class Kept(Message):
    """The same with its number."""

    id: int


class Store:
    """Every message, in a database. Its methods wait for the disk, so they are for threads."""

    def __init__(self, file: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS message"
            " (id INTEGER PRIMARY KEY, room TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL)"
        )

    def add(self, room: str, message: Message) -> Kept:
        with self._lock:
            added = self._database.execute(
                "INSERT INTO message (room, name, text) VALUES (?, ?, ?)", (room, message.name, message.text)
            )
        return Kept(id=added.lastrowid or 0, **message.model_dump())

    def last(self, room: str, limit: int) -> list[Kept]:
        with self._lock:
            rows = self._database.execute(
                "SELECT id, name, text FROM message WHERE room = ? ORDER BY id DESC LIMIT ?", (room, limit)
            ).fetchall()
        return [Kept(id=number, name=name, text=text) for number, name, text in reversed(rows)]

    def close(self) -> None:
        self._database.close()


class Chat:
    """Rooms, and who listens in them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._listening: dict[str, set[asyncio.Queue[Kept | None]]] = defaultdict(set)

    async def say(self, room: str, message: Message) -> Kept:
        """Keep a message, and tell everybody in the room."""
        kept = await run_in_threadpool(self.store.add, room, message)
        for queue in self._listening.get(room, ()):
            if queue.qsize() < WAITING:
                queue.put_nowait(kept)
            elif queue.qsize() == WAITING:
                queue.put_nowait(None)
        return kept

    @asynccontextmanager
    async def listen(self, room: str) -> AsyncIterator[asyncio.Queue[Kept | None]]:
        """What is said from now on; None for one who did not keep up."""
        queue: asyncio.Queue[Kept | None] = asyncio.Queue()
        self._listening[room].add(queue)
        try:
            yield queue
        finally:
            self._listening[room].discard(queue)
            if not self._listening[room]:
                del self._listening[room]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    store = Store(os.environ.get("CHAT_DATABASE", "chat.sqlite3"))
    yield {"chat": Chat(store)}
    store.close()


app = FastAPI(title="Chat", lifespan=lifespan)


def the_chat(connection: HTTPConnection) -> Chat:
    chat: Chat = connection.state.chat
    return chat


TheChat = Annotated[Chat, Depends(the_chat)]


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(HERE / "index.html")


@app.get("/protocol")
async def protocol(request: Request) -> dict[str, Any]:
    """What protects this request, as the server's TLS state has it."""
    known = request.scope["extensions"].get("velocity", {})
    return {name: known.get(name) for name in ("alpn", "group", "profile")}


@app.get("/rooms/{room}/messages")
def messages(chat: TheChat, room: Room, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[Kept]:
    return chat.store.last(room, limit)


@app.post("/rooms/{room}/messages", status_code=201)
async def add(chat: TheChat, room: Room, message: Message) -> Kept:
    return await chat.say(room, message)


@app.websocket("/rooms/{room}/live")
async def live(socket: WebSocket, chat: TheChat, room: Room, name: Annotated[Name, Query()]) -> None:
    """Whatever is said in the room as JSON; what is sent is said there."""
    # A page of somebody else must not speak in the name of its visitor (RFC 6455 section 10.2).
    if socket.headers.get("origin", f"https://{socket.headers['host']}") != f"https://{socket.headers['host']}":
        await socket.close(status.WS_1008_POLICY_VIOLATION)
        return
    await socket.accept()
    async with chat.listen(room) as queue:
        telling = asyncio.create_task(tell(socket, queue))
        try:
            while True:
                said = text_of.validate_python(await socket.receive_text())
                await chat.say(room, Message(name=name, text=said))
        except WebSocketDisconnect:
            pass
        except ValidationError:
            await socket.close(status.WS_1008_POLICY_VIOLATION, "a message has 1 to 500 characters")
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


async def tell(socket: WebSocket, queue: asyncio.Queue[Kept | None]) -> None:
    while (message := await queue.get()) is not None:
        await socket.send_json(message.model_dump())
    await socket.close(status.WS_1013_TRY_AGAIN_LATER, "too slow")
