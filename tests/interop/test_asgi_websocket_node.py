"""The WebSockets of an application, as `ws` sees them: the client of most programs for Node."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support.application import serving, told
from support.node import WS, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import Server


class Talk(Protocol):
    """One WebSocket, from its opening to its end, and what came of it."""

    def __call__(self, path: str, **wanted: Any) -> dict[str, Any]: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("asgi")) as running:
        yield running


@pytest.fixture(scope="module")
def talk(server: Server) -> Iterator[Talk]:
    program, folder = installed(WS, "ws")
    command = [program, "client.js", f"wss://localhost:{server.port}", str(server.certificate)]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, said = process.stdin, process.stdout

        def talk(path: str, **wanted: Any) -> dict[str, Any]:
            print(json.dumps({"path": path, **wanted}), file=asked, flush=True)
            heard: dict[str, Any] = json.loads(said.readline())
            return heard

        try:
            yield talk
        finally:
            process.kill()


def heard_of(server: Server, what: str) -> None:
    """The application hears of an end a little later, or earlier."""
    deadline = time.monotonic() + 5
    while what not in told(server.port):
        assert time.monotonic() < deadline, told(server.port)
        time.sleep(0.02)


def test_text_and_bytes(talk: Talk) -> None:
    sent = [{"text": "hello"}, {"text": ""}, {"bytes": 0}, {"bytes": 1000}, {"text": "ä" * 40}]
    heard = talk("/echo", send=sent, close=[1000])
    assert heard["messages"] == sent
    assert (heard["code"], heard.get("error")) == (1000, None)


def test_large_messages(talk: Talk) -> None:
    """Lengths of all three forms that a frame has (RFC 6455 section 5.2), and many frames of TLS."""
    sent = [{"bytes": length} for length in (125, 126, 65_535, 65_536, 5_000_000)]
    assert talk("/echo", send=sent, close=[1000])["messages"] == sent
    text = "x" * 1_000_000
    assert talk("/echo", send=[{"text": text}], close=[1000])["messages"] == [{"text": len(text)}]


def test_messages_in_pieces(talk: Talk) -> None:
    heard = talk("/echo", send=[{"pieces": ["in ", "three ", "pieces"]}], close=[1000])
    assert heard["messages"] == [{"text": "in three pieces"}]
    assert heard["pongs"] == ["between"], "control frames may stand between pieces (RFC 6455 section 5.4)"


def test_pings(talk: Talk) -> None:
    sent = [{"ping": "one"}, {"text": "hello"}, {"ping": "two"}, {"text": "bye"}]
    heard = talk("/echo", send=sent, until=2, close=[1000])
    assert heard["pongs"] == ["one", "two"]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (3000, "ours"), (4999, "ü" * 61)])
def test_the_client_closes(server: Server, talk: Talk, code: int, reason: str) -> None:
    heard = talk("/echo", send=[{"text": "hello"}], close=[code, reason])
    assert (heard["code"], heard["reason"]) == (code, reason), "what was said comes back (RFC 6455 section 5.5.1)"
    heard_of(server, f"ws: {code} {reason}")


def test_the_client_closes_without_a_code(server: Server, talk: Talk) -> None:
    assert talk("/echo", send=[{"text": "hello"}], close=[])["code"] == 1005
    heard_of(server, "ws: 1005 ")


def test_the_application_closes(talk: Talk) -> None:
    heard = talk("/close")
    assert (heard["messages"], heard["code"], heard["reason"]) == ([{"text": "bye"}], 4001, "enough")


def test_the_application_fails(talk: Talk) -> None:
    assert talk("/break")["code"] == 1011


@pytest.mark.parametrize(("path", "status"), [("/deny", 403), ("/answer", 401), ("/fail", 500)])
def test_there_is_none(talk: Talk, path: str, status: int) -> None:
    assert talk(path)["status"] == status


def test_subprotocols(talk: Talk) -> None:
    heard = talk("/echo", protocols=["chat", "superchat"], send=[{"text": "hello"}], close=[1000])
    assert (heard["protocol"], heard["messages"]) == ("superchat", [{"text": "hello"}])


@pytest.mark.parametrize("more", [{}, {"serverMaxWindowBits": 10, "clientMaxWindowBits": 9}], ids=["", "windows"])
def test_compression(talk: Talk, more: dict[str, int]) -> None:
    sent = [{"text": "hello"}, {"text": ""}, {"text": "ä" * 40}, {"bytes": 70_000}, {"pieces": ["in ", "pie", "ces"]}]
    heard = talk("/echo", options={"perMessageDeflate": {"threshold": 0, **more}}, send=sent, close=[1000])
    assert heard["extensions"] == "permessage-deflate"
    assert heard["messages"] == [*sent[:-1], {"text": "in pieces"}]
    assert heard["code"] == 1000


def test_no_compression(talk: Talk) -> None:
    heard = talk("/echo", options={"perMessageDeflate": False}, send=[{"text": "hello"}], close=[1000])
    assert (heard["extensions"], heard["messages"]) == ("", [{"text": "hello"}])


def test_a_message_that_is_too_large(talk: Talk) -> None:
    heard = talk("/echo", send=[{"bytes": 17 << 20}], close=[1000])
    assert heard["messages"] == []
    assert heard["code"] in (1006, 1009)
