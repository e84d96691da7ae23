"""HTTP/2 over TLS by the `h2` library, one blocking connection with many streams (RFC 9113)."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from support.answer import Answer
from support.http1 import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType


_FRAME_HEADER = 9
_GOAWAY = 7


class Http2:
    """One connection. Streams are opened by `send`, driven by `pump`, and found in `answers`."""

    def __init__(self, port: int, *, acknowledge: bool = True) -> None:
        self.socket = connect(port, "h2")
        assert self.socket.selected_alpn_protocol() == "h2"
        # Requests are sent as the test wrote them: what is not legal is the server's to refuse.
        config = h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
        )
        self.h2 = h2.connection.H2Connection(config)
        self.answers: dict[int, Answer] = {}
        self.interim: dict[int, list[tuple[str, str]]] = {}
        """Fields of what came before an answer (RFC 9113 section 8.1), status included."""
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.goaway = False
        self.acknowledge = acknowledge
        """While False no flow-control credit is given back, so large bodies stay in flight."""
        self._owed: dict[int, int] = {}
        self._received = bytearray()
        self.h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self.socket.close()

    def send(self, path: str, method: str = "GET", fields: Iterable[tuple[str, str]] = ()) -> int:
        """Send a request without body and give back its stream."""
        return self.begin(path, method, fields, end=True)

    def begin(
        self, path: str, method: str = "GET", fields: Iterable[tuple[str, str]] = (), *, end: bool = False
    ) -> int:
        """Begin a request and give back its stream."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), *fields]
        self.h2.send_headers(stream, head, end_stream=end)
        self._flush()
        self.answers[stream] = Answer(0)
        return stream

    def data(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """Send a part of a body, which the peer's window must have room for."""
        for start in range(0, len(data), 16_384):
            self.h2.send_data(stream, data[start : start + 16_384])
        if end:
            self.h2.end_stream(stream)
        self._flush()

    def give_up(self, stream: int) -> None:
        """Reset a stream."""
        self.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def pump(self) -> bool:
        """Read once and handle what came; False when the server has closed."""
        data = self.socket.recv(65536)
        if not data:
            return False
        for event in self.h2.receive_data(self._without_goaway(data)):
            self._handle(event)
        if self.acknowledge:
            self.credit()
        self._flush()
        return True

    def credit(self) -> None:
        """Give back the flow-control credit of everything read so far."""
        for stream, size in self._owed.items():
            try:
                self.h2.acknowledge_received_data(size, stream)
            except h2.exceptions.StreamClosedError:
                continue
        self._owed.clear()
        self._flush()

    def finish(self, streams: Sequence[int]) -> None:
        """Pump until all these streams have ended or been reset."""
        while not all(stream in self.ended or stream in self.reset for stream in streams):
            if not self.pump():
                raise ConnectionError("the server closed with streams unfinished")

    def ask(self, path: str, method: str = "GET", fields: Iterable[tuple[str, str]] = ()) -> Answer:
        """Send a request and wait for its response."""
        stream = self.send(path, method, fields)
        self.finish([stream])
        if stream in self.reset:
            raise ConnectionError(f"stream {stream} was reset")
        return self.answers[stream]

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames only, and no GOAWAY: after one, h2 takes not even the streams it promises to finish."""
        self._received += data
        frames = bytearray()
        while len(self._received) >= _FRAME_HEADER:
            end = _FRAME_HEADER + int.from_bytes(self._received[:3], "big")
            if len(self._received) < end:
                break
            if self._received[3] == _GOAWAY:
                self.goaway = True
            else:
                frames += self._received[:end]
            del self._received[:end]
        return bytes(frames)

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                answer = self.answers[event.stream_id]
                answer.fields = [(_text(name), _text(value)) for name, value in event.headers]
                answer.status = int(answer[":status"])
            case h2.events.InformationalResponseReceived():
                fields = [(_text(name), _text(value)) for name, value in event.headers]
                self.interim.setdefault(event.stream_id, []).extend(fields)
            case h2.events.DataReceived():
                self.answers[event.stream_id].body += event.data
                owed = self._owed.get(event.stream_id, 0)
                self._owed[event.stream_id] = owed + event.flow_controlled_length
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.reset.add(event.stream_id)
            case _:
                pass

    def _flush(self) -> None:
        if data := self.h2.data_to_send():
            # A server that has sent all it will may be gone; what it sent is still to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                self.socket.sendall(data)


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
