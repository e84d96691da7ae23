"""A WebTransport client that nobody here wrote: aioquic's HTTP/3 with sessions, their streams and their datagrams."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aioquic._buffer import Buffer
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamDataReceived, StreamReset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CLOSE = 0x2843
"""The capsule that ends a session."""
BUFFERED_STREAM_REJECTED = 0x3994BD84
SESSION_GONE = 0x170D7B68


def on_the_wire(code: int) -> int:
    """An application's code as HTTP/3 has it (draft-ietf-webtrans-http3, section 4.4)."""
    return 0x52E4A40FA8DB + code + code // 0x1E


def closing(code: int, reason: str) -> bytes:
    """The capsule that ends a session."""
    value = code.to_bytes(4, "big") + reason.encode()
    return encode_uint_var(CLOSE) + encode_uint_var(len(value)) + value


class Client(QuicConnectionProtocol):
    """One connection, and what came over it by stream."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quic = self._quic
        self.http = H3Connection(self.quic, enable_webtransport=True)
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytearray] = defaultdict(bytearray)
        """Of requests, which for a session is its capsules."""
        self.streams: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        self.datagrams: list[bytes] = []
        self.resets: dict[int, int] = {}
        self.stopped: dict[int, int] = {}
        self.closed: ConnectionTerminated | None = None
        self._own: set[int] = set()
        self._frozen = False
        self._news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int, *, datagrams: bool = True) -> AsyncIterator[Client]:
        """Connect, and wait for the server's settings."""
        configuration = QuicConfiguration(
            alpn_protocols=["h3"],
            server_name="localhost",
            verify_mode=ssl.CERT_NONE,
            max_datagram_frame_size=65536 if datagrams else None,
        )
        async with connect("127.0.0.1", port, configuration=configuration, create_protocol=cls) as client:
            assert isinstance(client, cls)
            await client.until(lambda: client.http.received_settings is not None)
            yield client

    async def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def ask(self, path: str, *fields: tuple[str, str], protocol: str = "webtransport", end: bool = False) -> int:
        """Ask for a session and give back its ID."""
        stream = self.quic.get_next_available_stream_id()
        head = [(":method", "CONNECT"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        head += [(":protocol", protocol), *fields]
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head], end_stream=end)
        self.transmit()
        return stream

    async def session(self, path: str, *fields: tuple[str, str]) -> int:
        """Open a session."""
        stream = self.ask(path, *fields)
        await self.until(lambda: stream in self.heads)
        assert self.heads[stream][":status"] == "200", (self.heads, self.bodies)
        return stream

    def stream(self, session: int, data: bytes = b"", *, end: bool = False, unidirectional: bool = False) -> int:
        """Open a stream of a session, whether or not there is one."""
        stream = self.http.create_webtransport_stream(session, is_unidirectional=unidirectional)
        self._own.add(stream)
        self.say(stream, data, end=end)
        return stream

    def say(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.quic.send_stream_data(stream, data, end)
        self.transmit()

    def datagram(self, session: int, data: bytes) -> None:
        self.http.send_datagram(session, data)
        self.transmit()

    def close_session(self, session: int, code: int, reason: str) -> None:
        self.http.send_data(session, closing(code, reason), end_stream=True)
        self.transmit()

    def ending(self, session: int) -> tuple[int, str] | None:
        """Code and reason with which the server ended a session."""
        body = bytes(self.bodies[session])
        if not body:
            return None
        buffer = Buffer(data=body)
        assert buffer.pull_uint_var() == CLOSE
        value = buffer.pull_bytes(buffer.pull_uint_var())
        assert buffer.eof()
        return int.from_bytes(value[:4], "big"), value[4:].decode()

    def freeze(self) -> None:
        """Hear nothing, and so acknowledge nothing, until `thaw`."""
        self._frozen = True

    def thaw(self) -> None:
        self._frozen = False

    def datagram_received(self, data: Any, addr: Any) -> None:
        if not self._frozen:
            super().datagram_received(data, addr)

    def unacknowledged(self, stream: int) -> int:
        """Bytes that wait for the server's permission, or its acknowledgement."""
        return len(self.quic._streams[stream].sender._buffer)

    def quic_event_received(self, event: Any) -> None:
        match event:
            case StreamReset(stream_id=stream, error_code=code):
                self.resets[stream] = code
            case StopSendingReceived(stream_id=stream, error_code=code):
                self.stopped[stream] = code
            case ConnectionTerminated():
                self.closed = event
            case StreamDataReceived(stream_id=stream, data=data, end_stream=ended) if stream in self._own:
                # aioquic takes what comes back on a stream that it has opened for HTTP/3.
                self.streams[stream] += data
                self._has_ended(stream, ended)
                self._news.set()
                return
        for one in self.http.handle_event(event):
            self._take(one)
        self._news.set()

    def _take(self, event: Any) -> None:
        match event:
            case HeadersReceived(stream_id=stream, headers=fields, stream_ended=ended):
                self.heads[stream] = {name.decode(): value.decode() for name, value in fields}
            case DataReceived(stream_id=stream, data=data, stream_ended=ended):
                self.bodies[stream] += data
            case WebTransportStreamDataReceived(stream_id=stream, data=data, stream_ended=ended):
                self.streams[stream] += data
            case DatagramReceived(data=data):
                self.datagrams.append(data)
                return
            case _:
                return
        self._has_ended(stream, ended)

    def _has_ended(self, stream: int, ended: bool) -> None:
        if ended:
            self.ended.add(stream)
