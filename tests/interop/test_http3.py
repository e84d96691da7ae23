"""HTTP/3 by foreign clients: the dynamic table of QPACK, priorities, early answers, heads that are too large."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support import site
from support.http3 import Http3, Library, run
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGE = 4 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, bytes]]:
    root: Path = tmp_path_factory.mktemp("http3")
    content = site.noise(LARGE)
    (root / "large.bin").write_bytes(content)
    (root / "small.txt").write_bytes(b"small\n")
    with Server(root) as started:
        yield started, content


@pytest.mark.parametrize("library", ["aioquic", "qh3"])
def test_requests_that_use_the_dynamic_table(server: tuple[Server, bytes], library: Library) -> None:
    """RFC 9204: the second request refers to what the first one inserted."""

    async def conversation() -> None:
        async with Http3.open(server[0].port, library=library) as connection:
            lengths = []
            for _ in range(6):
                stream = connection.send("/small.txt", fields=[("user-agent", "a" * 200), ("x-session", "b" * 200)])
                await connection.finish(stream)
                assert connection.answers[stream].body == b"small\n"
                lengths.append(connection.head_bytes())
                await asyncio.sleep(0.02)  # for the acknowledgement of insertions
            assert lengths[-1] < lengths[0] / 4, lengths

    run(conversation())


def test_the_urgent_answer_comes_first(server: tuple[Server, bytes]) -> None:
    """RFC 9218 section 10: by urgency, and then in the order of the requests."""

    async def conversation() -> None:
        async with Http3.open(server[0].port) as connection:
            urgencies = [7, 3, 5, 0]
            streams = [connection.send("/large.bin", fields=[("priority", f"u={urgency}")]) for urgency in urgencies]
            ended: list[int] = []

            def note() -> None:
                ended.extend(s for s in streams if s not in ended and len(connection.answers[s].body) == LARGE)

            connection.on_progress = note
            await connection.finish(*streams)
            by_urgency = [stream for _, stream in sorted(zip(urgencies, streams, strict=True))]
            assert ended == by_urgency
            assert all(connection.answers[stream].body == server[1] for stream in streams)

    run(conversation())


def test_incremental_answers_share(server: tuple[Server, bytes]) -> None:
    """RFC 9218 section 10: none of them is complete long before the others."""

    async def conversation() -> None:
        async with Http3.open(server[0].port) as connection:
            streams = [connection.send("/large.bin", fields=[("priority", "u=3, i")]) for _ in range(4)]
            least = LARGE

            def note() -> None:
                nonlocal least
                bodies = [len(connection.answers[stream].body) for stream in streams]
                if max(bodies) == LARGE:
                    least = min(least, *bodies)

            connection.on_progress = note
            await connection.finish(*streams)
            assert least > LARGE / 2

    run(conversation())


@pytest.mark.parametrize("library", ["aioquic", "qh3"])
def test_an_answer_that_does_not_need_the_rest_of_the_request(server: tuple[Server, bytes], library: Library) -> None:
    """RFC 9114 section 4.1: the answer comes whole, and STOP_SENDING with H3_NO_ERROR asks for no more."""

    async def conversation() -> None:
        async with Http3.open(server[0].port, library=library) as connection:
            stream = connection.send("/small.txt", "POST", body=bytes(1 << 20), end=False)
            await connection.finish(stream)
            assert connection.answers[stream].status == 405
            assert connection.stopped == {stream: 0x100}
            assert (await connection.ask("/small.txt")).body == b"small\n"

    run(conversation())


def test_a_head_that_is_too_large_is_answered(server: tuple[Server, bytes]) -> None:
    """RFC 6585 section 5; other requests of the connection are not disturbed."""

    async def conversation() -> None:
        async with Http3.open(server[0].port) as connection:
            answer = await connection.ask("/small.txt", fields=[(f"x-{n}", "y" * 4000) for n in range(40)])
            assert answer.status == 431
            assert (await connection.ask("/small.txt")).body == b"small\n"

    run(conversation())


@pytest.mark.parametrize("library", ["aioquic", "qh3"])
def test_downloads_that_are_given_up(server: tuple[Server, bytes], library: Library) -> None:
    """RFC 9114 section 4.1.1: more of them than there may be at a time, and the connection goes on."""

    async def conversation() -> None:
        async with Http3.open(server[0].port, library=library) as connection:
            for _ in range(150):
                stream = connection.send("/large.bin")
                await connection.begun(stream)
                connection.cancel(stream)
            stream = connection.send("/large.bin")
            await connection.finish(stream)
            assert connection.answers[stream].body == server[1]

    run(conversation(), timeout=60)


@pytest.mark.parametrize("library", ["aioquic", "qh3"])
def test_a_large_download(tmp_path: Path, library: Library) -> None:
    content = site.noise(1 << 20) * 64
    (tmp_path / "large.bin").write_bytes(content)

    async def conversation(port: int) -> None:
        async with Http3.open(port, library=library) as connection:
            answer = await connection.ask("/large.bin")
            assert len(answer.body) == len(content)
            assert answer.body == content

    with Server(tmp_path) as running:
        run(conversation(running.port), timeout=60)
