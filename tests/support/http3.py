"""HTTP/3 by clients nobody here wrote: aioquic, and qh3, which has X25519MLKEM768 (RFC 9114, RFC 10024).

The two share one interface, so one small client serves both; qh3 is the default, because aioquic takes
the `content-length` of an answer to HEAD for a broken promise. Each is driven by an event loop in the
calling thread: `ask` for one request, or `run` for a conversation that begins with `Http3.open`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from support.answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

Library = Literal["aioquic", "qh3"]
T = TypeVar("T")

TIMEOUT = 20.0
_REQUEST_CANCELLED = 0x10C
_WAITING = 1 << 20
"""Bytes of a body that may wait to be sent."""


def run(conversation: Coroutine[Any, Any, T], timeout: float = TIMEOUT) -> T:
    """Run one conversation to its end, at most `timeout` seconds long."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await conversation

    return asyncio.run(bounded())


class Http3:
    """One connection. Streams are opened by `send` and awaited by `finish`."""

    def __init__(self, library: Library, protocol: Any) -> None:
        self._events = importlib.import_module(f"{library}.h3.events")
        self._quic_events = importlib.import_module(f"{library}.quic.events")
        self._library = library
        self._protocol = protocol
        self._http = importlib.import_module(f"{library}.h3.connection").H3Connection(protocol._quic)
        self._done: dict[int, asyncio.Future[None]] = {}
        self._given_up: set[int] = set()
        self._news = asyncio.Event()
        self._head_bytes = 0
        encode = self._http._encode_headers

        def measured(stream: int, headers: Any) -> bytes:
            encoded: bytes = encode(stream, headers)
            self._head_bytes = len(encoded)
            return encoded

        self._http._encode_headers = measured
        self.answers: dict[int, Answer] = {}
        self.interim: dict[int, list[tuple[str, str]]] = {}
        """Fields of what came before an answer (RFC 9114 section 4.1), status included."""
        self.sinks: dict[int, Callable[[bytes], object]] = {}
        """Where the body of an answer goes, if it is not to be kept."""
        self.stopped: dict[int, int] = {}
        """Streams of which the server wanted no more, and the code it gave."""
        self.closed: Any = None
        """The `ConnectionTerminated` event, once there is one."""
        self.on_progress: Callable[[], None] = lambda: None
        """Called after anything arrived."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, port: int, *, library: Library = "qh3", alpn: str | Iterable[str] = "h3"
    ) -> AsyncIterator[Http3]:
        """Connect and finish the handshake; ConnectionError when it fails."""
        driver = importlib.import_module(f"{library}.asyncio")
        configuration = importlib.import_module(f"{library}.quic.configuration").QuicConfiguration(
            is_client=True,
            alpn_protocols=[alpn] if isinstance(alpn, str) else list(alpn),
            server_name="localhost",
            verify_mode=ssl.CERT_NONE,
        )
        opened: list[Http3] = []

        class Protocol(driver.QuicConnectionProtocol):  # type: ignore[misc, name-defined]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                opened.append(cls(library, self))

            def quic_event_received(self, event: Any) -> None:
                opened[0]._handle(event)

        connecting = driver.connect("127.0.0.1", port, configuration=configuration, create_protocol=Protocol)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(connecting)
            except ConnectionError as error:
                closed = opened[0].closed
                raise ConnectionError(f"connection closed: {closed and closed.reason_phrase}") from error
            yield opened[0]

    def send(
        self,
        path: str,
        method: str = "GET",
        fields: Iterable[tuple[str, str]] = (),
        *,
        body: bytes = b"",
        end: bool = True,
    ) -> int:
        """Begin a request and give back its stream; without `end` the request is never complete."""
        head = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), *fields]
        return self.send_head(head, body, end=end)

    def send_head(self, head: Iterable[tuple[str, str]], body: bytes = b"", *, end: bool = True) -> int:
        """Begin a request with exactly these fields."""
        stream: int = self._protocol._quic.get_next_available_stream_id()
        self.answers[stream] = Answer(0)
        self._done[stream] = asyncio.get_running_loop().create_future()
        self._http.send_headers(stream, [(k.encode(), v.encode("latin-1")) for k, v in head], end and not body)
        if body:
            self._http.send_data(stream, body, end)
        self._protocol.transmit()
        return stream

    async def pour(self, stream: int, parts: Iterable[bytes]) -> None:
        """Send the rest of a request's body, no faster than it goes."""
        for part in parts:
            # No event says that there is room again.
            while self._waiting(stream) > _WAITING and not self._done[stream].done():
                await asyncio.sleep(0.002)
            if self._done[stream].done():
                return
            self._http.send_data(stream, part, False)
            self._protocol.transmit()
        self._http.send_data(stream, b"", True)
        self._protocol.transmit()

    def _waiting(self, stream: int) -> int:
        """Bytes that have not been acknowledged, or not sent."""
        quic = self._protocol._quic
        if self._library == "qh3":
            waiting: int = quic.get_send_buffer_size(stream)
            return waiting
        return len(quic._streams[stream].sender._buffer)

    async def finish(self, *streams: int) -> None:
        """Wait until all these streams have ended; ConnectionError if one was reset or the connection went."""
        await asyncio.gather(*(self._done[stream] for stream in streams))

    async def outcome(self, *streams: int) -> int:
        """Wait until all these streams have ended or been reset; how many ended well."""
        results = await asyncio.gather(*(self._done[stream] for stream in streams), return_exceptions=True)
        assert self.closed is None, f"the connection was closed: {self.closed}"
        return sum(result is None for result in results)

    async def ask(self, path: str, method: str = "GET", fields: Iterable[tuple[str, str]] = ()) -> Answer:
        """Send a request and wait for its response."""
        stream = self.send(path, method, fields)
        await self.finish(stream)
        return self.answers[stream]

    def cancel(self, stream: int) -> None:
        """Give up on a response (RFC 9114 section 4.1.1)."""
        self._given_up.add(stream)
        self._protocol._quic.stop_stream(stream, _REQUEST_CANCELLED)
        self._protocol.transmit()

    async def begun(self, stream: int) -> None:
        """Wait for the first bytes of a body."""
        while not self.answers[stream].body:
            self._news.clear()
            await self._news.wait()

    def head_bytes(self) -> int:
        """The length of the last request head, as QPACK encoded it."""
        return self._head_bytes

    def unfinished(self) -> int:
        """Streams begun and not ended."""
        return sum(not done.done() for done in self._done.values())

    def _handle(self, event: Any) -> None:
        if isinstance(event, self._quic_events.ConnectionTerminated):
            self.closed = event
            for done in self._done.values():
                if not done.done():
                    done.set_exception(ConnectionError(f"connection closed: {event.reason_phrase}"))
        elif isinstance(event, self._quic_events.StopSendingReceived):
            self.stopped[event.stream_id] = event.error_code
        elif isinstance(event, self._quic_events.StreamReset):
            done = self._done[event.stream_id]
            if event.stream_id not in self._given_up and not done.done():
                done.set_exception(ConnectionError(f"stream {event.stream_id} was reset"))
        interim = getattr(self._events, "InformationalHeadersReceived", ())
        for item in self._http.handle_event(event):
            if isinstance(item, interim):
                fields = [(k.decode(), v.decode("latin-1")) for k, v in item.headers]
                self.interim.setdefault(item.stream_id, []).extend(fields)
            elif isinstance(item, self._events.HeadersReceived):
                answer = self.answers[item.stream_id]
                answer.fields += [(k.decode(), v.decode("latin-1")) for k, v in item.headers]
                answer.status = int(answer[":status"])
            elif isinstance(item, self._events.DataReceived):
                if (sink := self.sinks.get(item.stream_id)) is not None:
                    sink(item.data)
                else:
                    self.answers[item.stream_id].body += item.data
            if getattr(item, "stream_ended", False) and not self._done[item.stream_id].done():
                self._done[item.stream_id].set_result(None)
        self._news.set()
        self.on_progress()


def ask(
    port: int,
    path: str,
    method: str = "GET",
    fields: Iterable[tuple[str, str]] = (),
    *,
    library: Library = "qh3",
    alpn: str = "h3",
    timeout: float = TIMEOUT,
) -> Answer:
    """One request on a connection of its own."""

    async def conversation() -> Answer:
        async with Http3.open(port, library=library, alpn=alpn) as connection:
            return await connection.ask(path, method, fields)

    return run(conversation(), timeout)
