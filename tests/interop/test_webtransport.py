"""WebTransport over HTTP/3 (draft-ietf-webtrans-http3) to an ASGI application, by aioquic: streams and datagrams both
ways, how sessions end, and what a client may not have."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from support.application import serving
from support.clients import ask
from support.http3 import run
from support.http3_codes import ID_ERROR, REQUEST_REJECTED
from support.server import Server
from support.site import noise
from support.webtransport import BUFFERED_STREAM_REJECTED, SESSION_GONE, Client, on_the_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENABLE_WEBTRANSPORT = 0x2B603742
MAX_SESSIONS = 0xC671706A
DATAGRAMS = 0x33
SERVER_UNI = 3
"""The low bits of the server's unidirectional streams (RFC 9000 section 2.1)."""
INTERNAL_ERROR = 0x102


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("sessions"), "sessions:app") as running:
        yield running


def heard(server: Server) -> list[Any]:
    """What the application has heard so far."""
    told: list[Any] = json.loads(ask("http/1.1", server.port, "/told").body)
    return told


async def hears(server: Server, wanted: Callable[[list[Any]], object]) -> None:
    """Wait until the application has heard something."""
    async with asyncio.timeout(5):
        while not wanted(await asyncio.to_thread(heard, server)):
            await asyncio.sleep(0.02)


def disconnect(code: int | None, reason: str) -> dict[str, Any]:
    return {"type": "webtransport.disconnect", "code": code, "reason": reason}


def test_what_is_announced(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            settings = client.http.received_settings
            assert settings is not None
            assert (settings[ENABLE_WEBTRANSPORT], settings[MAX_SESSIONS], settings[DATAGRAMS]) == (1, 16, 1)

    run(conversation())


def test_streams_and_datagrams(server: Server) -> None:
    content = noise(300_000)

    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/echo", ("sec-webtransport-http3-draft02", "1"))
            assert client.heads[session]["sec-webtransport-http3-draft"] == "draft02"
            assert client.heads[session]["x-session"] == "yes"
            first = client.stream(session, b"hello")
            await client.until(lambda: client.streams[first] == b"hello")
            assert first not in client.ended, "a stream goes on for as long as it likes"
            second = client.stream(session, content, end=True)
            third = client.stream(session, content, end=True, unidirectional=True)
            client.say(first, b" again", end=True)
            await client.until(lambda: {first, second} <= client.ended)
            assert client.streams[first] == b"hello again"
            assert client.streams[second] == content
            await client.until(lambda: any(stream & 3 == SERVER_UNI for stream in client.ended))
            answer = next(stream for stream in client.ended if stream & 3 == SERVER_UNI)
            assert client.streams[answer] == content
            assert third not in client.streams
            for number in range(20):
                client.datagram(session, b"%d" % number)
                await client.until(lambda number=number: len(client.datagrams) > number)  # type: ignore[misc]
            assert client.datagrams == [b"%d" % number for number in range(20)]

    run(conversation())


def test_sessions_of_one_connection_are_apart(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            one, other = await client.session("/echo"), await client.session("/echo")
            kept = client.stream(other, b"kept")
            client.close_session(one, 0, "")
            await client.until(lambda: one in client.ended)
            client.say(kept, b" and well", end=True)
            await client.until(lambda: kept in client.ended)
            assert client.streams[kept] == b"kept and well"

    run(conversation())


def test_what_an_application_knows(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/facts?a=b", ("origin", "https://localhost"))
            stream = 1  # the server's first
            await client.until(lambda: stream in client.ended)
            known = json.loads(client.streams[stream])
            assert known == {
                "type": "webtransport",
                "asgi": {"version": "3.0", "spec_version": "2.4"},
                "http_version": "3",
                "scheme": "https",
                "path": "/facts",
                "root_path": "",
                "query_string": "a=b",
                "headers": [["host", "localhost"], ["origin", "https://localhost"]],
                "extensions": ["tls", "velocity"],
            }
            assert "sec-webtransport-http3-draft" not in client.heads[session], "it did not ask for that"

    run(conversation())


def test_the_client_closes(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/echo")
            stream = client.stream(session, b"x")
            await client.until(lambda: client.streams[stream] == b"x")
            client.close_session(session, 4_000_000_000, "good-bye ä")
            await hears(server, lambda told: disconnect(4_000_000_000, "good-bye ä") in told)
            await client.until(lambda: session in client.ended and stream in client.stopped)
            assert (client.stopped[stream], client.resets[stream]) == (SESSION_GONE, SESSION_GONE)
            late = client.stream(session, b"late")
            await client.until(lambda: late in client.stopped)
            assert client.stopped[late] == SESSION_GONE
            assert client.ending(session) is None

    run(conversation())


def test_the_client_ends_the_request(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/echo")
            client.http.send_data(session, b"", end_stream=True)
            client.transmit()
            await hears(server, lambda told: disconnect(0, "") in told)

    run(conversation())


def test_the_client_goes(server: Server) -> None:
    async def conversation() -> None:
        known = heard(server).count(disconnect(None, ""))
        async with Client.open(server.port) as client:
            await client.session("/echo")
        await hears(server, lambda told: told.count(disconnect(None, "")) > known)

    run(conversation())


def test_the_application_closes(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/closes")
            stream = client.stream(session, b"x")
            await client.until(lambda: session in client.ended)
            assert client.ending(session) == (7, "enough")
            assert session not in client.stopped, "a client takes that for a lost session"
            await client.until(lambda: stream in client.ended)
            assert client.streams[stream] == b"bye", "what was said to the end is heard"
            await client.until(lambda: stream in client.stopped)
            assert client.stopped[stream] == SESSION_GONE
            late = '"webtransport.datagram.send" cannot be sent here: the session is closed'
            await hears(server, lambda told: disconnect(7, "enough") in told and late in told)

    run(conversation())


def test_the_application_gives_up_a_stream(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/gives-up")
            stream = client.stream(session, b"x")
            await client.until(lambda: stream in client.stopped and stream in client.resets)
            assert (client.stopped[stream], client.resets[stream]) == (on_the_wire(40), on_the_wire(41))
            await hears(server, lambda told: f"stream {stream} takes no more" in told)

    run(conversation())


def test_the_client_gives_up_a_stream(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/echo")
            stream = client.stream(session, b"x")
            await client.until(lambda: client.streams[stream] == b"x")
            client.quic.stop_stream(stream, on_the_wire(31))
            client.quic.reset_stream(stream, on_the_wire(30))
            client.transmit()
            reset = {"type": "webtransport.stream.reset", "stream": stream, "code": 30}
            stop = {"type": "webtransport.stream.stop", "stream": stream, "code": 31}
            await hears(server, lambda told: reset in told and stop in told)

    run(conversation())


def test_an_application_that_fails(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            for path, status in (("/fails-before", "500"), ("/returns-before", "500"), ("/refuses", "403")):
                asked = client.ask(path)
                early = client.stream(asked, b"early")
                await client.until(lambda asked=asked: asked in client.ended)  # type: ignore[misc]
                assert client.heads[asked][":status"] == status
                await client.until(lambda early=early: early in client.stopped)  # type: ignore[misc]
                assert client.stopped[early] == SESSION_GONE
            session = await client.session("/fails-after")
            stream = client.stream(session, b"x")
            await client.until(lambda: session in client.resets and stream in client.stopped)
            assert (client.resets[session], client.stopped[stream]) == (INTERNAL_ERROR, SESSION_GONE)
            assert (await client.session("/echo")) is not None, "nobody else is disturbed"

    run(conversation())
    for what in ("ValueError: before", "ValueError: after", "returned without accepting or closing"):
        assert "app_failed" in server.line_with(what)


def test_what_cannot_be_sent(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/misbehaves")
            await client.until(lambda: session in client.ended)
            assert client.ending(session) == (0, "")
        expected = (
            "webtransport.stream.*, webtransport.datagram.send or webtransport.close is expected",
            "webtransport.stream.send has a stream",
            "ConnectionResetError: stream 400 takes no more",
            "TypeError",
            "-1 cannot be the code of webtransport.stream.reset",
            "4294967296 cannot be the code of webtransport.close",
            "the reason of webtransport.close has more than 1024 bytes",
            "TypeError: bytes are needed here, not str",
            '"websocket.send" cannot be sent here',
        )
        told = [one for one in heard(server) if isinstance(one, str)]
        for wanted in expected:
            assert any(wanted in one for one in told), (wanted, told)
        assert not any("was sent" in one for one in told)

    run(conversation())


def test_streams_that_overtake_their_session(server: Server) -> None:
    """Eight are kept, and older ones make way."""

    async def conversation() -> None:
        async with Client.open(server.port) as client:
            session = client.quic.get_next_available_stream_id()
            client.quic.send_stream_data(session, b"")  # takes the ID; nothing is sent
            streams = [client.stream(session, b"%d" % number) for number in range(10)]
            await client.until(lambda: len(client.stopped) == 2)
            await client.until(lambda: len(client.resets) == 2)
            assert client.stopped == client.resets
            assert set(client.stopped.values()) == {BUFFERED_STREAM_REJECTED}
            kept = [stream for stream in streams if stream not in client.stopped]
            head = [(":method", "CONNECT"), (":scheme", "https"), (":authority", "localhost"), (":path", "/echo")]
            head.append((":protocol", "webtransport"))
            client.http.send_headers(session, [(name.encode(), value.encode()) for name, value in head])
            client.transmit()
            await client.until(lambda: all(client.streams[stream] for stream in kept))
            assert all(client.streams[stream] == b"%d" % streams.index(stream) for stream in kept)

    run(conversation())


def test_as_many_sessions_as_announced(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            sessions = [await client.session("/echo") for _ in range(16)]
            one_more = client.ask("/echo")
            await client.until(lambda: one_more in client.resets)
            assert client.resets[one_more] == REQUEST_REJECTED
            client.close_session(sessions[0], 0, "")
            await client.until(lambda: sessions[0] in client.ended)
            await client.session("/echo")

    run(conversation())


def test_an_application_that_does_not_read(tmp_path: Path) -> None:
    """It holds the client back, loses no byte of a stream, and of datagrams only the latest are kept."""
    content = noise(6_000_000)

    async def conversation(server: Server) -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/busy")
            before = server.memory()
            stream = client.stream(session, content)
            for number in range(200):
                client.datagram(session, b"%d" % number)
            await asyncio.sleep(1.0)
            waiting = client.unacknowledged(stream)
            assert waiting > len(content) - 2_000_000, "no more than QUIC's window was taken"
            assert server.memory() - before < 4_000_000
            client.say(stream, b"", end=True)
            await asyncio.to_thread(ask, "http/1.1", server.port, "/go")
            await client.until(lambda: stream in client.ended, 20)
            received, datagrams = json.loads(client.streams[stream])
            assert received == len(content)
            assert 0 < datagrams <= 64

    with serving(tmp_path, "sessions:app") as server:
        run(conversation(server), 40)


def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    """It holds the application back, on the one stream that is too much for it."""
    size = 256 * 65536

    async def conversation(server: Server) -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/pours")
            before = server.memory()
            stream = client.stream(session, b"x")
            await client.until(lambda: client.streams[stream])
            client.freeze()
            second = client.stream(session, b"x")
            await hears(server, lambda told: "meanwhile" in told)
            await asyncio.sleep(1.0)
            numbers = [one for one in await asyncio.to_thread(heard, server) if one != "meanwhile"]
            assert max(numbers) < 200, "it waits"
            assert server.memory() - before < 12_000_000
            client.thaw()
            await client.until(lambda: stream in client.ended, 30)
            assert len(client.streams[stream]) == size
            assert client.streams[second] == b"meanwhile"

    with serving(tmp_path, "sessions:app") as server:
        run(conversation(server), 60)


def test_what_nobody_asked_for(server: Server) -> None:
    """Datagrams of no session are dropped; an ID that is of no request ends the connection."""

    async def conversation() -> None:
        async with Client.open(server.port) as client:
            client.datagram(400, b"x")
            session = await client.session("/echo")
            client.datagram(session, b"y")
            await client.until(lambda: client.datagrams)
            assert client.datagrams == [b"y"]
        for unidirectional in (False, True):
            async with Client.open(server.port) as client:
                client.stream(3, b"x", unidirectional=unidirectional)
                await client.until(lambda client=client: client.closed)  # type: ignore[misc]
                assert client.closed is not None
                assert client.closed.error_code == ID_ERROR

    run(conversation())


def test_a_capsule_that_is_too_long_or_cut(server: Server) -> None:
    async def conversation() -> None:
        for capsule in (b"\x68\x43\x44\x05" + bytes(1029), b"\x68\x43\x05\x00", b"\x68\x43\x03\x00\x00\x00"):
            async with Client.open(server.port) as client:
                session = await client.session("/echo")
                client.http.send_data(session, capsule, end_stream=True)
                client.transmit()
                await client.until(lambda client=client, session=session: session in client.resets)  # type: ignore[misc]
                assert client.resets[session] == INTERNAL_ERROR

    run(conversation())


def test_other_protocols_are_what_they_were(server: Server) -> None:
    async def conversation() -> None:
        async with Client.open(server.port) as client:
            asked = client.ask("/echo", protocol="connect-udp", end=True)
            await client.until(lambda: asked in client.ended)
            assert client.heads[asked][":status"] == "405"

    run(conversation())


def test_when_the_server_stops(tmp_path: Path) -> None:
    async def conversation(server: Server) -> None:
        async with Client.open(server.port) as client:
            session = await client.session("/echo")
            server.terminate()
            await client.until(lambda: session in client.ended)
            assert client.ending(session) == (0, "the server restarts")

    with serving(tmp_path, "sessions:app") as server:
        run(conversation(server))
        assert server.wait() == 0


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["files", "workers"])
def test_where_nothing_is_announced(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """A server of files, and applications in processes of their own: the settings are as if there were none."""

    async def conversation(server: Server) -> None:
        async with Client.open(server.port) as client:
            settings = client.http.received_settings
            assert settings is not None
            assert not {ENABLE_WEBTRANSPORT, MAX_SESSIONS, DATAGRAMS} & settings.keys()
            assert client.quic._remote_max_datagram_frame_size is None
            asked = client.ask("/echo", end=True)
            await client.until(lambda: asked in client.ended)
            assert client.heads[asked][":status"] == "405"
            client.http.send_headers(
                stream := client.quic.get_next_available_stream_id(),
                [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")],
                end_stream=True,
            )
            client.transmit()
            await client.until(lambda: stream in client.ended)

    with serving(tmp_path, "sessions:app", *flags) if flags else Server(tmp_path) as server:
        run(conversation(server))
