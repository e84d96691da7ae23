"""One request over any of the four protocols, each by a client that is not Velocity's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from support import http3
from support.http1 import Http1
from support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.answer import Answer

Protocol = Literal["velocity/1", "h3", "h2", "http/1.1"]

PROTOCOLS: tuple[Protocol, ...] = ("velocity/1", "h3", "h2", "http/1.1")


def ask(
    protocol: Protocol, port: int, path: str, method: str = "GET", fields: Iterable[tuple[str, str]] = ()
) -> Answer:
    """One request on a connection of its own."""
    match protocol:
        case "http/1.1":
            with Http1(port) as one:
                return one.ask(path, method, fields)
        case "h2":
            with Http2(port) as two:
                return two.ask(path, method, fields)
        case _:
            return http3.ask(port, path, method, fields, alpn=protocol)
