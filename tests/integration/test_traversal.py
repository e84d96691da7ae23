"""Ten thousand ways to ask for a file outside the root, over each protocol, and none that works."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import http3
from support.http1 import Http1
from support.http2 import Http2
from support.site import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.answer import Body
    from support.server import Server

ATTEMPTS = 10_000
BATCH = 25

UP = [
    "..",
    "%2e%2e",
    ".%2e",
    "%2E.",
    "%252e%252e",
    "..%00",
    "..;",
    "%c0%ae%c0%ae",
    "%uff0e%uff0e",
    "....",
    "..%20",
    "..",
]
SEPARATORS = ["/", "%2f", "%2F", "\\", "%5c", "//", "/./", "%252f", "%c0%af", "%00/", "/%2f", "/"]
PREFIXES = [
    "/",
    "/sub/",
    "//",
    "/./",
    "/files/",
    "/escape/",
    "/hello.txt/",
    "/sub%2f",
    "/%2f",
    "/sub/..%2f",
    "/\\",
    "/%00/",
]
TARGETS = [
    "outside/secret.txt",
    "secret.txt",
    "site-secret.txt",
    "site/.secret",
    ".secret",
    ".velocity/file.txt",
    "etc/passwd",
]
SUFFIXES = ["", "", "?", "/", "%00", "%00.txt", "/.", "?x=/../y", "#", "%20", "."]

PASSWORDS = Path("/etc/passwd").read_bytes().splitlines()[0]


def attempts() -> list[str]:
    """The same selection on every run."""
    every = list(itertools.product(PREFIXES, UP, SEPARATORS, range(7), TARGETS, SUFFIXES))
    return [
        prefix + (up + separator) * depth + target.replace("/", separator) + suffix
        for prefix, up, separator, depth, target, suffix in random.Random(7).sample(every, ATTEMPTS)
    ]


def harmless(path: str, body: Body) -> None:
    assert SECRET not in body, path
    assert PASSWORDS not in body, path


def batches(paths: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(paths), BATCH):
        yield paths[start : start + BATCH]


def test_http1(server: Server) -> None:
    connection = Http1(server.port)
    answered = 0
    for path in attempts():
        if "#" in path and answered % 2:
            path = "https://localhost" + path
        try:
            answer = connection.ask(path)
        except (OSError, EOFError) as error:
            pytest.fail(f"no answer to {path}: {error!r}")
        harmless(path, answer.body)
        answered += 1
        if answer.get("connection") == "close" or answer.status == 400:
            connection.close()
            connection = Http1(server.port)
    assert answered == ATTEMPTS
    assert connection.ask("/hello.txt").body == b"hello\n"
    connection.close()


def test_http2(server: Server) -> None:
    answered = 0
    connection = Http2(server.port)
    for paths in batches(attempts()):
        try:
            streams = [connection.send(path) for path in paths]
            connection.finish(streams)
        except ConnectionError:
            pytest.fail(f"one bad path ended the whole connection; it is among {paths}")
        for path, stream in zip(paths, streams, strict=True):
            harmless(path, connection.answers.pop(stream).body)
            answered += stream in connection.ended
        if connection.goaway:
            connection.close()
            connection = Http2(server.port)
    assert answered > ATTEMPTS * 0.5, "most attempts must be refused by an answer, or nothing was tried"
    assert connection.ask("/hello.txt").body == b"hello\n"
    connection.close()


def test_http3(server: Server) -> None:
    async def conversation() -> int:
        answered = 0
        async with http3.Http3.open(server.port) as connection:
            for paths in batches(attempts()):
                streams = [connection.send(path) for path in paths]
                ended = await connection.outcome(*streams)
                for path, stream in zip(paths, streams, strict=True):
                    harmless(path, connection.answers.pop(stream).body)
                answered += ended
            assert (await connection.ask("/hello.txt")).body == b"hello\n"
        return answered

    answered = http3.run(conversation(), timeout=90)
    assert answered > ATTEMPTS * 0.5, "most attempts must be refused by an answer, or nothing was tried"
