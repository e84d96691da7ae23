"""An HTTP/3 server that nobody here wrote: aioquic, in a thread of its own, for our client to talk to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import mmap
import threading
from typing import TYPE_CHECKING, Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StopSendingReceived

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from support.certificates import Pair

PIECE = 256 << 10
"""What one answer hands to aioquic at once: a long buffer would make it slow."""


class Http3Server:
    """Serves the files of a folder, and answers POST with what it received: length and SHA-256 as JSON.

    `/never` gets no answer, `/rejected` that nothing was done with it, `/cancelled` that it is given up.

    Args:
        root: the folder.
        pair: certificate and key.
    """

    def __init__(self, root: Path, pair: Pair) -> None:
        self.port = 0
        self.cancelled = 0
        """How many answers clients did not want to the end."""
        self._root, self._pair = root, pair
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Http3Server:
        self._thread.start()
        assert self._ready.wait(10), "aioquic's server did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        configuration.load_cert_chain(self._pair.cert, self._pair.key)

        def protocol(*args: Any, **kwargs: Any) -> _Connection:
            connection = _Connection(*args, **kwargs)
            connection.serve(self, self._root)
            return connection

        started = self._loop.run_until_complete(
            serve("127.0.0.1", 0, configuration=configuration, create_protocol=protocol)
        )
        assert started._transport is not None
        self.port = started._transport.get_extra_info("sockname")[1]
        self._ready.set()
        self._loop.run_forever()
        started.close()
        # What the connections have to say at their end, and the timers they have.
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()


class _Connection(QuicConnectionProtocol):
    """One connection."""

    def serve(self, server: Http3Server, root: Path) -> None:
        self._server, self._root = server, root
        self._http: H3Connection | None = None
        self._uploads: dict[int, tuple[Any, list[int]]] = {}
        self._answers: dict[int, tuple[memoryview, int]] = {}
        self._stopped: set[int] = set()

    def quic_event_received(self, event: QuicEvent) -> None:
        if self._http is None:
            self._http = H3Connection(self._quic)
        if isinstance(event, StopSendingReceived):
            self._answers.pop(event.stream_id, None)
            if event.stream_id not in self._stopped:  # the frame may come twice: packets are lost
                self._stopped.add(event.stream_id)
                self._server.cancelled += 1
        for item in self._http.handle_event(event):
            if not isinstance(item, HeadersReceived | DataReceived):
                continue
            match item:
                case HeadersReceived(headers=headers):
                    self._request(item.stream_id, dict(headers))
                case DataReceived(data=data):
                    digest, size = self._uploads[item.stream_id]
                    digest.update(data)
                    size[0] += len(data)
            if item.stream_ended and item.stream_id in self._uploads:
                digest, size = self._uploads.pop(item.stream_id)
                report = json.dumps({"bytes": size[0], "sha256": digest.hexdigest()}).encode()
                self._answer(item.stream_id, 200, memoryview(report))

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        super().datagram_received(data, addr)
        self._pump()
        self.transmit()

    def _request(self, stream: int, head: dict[bytes, bytes]) -> None:
        codes = {b"/rejected": ErrorCode.H3_REQUEST_REJECTED, b"/cancelled": ErrorCode.H3_REQUEST_CANCELLED}
        if code := codes.get(head[b":path"]):
            self._quic.reset_stream(stream, code)
            return
        if head[b":method"] == b"POST":
            self._uploads[stream] = hashlib.sha256(), [0]
            return
        if head[b":path"] == b"/never":
            return
        file = self._root / head[b":path"].decode().lstrip("/")
        if not file.is_file():
            self._answer(stream, 404, memoryview(b""))
            return
        with file.open("rb") as opened:
            self._answer(stream, 200, memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)))

    def _answer(self, stream: int, status: int, content: memoryview) -> None:
        assert self._http is not None
        fields = [(b":status", str(status).encode()), (b"content-length", str(len(content)).encode())]
        self._http.send_headers(stream, fields)
        self._answers[stream] = content, 0
        self._pump()

    def _pump(self) -> None:
        """Hand over as much of each answer as keeps aioquic busy."""
        assert self._http is not None or not self._answers
        for stream, (content, at) in list(self._answers.items()):
            if len(self._quic._streams[stream].sender._buffer) > PIECE:
                continue
            end = min(at + PIECE, len(content))
            assert self._http is not None
            self._http.send_data(stream, bytes(content[at:end]), end == len(content))
            if end == len(content):
                del self._answers[stream]
            else:
                self._answers[stream] = content, end
