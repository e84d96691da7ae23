"""An HTTP/2 server in clear by the `h2` library, for what stands behind a proxy (RFC 9113 section 3.3)."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

if TYPE_CHECKING:
    from types import TracebackType


class H2c:
    """A thread for each connection. What it does goes by the path.

    `/echo` gives the body back and its length in a trailer, `/hinted` has something to say before the answer, `/enough`
    is answered without its body, which nobody wants (RFC 9113 section 8.1), `/half` resets a stream after half a body,
    `/refused` does so before anything and says that nothing was done, `/cancelled` does not say so, `/goaway` ends the
    connection and answers, `/silent` says nothing; all others say `hello`.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        """The fields of every request, cookies and other repeated ones joined."""
        self.reset: list[str] = []
        """Paths of the requests that the other side has given up."""
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> H2c:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        """As `--proxy` takes it."""
        return f"h2c://127.0.0.1:{self.port}"

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self.connections += 1
                self._open.append(raw)
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
        connection.initiate_connection()
        paths: dict[int, str] = {}
        bodies: dict[int, bytearray] = {}
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError), raw:
            raw.sendall(connection.data_to_send())
            while data := raw.recv(65536):
                for event in connection.receive_data(data):
                    match event:
                        case h2.events.RequestReceived():
                            fields: dict[str, str] = {}
                            for name, value in event.headers:
                                key, text = str(name), str(value)
                                fields[key] = f"{fields[key]}, {text}" if key in fields else text
                            self.requests.append(fields)
                            paths[event.stream_id] = fields[":path"]
                            bodies[event.stream_id] = bytearray()
                            if fields[":path"] == "/enough":
                                self._answer(connection, event.stream_id, "/", bodies[event.stream_id])
                                connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
                        case h2.events.DataReceived():
                            bodies[event.stream_id] += event.data
                            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        case h2.events.StreamReset():
                            self.reset.append(paths[event.stream_id])
                        case h2.events.StreamEnded():
                            self._answer(connection, event.stream_id, paths[event.stream_id], bodies[event.stream_id])
                        case _:
                            pass
                raw.sendall(connection.data_to_send())

    def _answer(self, connection: h2.connection.H2Connection, stream: int, path: str, body: bytearray) -> None:
        head = [(":status", "200"), ("content-type", "text/plain")]
        match path:
            case "/echo":
                connection.send_headers(stream, head)
                for start in range(0, len(body), 16_384):
                    connection.send_data(stream, bytes(body[start : start + 16_384]))
                connection.send_headers(stream, [("x-length", str(len(body)))], end_stream=True)
            case "/hinted":
                for name in ("/a.css", "/b.css"):
                    connection.send_headers(stream, [(":status", "103"), ("link", f"<{name}>; rel=preload")])
                connection.send_headers(stream, head)
                connection.send_data(stream, b"hinted", end_stream=True)
            case "/half":
                connection.send_headers(stream, [*head, ("content-length", "10")])
                connection.send_data(stream, b"hello")
                connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case "/refused":
                connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            case "/cancelled":
                connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            case "/goaway":
                connection.send_headers(stream, head)
                connection.send_data(stream, b"bye", end_stream=True)
                connection.close_connection()
            case "/silent":
                pass
            case _:
                connection.send_headers(stream, head)
                connection.send_data(stream, b"hello", end_stream=True)
