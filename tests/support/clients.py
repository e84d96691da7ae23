"""One request over any of the four protocols: `velocity/1` by our own client, for nobody else signs or
verifies as it demands; the others by clients that nobody here wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from support import http3
from support.answer import Answer
from support.http1 import Http1
from support.http2 import Http2
from velocity import _core

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        case "h3":
            return http3.ask(port, path, method, fields)
        case _:
            return _ask_velocity(port, path, method, fields)


def hinted(protocol: Literal["h3", "h2"], port: int, path: str) -> tuple[list[tuple[str, str]], bytes]:
    """The fields of what comes before an answer, status included, and the content of the answer."""
    if protocol == "h2":
        with Http2(port) as client:
            stream = client.send(path)
            client.finish([stream])
            return client.interim[stream], bytes(client.answers[stream].body)

    async def conversation() -> tuple[list[tuple[str, str]], bytes]:
        async with http3.Http3.open(port) as client:
            stream = client.send(path)
            await client.finish(stream)
            return client.interim[stream], bytes(client.answers[stream].body)

    return http3.run(conversation())


def _ask_velocity(port: int, path: str, method: str, fields: Iterable[tuple[str, str]]) -> Answer:
    connection = _core.Connection("localhost", port, protocols=["velocity/1"], insecure=True)
    try:
        response = connection.request(method, path, list(fields), None, 20.0)
        answer = Answer(response.status, response.headers)
        while (chunk := response.read()) is not None:
            answer.body += chunk
        return answer
    finally:
        connection.close()
