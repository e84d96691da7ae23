"""A core made of plain objects, for the decisions that need no network."""

from __future__ import annotations

from typing import Any

Script = dict[str, Any]


class FakeResponse:
    def __init__(self, status: int = 200, headers: list[tuple[str, str]] | None = None, *chunks: bytes) -> None:
        self.status = status
        self.headers = headers or []
        self._chunks = list(chunks)

    def read(self) -> bytes | None:
        chunk = self._chunks.pop(0) if self._chunks else None
        if isinstance(chunk, Exception):
            raise chunk
        return chunk


class FakeConnection:
    """What `connect` hands out: it answers from a list and remembers what it was asked."""

    facts: dict[str, Any] = {}  # noqa: RUF012 - tests put one of their own here

    def __init__(self, host: str, port: int, options: dict[str, Any], answers: list[FakeResponse]) -> None:
        self.host, self.port, self.options = host, port, options
        self.asked: list[tuple[str, str, dict[str, str], bytes | None]] = []
        self.closed = False
        self.fallback: dict[str, Any] | None = None
        self._answers = answers

    def request(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None, timeout: float
    ) -> FakeResponse:
        self.asked.append((method, path, dict(headers), body))
        return self._answers.pop(0)

    def close(self) -> None:
        self.closed = True


class FakeCore:
    """Stands in for `_core.Connection`: `failing` says which protocols fail and how.

    Of those offered together the first that does not fail is spoken; if all do, the first one's failure is raised.
    """

    def __init__(self) -> None:
        self.failing: dict[str, Exception] = {}
        self.answers: list[FakeResponse] = []
        self.connections: list[FakeConnection] = []
        self.tried: list[tuple[tuple[str, ...], float]] = []

    def __call__(self, host: str, port: int, *, protocols: list[str], timeout: float, **options: Any) -> FakeConnection:
        self.tried.append((tuple(protocols), timeout))
        spoken = next((name for name in protocols if name not in self.failing), None)
        if spoken is None:
            raise self.failing[protocols[0]]
        connection = FakeConnection(host, port, {"protocols": protocols, **options}, self.answers)
        connection.facts = {**connection.facts, "alpn": spoken}
        self.connections.append(connection)
        return connection
