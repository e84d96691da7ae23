"""A connection of each protocol, held for as long as a test, that asks without a pause: whatever fails is kept."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from support.clients import PROTOCOLS, Protocol
from support.http1 import Http1
from support.http2 import Http2
from support.http3 import Http3, run
from velocity import _core

if TYPE_CHECKING:
    from types import TracebackType

_STREAMS = 8
"""Requests at once, where a connection can have more than one."""


class Connections:
    """A connection of each protocol with a thread of its own, from `begin` to `end`.

    Args:
        port: of the server.

    Attributes:
        count: answers, by protocol.
        problems: what has failed, whatever it was.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._ending = threading.Event()
        self._news = threading.Condition()
        self.count = dict.fromkeys(PROTOCOLS, 0)
        self.problems: list[str] = []
        self._threads = [threading.Thread(target=self._guard, args=(protocol,)) for protocol in PROTOCOLS]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Wait until all of them have what they asked for."""
        self._ending.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _guard(self, protocol: Protocol) -> None:
        try:
            match protocol:
                case "http/1.1":
                    self._http1()
                case "h2":
                    self._http2()
                case "h3":
                    run(self._http3(), 300)
                case _:
                    self._velocity()
        except Exception as error:
            # Whatever it was, it is a failed request.
            self._problem(f"{protocol}: {type(error).__name__}: {error}")

    def _problem(self, text: str) -> None:
        with self._news:
            self.problems.append(f"{time.strftime('%T')} {text}")
            self._news.notify_all()

    def _http1(self) -> None:
        """Ask until the end."""
        raise NotImplementedError

    def _http2(self) -> None:
        raise NotImplementedError

    async def _http3(self) -> None:
        raise NotImplementedError

    def _velocity(self) -> None:
        raise NotImplementedError


class Load(Connections):
    """Asks `path` by GET until the end of the block, which fails if any request did.

    Args:
        port: of the server.
        path: what is asked for.
    """

    def __init__(self, port: int, path: str = "/") -> None:
        super().__init__(port)
        self._path = path
        self.bodies: dict[bytes, int] = {}
        """How often which answer came."""

    def __enter__(self) -> Load:
        self.begin()
        self.goes_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        assert not self.problems, self.problems[:5]

    def goes_on(self, timeout: float = 15.0) -> None:
        """Wait until every connection has had further answers."""
        before = dict(self.count)
        with self._news:
            on = self._news.wait_for(
                lambda: self.problems or all(self.count[one] > before[one] + 3 for one in PROTOCOLS), timeout
            )
        assert not self.problems, self.problems[:5]
        assert on, (before, self.count)

    def hears(self, body: bytes, timeout: float = 15.0) -> None:
        """Wait for an answer."""
        with self._news:
            assert self._news.wait_for(lambda: body in self.bodies, timeout), self.bodies

    def _http1(self) -> None:
        with Http1(self._port) as connection:
            while not self._ending.is_set():
                answer = connection.ask(self._path)
                self._got("http/1.1", answer.status, bytes(answer.body))

    def _http2(self) -> None:
        with Http2(self._port) as connection:
            while not self._ending.is_set():
                streams = [connection.send(self._path) for _ in range(_STREAMS)]
                connection.finish(streams)
                for stream in streams:
                    answer = connection.answers.pop(stream)
                    self._got("h2", 0 if stream in connection.reset else answer.status, bytes(answer.body))

    async def _http3(self) -> None:
        async with Http3.open(self._port) as connection:
            while not self._ending.is_set():
                streams = [connection.send(self._path) for _ in range(_STREAMS)]
                await connection.finish(*streams)
                for stream in streams:
                    answer = connection.answers.pop(stream)
                    self._got("h3", answer.status, bytes(answer.body))

    def _velocity(self) -> None:
        connection = _core.Connection("localhost", self._port, protocols=["velocity/1"], insecure=True)
        while not self._ending.is_set():
            response = connection.request("GET", self._path, [], None, 20.0)
            self._got("velocity/1", response.status, b"".join(iter(response.read, None)))
        connection.close()

    def _got(self, protocol: Protocol, status: int, body: bytes) -> None:
        if status != 200:
            self._problem(f"{protocol}: {status} {body!r}")
        with self._news:
            self.bodies[body] = self.bodies.get(body, 0) + 1
            self.count[protocol] += 1
            self._news.notify_all()
