"""Answers that are sent while they are made: events, heartbeats, and clients that go away."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.edge import ClientDisconnectedError, EdgeApp, EdgeRequest, EdgeResponse, ServerSentEvent
from velocity.edge.channel import Channel
from velocity.edge.testing import TestClient


def app_of(make: Any) -> EdgeApp:
    app = EdgeApp()

    @app.route("/", ("GET", "POST"))
    async def handler(request: EdgeRequest) -> EdgeResponse:
        answer: EdgeResponse = make(request)
        return answer

    return app


def test_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes | str]:
        yield b"a"
        yield ""
        yield "ä"

    def from_thread() -> Iterator[bytes]:
        assert threading.current_thread() is not threading.main_thread()
        yield b"1"
        yield b"2"

    reply = TestClient(app_of(lambda request: EdgeResponse.stream(pieces(), "text/plain"))).get("/")
    assert (reply.text, reply.headers["content-type"]) == ("aä", "text/plain")
    assert "content-length" not in reply.headers
    assert TestClient(app_of(lambda request: EdgeResponse.stream(from_thread()))).get("/").content == b"12"


def test_head_makes_nothing() -> None:
    made: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        made.append(1)
        yield b"a"

    for make in (EdgeResponse.stream, EdgeResponse.sse):
        assert TestClient(app_of(lambda request, make=make: make(pieces()))).head("/").content == b""
    assert made == []


@pytest.mark.parametrize("kind", ["stream", "sse"])
def test_who_goes_away_ends_the_generator(kind: str) -> None:
    ended = threading.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "first"
            await anyio.sleep_forever()
        finally:
            ended.set()

    make = getattr(EdgeResponse, kind)
    with TestClient(app_of(lambda request: make(endless()))) as client:
        with client.stream("GET", "/") as reply:
            assert "first" in next(reply.pieces()).decode()
            assert not ended.is_set()
        assert ended.wait(5)


def test_who_went_away_is_noticed_when_something_is_sent() -> None:
    """Servers that say so when something is sent, and not before."""
    sent: list[int] = []

    async def endless() -> AsyncIterator[str]:
        while True:
            sent.append(1)
            yield "x"

    async def main() -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            await anyio.sleep(0)
            if len(sent) > 3:
                raise OSError("gone")

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        with anyio.fail_after(5):
            await app_of(lambda request: EdgeResponse.stream(endless()))(scope, receive, send)

    anyio.run(main)
    assert len(sent) == 4


def test_background_tasks_run_for_who_went_away_too() -> None:
    done: list[str] = []

    async def main() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            raise OSError("gone")

        def make(request: EdgeRequest) -> EdgeResponse:
            response = EdgeResponse.text("a")
            response.background.add(done.append, "done")
            return response

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        await app_of(make)(scope, receive, send)

    anyio.run(main)
    assert done == ["done"]


def test_a_body_is_read_while_the_answer_is_sent() -> None:
    def echo(request: EdgeRequest) -> EdgeResponse:
        async def pieces() -> AsyncIterator[bytes]:
            async for piece in request.stream():
                yield piece.upper()

        return EdgeResponse.stream(pieces())

    pieces = [bytes([97 + number]) * 100 for number in range(20)]
    assert TestClient(app_of(echo)).post("/", content=pieces).content == b"".join(pieces).upper()


def test_a_handler_can_wait_for_that() -> None:
    gone = threading.Event()

    def make(request: EdgeRequest) -> EdgeResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"
            with anyio.CancelScope(shield=True):
                await request.disconnected()
            gone.set()

        return EdgeResponse.stream(pieces())

    with TestClient(app_of(make)) as client:
        with client.stream("GET", "/") as reply:
            next(reply.pieces())
        assert gone.wait(5)


def test_what_fails_in_the_middle_is_no_whole_answer() -> None:
    async def fails() -> AsyncIterator[str]:
        yield "a"
        raise RuntimeError("in the middle")

    for make in (EdgeResponse.stream, EdgeResponse.sse):
        with pytest.raises(RuntimeError, match="in the middle"):
            TestClient(app_of(lambda request, make=make: make(fails()))).get("/")


def test_a_body_that_ends_early() -> None:
    async def main() -> None:
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        channel = Channel(receive)
        assert await channel.piece() == b"a"
        with pytest.raises(ClientDisconnectedError):
            await channel.piece()
        await channel.disconnected()

    anyio.run(main)


# --- events ---


@pytest.mark.parametrize(
    ("event", "encoded"),
    [
        (ServerSentEvent("a"), b"data: a\n\n"),
        (ServerSentEvent("a\nb\r\nc\rd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent({"a": 1}, "kind", "7", 500), b'event: kind\nid: 7\nretry: 500\ndata: {"a":1}\n\n'),
        (ServerSentEvent(), b"data: \n\n"),
    ],
)
def test_events(event: ServerSentEvent, encoded: bytes) -> None:
    assert event.encode() == encoded


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0"])
def test_no_events(text: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        ServerSentEvent("", event=text).encode()
    with pytest.raises(ValueError, match="line break"):
        ServerSentEvent("", id=text).encode()


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_data_comes_as_it_was_sent(texts: list[str]) -> None:
    async def events() -> AsyncIterator[str]:
        for text in texts:
            yield text

    with TestClient(app_of(lambda request: EdgeResponse.sse(events()))).stream("GET", "/") as reply:
        found = [event["data"] for event in reply.events()]
    assert found == [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["cache-control"] == "no-store"


def test_heartbeats() -> None:
    async def slow() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep(0.35)
        yield "b"

    begin = time.monotonic()
    reply = TestClient(app_of(lambda request: EdgeResponse.sse(slow(), heartbeat=0.1))).get("/")
    assert time.monotonic() - begin < 5
    first, *beats, last = reply.text.split("\n\n")[:-1]
    assert (first, last) == ("data: a", "data: b")
    assert 1 <= len(beats) <= 3
    assert set(beats) == {":"}
    with pytest.raises(ValueError, match="a heartbeat takes time"):
        EdgeResponse.sse(slow(), heartbeat=0)


def test_who_goes_away_after_what_was_read_late() -> None:
    """The one who watches leaves what it pulled to the one who reads, and goes on watching after that."""

    async def main() -> None:
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"b", "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            await anyio.sleep(0)
            return messages.pop(0)

        channel = Channel(receive)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(channel.disconnected)
                await anyio.wait_all_tasks_blocked()
                assert len(messages) == 2  # one piece is held, and no more
                assert await channel.piece() == b"a"
                await anyio.wait_all_tasks_blocked()
                assert await channel.piece() == b"b"

    anyio.run(main)
