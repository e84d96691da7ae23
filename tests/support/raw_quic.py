"""A QUIC connection by aioquic on which a test writes the bytes it likes, and hears what becomes of each stream.

What HTTP/3 means is not known here: a test that breaks its rules (RFC 9114, RFC 9204) must be able to.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SETTINGS = b"\x04\x00"
"""A SETTINGS frame that says nothing (RFC 9114 section 7.2.4)."""
CONTROL = b"\x00" + SETTINGS
"""The beginning of a control stream (RFC 9114 section 6.2.1)."""
_PSEUDO = b"\xd7\x50\x09localhost\xc1"
"""`:scheme` https, `:authority` localhost and `:path` /, by the static table (RFC 9204 appendix A)."""


def number(value: int) -> bytes:
    """A variable-length integer (RFC 9000 section 16)."""
    for log, bits in enumerate((6, 14, 30, 62)):
        if value < 1 << bits:
            return (value | log << bits).to_bytes(1 << log, "big")
    raise ValueError(value)


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9114 section 7.1)."""
    return number(kind) + number(len(payload)) + payload


def field(name: str, value: str) -> bytes:
    """A field line with a literal name, without Huffman codes (RFC 9204 section 4.5.6)."""
    assert len(name) < 134
    assert len(value) < 127
    length = bytes([0x20 | len(name)]) if len(name) < 7 else bytes([0x27, len(name) - 7])
    return length + name.encode() + bytes([len(value)]) + value.encode()


def headers(*lines: bytes) -> bytes:
    """A HEADERS frame of these field lines."""
    return frame(0x1, b"\0\0" + b"".join(lines))


def get(*lines: bytes) -> bytes:
    """GET / with further field lines."""
    return headers(b"\xd1", _PSEUDO, *lines)


def post(*lines: bytes) -> bytes:
    """POST / with further field lines."""
    return headers(b"\xd4", _PSEUDO, *lines)


class RawQuic(QuicConnectionProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received: dict[int, bytearray] = {}
        """What has come on each stream."""
        self.ended: set[int] = set()
        """Streams that the server ended."""
        self.resets: dict[int, int] = {}
        """Streams that the server reset, and its code."""
        self.stopped: dict[int, int] = {}
        """Streams of which the server wants no more, and its code."""
        self.error: int | None = None
        """The code that the connection was closed with."""
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[RawQuic]:
        """Connect and finish the handshake."""
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["h3"], server_name="localhost", verify_mode=ssl.CERT_NONE
        )
        async with connect("127.0.0.1", port, configuration=configuration, create_protocol=cls) as connection:
            assert isinstance(connection, RawQuic)
            yield connection

    def write(self, stream: int, data: bytes, end: bool = False) -> None:
        """Send on a stream, which this opens."""
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    def reset(self, stream: int, code: int = 0x10C) -> None:
        """Abort sending on a stream."""
        self._quic.reset_stream(stream, code)
        self.transmit()

    def stop(self, stream: int, code: int = 0x10C) -> None:
        """Ask the server to send no more on a stream."""
        self._quic.stop_stream(stream, code)
        self.transmit()

    async def until(self, come: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until `come` is true."""
        if not come():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append((come, waiting))
            async with asyncio.timeout(timeout):
                await waiting

    async def closed(self) -> int:
        """Wait for the end of the connection; the code it ended with."""
        await self.until(lambda: self.error is not None)
        assert self.error is not None
        return self.error

    def quic_event_received(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived():
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
                if event.end_stream:
                    self.ended.add(event.stream_id)
            case events.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case events.StopSendingReceived():
                self.stopped[event.stream_id] = event.error_code
            case events.ConnectionTerminated():
                self.error = event.error_code
        for come, waiting in self._waiting:
            if come() and not waiting.done():
                waiting.set_result(None)
        self._waiting = [(come, waiting) for come, waiting in self._waiting if not waiting.done()]
