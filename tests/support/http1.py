"""HTTP/1.1 over TLS with nothing between a test and the bytes it sends (RFC 9112)."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

from support.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

TIMEOUT = 10.0


def tls_context(*alpn: str) -> ssl.SSLContext:
    """A client context that accepts any certificate: these tests are about what comes after."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's roots, which take long to load
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(alpn or ["http/1.1"])
    return context


def connect(port: int, *alpn: str, receive_buffer: int | None = None, host: str = "127.0.0.1") -> ssl.SSLSocket:
    """A TLS connection to the server under test.

    Args:
        alpn: protocols to offer; `http/1.1` when none is given.
        receive_buffer: bytes the kernel may hold for us; set before connecting, so that it bounds the window.
    """
    raw = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    raw.settimeout(TIMEOUT)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect((host, port))
        return tls_context(*alpn).wrap_socket(raw, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


class Http1:
    """One connection, kept alive."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = connect(port, receive_buffer=receive_buffer)

    def __enter__(self) -> Http1:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self.socket.close()

    def send(self, method: str, path: str, fields: Iterable[tuple[str, str]] = ()) -> None:
        """Send a request head exactly as given; `path` may be anything."""
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in fields)]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def receive(self, method: str = "GET") -> Answer:
        """Read one response."""
        response = self.begin(method)
        body = response.read()
        return Answer(response.status, [(k.lower(), v) for k, v in response.getheaders()], body)

    def begin(self, method: str = "GET") -> http.client.HTTPResponse:
        """Read one response head and leave its body to the caller."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return response

    def ask(self, path: str, method: str = "GET", fields: Iterable[tuple[str, str]] = ()) -> Answer:
        """Send a request and read its response."""
        self.send(method, path, fields)
        return self.receive(method)


def exchange(port: int, data: bytes, *, wait: float = TIMEOUT) -> bytes:
    """Send bytes on a connection of their own and give back everything until the server closes it.

    A server that neither closes nor answers within `wait` seconds fails the test.
    """
    got = bytearray()
    with connect(port) as stream:
        stream.settimeout(wait)
        try:
            stream.sendall(data)
            while chunk := stream.recv(65536):
                got += chunk
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as error:
            if isinstance(error, TimeoutError):
                raise
        return bytes(got)
