"""WebSockets by extended CONNECT, over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220): frames, and streams that carry them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode

from support.answer import Answer
from support.http3 import Http3

if TYPE_CHECKING:
    from support.http2 import Http2

_HEAD = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "localhost")]
_FIELDS = [("sec-websocket-version", "13"), ("origin", "https://localhost")]
_GOODBYE = b"\x03\xe8"


def said(text: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """A message as a client says it."""
    return Frame(opcode, text).serialize(mask=True)


def heard(text: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """The same as a server does."""
    return Frame(opcode, text).serialize(mask=False)


def begin(client: Http2, path: str) -> int:
    """The stream of a WebSocket that was asked for."""
    while not client.h2.remote_settings.enable_connect_protocol:
        assert client.pump()
    stream = client.h2.get_next_available_stream_id()
    client.answers[stream] = Answer(0)
    client.h2.send_headers(stream, [*_HEAD, (":path", path), *_FIELDS])
    client._flush()
    return stream


def say(client: Http2, stream: int, text: bytes, opcode: Opcode = Opcode.TEXT) -> None:
    """Send a message."""
    client.h2.send_data(stream, said(text, opcode))
    client._flush()


def hear(client: Http2, stream: int, text: bytes, opcode: Opcode = Opcode.TEXT) -> None:
    """Wait until a message is the last that has come."""
    while not bytes(client.answers[stream].body).endswith(heard(text, opcode)):
        assert client.pump()


async def greet_over_http3(port: int, path: str) -> None:
    """Say hello to something that says the same, and goodbye."""
    async with Http3.open(port, library="aioquic") as client:
        stream = client._protocol._quic.get_next_available_stream_id()
        fields = [(name.encode(), value.encode()) for name, value in [*_HEAD, (":path", path), *_FIELDS]]
        client.answers[stream] = answer = Answer(0)
        client._done[stream] = asyncio.get_running_loop().create_future()
        client._http.send_headers(stream, fields)
        client._http.send_data(stream, said(b"hello"), False)
        client._protocol.transmit()
        while bytes(answer.body) != heard(b"hello"):
            await client.begun(stream)
            await asyncio.sleep(0.01)
        assert answer.status == 200
        client._http.send_data(stream, said(_GOODBYE, Opcode.CLOSE), False)
        client._protocol.transmit()
        await client.finish(stream)
        assert bytes(answer.body).endswith(heard(_GOODBYE, Opcode.CLOSE))
