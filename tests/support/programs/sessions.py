"""An ASGI application of WebTransport sessions: each path is one way to use them, or to misuse them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

Scope = dict[str, Any]

heard: list[Any] = []
"""How sessions ended, and what else nobody could be told."""
go = asyncio.Event()
"""Set by a request for `/go`."""


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "webtransport":
        assert await receive() == {"type": "webtransport.connect"}
        await SESSIONS[scope["path"]](scope, receive, send)
    elif scope["type"] == "http":
        if scope["path"] == "/go":
            go.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(heard).encode()})
    else:
        raise NotImplementedError(scope["type"])


async def accept(send: Any) -> None:
    await send({"type": "webtransport.accept", "headers": [(b"x-session", b"yes")]})


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    """Says again what it hears; of a unidirectional stream on one of its own, once it has ended."""
    await accept(send)
    whole: dict[int, bytearray] = {}
    complete: list[bytes] = []
    while True:
        message = await receive()
        match message:
            case {"type": "webtransport.datagram.receive", "data": data}:
                await send({"type": "webtransport.datagram.send", "data": data})
            case {"type": "webtransport.stream.connect", "stream": stream, "bidirectional": False}:
                whole[stream] = bytearray()
            case {"type": "webtransport.stream.receive", "stream": stream, "data": data, "end_stream": end}:
                if stream in whole:
                    whole[stream] += data
                    if end:
                        complete.append(bytes(whole.pop(stream)))
                        await send({"type": "webtransport.stream.open", "bidirectional": False})
                else:
                    await send({**message, "type": "webtransport.stream.send"})
            case {"type": "webtransport.stream.opened", "stream": stream, "bidirectional": False}:
                said = {"stream": stream, "data": complete.pop(0), "end_stream": True}
                await send({"type": "webtransport.stream.send", **said})
            case {"type": "webtransport.disconnect"}:
                heard.append(message)
                return
            case _:
                heard.append(message)


async def facts(scope: Scope, receive: Any, send: Any) -> None:
    """What it knows, on a bidirectional stream that it opens."""
    await accept(send)
    await send({"type": "webtransport.stream.open"})
    opened = await receive()
    assert opened["type"] == "webtransport.stream.opened", opened
    assert opened["bidirectional"] is True
    known = {key: scope[key] for key in ("type", "asgi", "http_version", "scheme", "path", "root_path")}
    known["query_string"] = scope["query_string"].decode()
    known["headers"] = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    known["extensions"] = sorted(scope["extensions"])
    data = json.dumps(known).encode()
    await send({"type": "webtransport.stream.send", "stream": opened["stream"], "data": data, "end_stream": True})
    heard.append(await receive())


async def refuses(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "webtransport.close"})


async def fails_before(scope: Scope, receive: Any, send: Any) -> None:
    raise ValueError("before")


async def returns_before(scope: Scope, receive: Any, send: Any) -> None:
    pass


async def fails_after(scope: Scope, receive: Any, send: Any) -> None:
    await accept(send)
    await receive()
    raise ValueError("after")


async def closes(scope: Scope, receive: Any, send: Any) -> None:
    """Says something to the end, and closes at once."""
    await accept(send)
    opened = await receive()
    assert opened["type"] == "webtransport.stream.connect", opened
    await send({"type": "webtransport.stream.send", "stream": opened["stream"], "data": b"bye", "end_stream": True})
    await send({"type": "webtransport.close", "code": 7, "reason": "enough"})
    message = await receive()
    while message["type"] != "webtransport.disconnect":
        message = await receive()
    heard.append(message)
    try:
        await send({"type": "webtransport.datagram.send", "data": b"late"})
    except RuntimeError as error:
        heard.append(str(error))


async def gives_up(scope: Scope, receive: Any, send: Any) -> None:
    """Wants nothing of what the client says, and breaks off what it says itself."""
    await accept(send)
    opened = await receive()
    stream = opened["stream"]
    await send({"type": "webtransport.stream.send", "stream": stream, "data": b"some"})
    await send({"type": "webtransport.stream.stop", "stream": stream, "code": 40})
    await send({"type": "webtransport.stream.reset", "stream": stream, "code": 41})
    try:
        await send({"type": "webtransport.stream.send", "stream": stream, "data": b"more"})
    except OSError as error:
        heard.append(str(error))
    while (await receive())["type"] != "webtransport.disconnect":
        pass


async def is_busy(scope: Scope, receive: Any, send: Any) -> None:
    """Reads nothing before it is told to, and then counts."""
    await accept(send)
    await go.wait()
    count = datagrams = 0
    while True:
        message = await receive()
        if message["type"] == "webtransport.datagram.receive":
            datagrams += 1
        elif message["type"] == "webtransport.stream.receive":
            count += len(message["data"])
            if message["end_stream"]:
                said = json.dumps([count, datagrams]).encode()
                stream = message["stream"]
                await send({"type": "webtransport.stream.send", "stream": stream, "data": said, "end_stream": True})
        elif message["type"] == "webtransport.disconnect":
            return


async def pours(scope: Scope, receive: Any, send: Any) -> None:
    """Says more than a client takes at once, and tells how far it has come; another stream is not held up by that."""
    await accept(send)
    first = (await receive())["stream"]

    async def pour() -> None:
        for number in range(256):
            message = {"type": "webtransport.stream.send", "stream": first, "data": bytes(65536)}
            await send({**message, "end_stream": number == 255})
            heard.append(number)

    pouring = asyncio.create_task(pour())
    while (message := await receive())["type"] != "webtransport.disconnect":
        if message["type"] == "webtransport.stream.connect":
            said = {"stream": message["stream"], "data": b"meanwhile"}
            await send({"type": "webtransport.stream.send", **said})
            heard.append("meanwhile")
    await pouring


async def misbehaves(scope: Scope, receive: Any, send: Any) -> None:
    """Sends what cannot be sent, and hears why."""
    await accept(send)
    for message in (
        {"type": "webtransport.accept"},
        {"type": "webtransport.stream.send", "data": b"x"},
        {"type": "webtransport.stream.send", "stream": 400, "data": b"x"},
        {"type": "webtransport.stream.send", "stream": "x", "data": b"x"},
        {"type": "webtransport.stream.reset", "stream": 0, "code": -1},
        {"type": "webtransport.close", "code": 1 << 32},
        {"type": "webtransport.close", "reason": "x" * 1025},
        {"type": "webtransport.datagram.send", "data": "text"},
        {"type": "websocket.send", "text": "x"},
    ):
        try:
            await send(message)
        except Exception as error:
            heard.append(f"{type(error).__name__}: {error}")
        else:
            heard.append(f"{message} was sent")
    await send({"type": "webtransport.close"})


SESSIONS = {
    "/echo": echo,
    "/facts": facts,
    "/refuses": refuses,
    "/fails-before": fails_before,
    "/returns-before": returns_before,
    "/fails-after": fails_after,
    "/closes": closes,
    "/gives-up": gives_up,
    "/busy": is_busy,
    "/misbehaves": misbehaves,
    "/pours": pours,
}
