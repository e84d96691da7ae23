"""Applications in the server's process, over all four protocols: requests, answers, and what they learn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import pytest

from support import http3
from support.application import PLACES, facts, serving, told
from support.clients import PROTOCOLS, Protocol, ask, hinted
from support.front import send
from support.http1 import Http1
from support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.server import Server

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module", params=PLACES)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("asgi"), "raw:app", *PLACES[request.param]) as running:
        yield running
        running.terminate()
        assert running.wait() == 0
        assert "put away" in running.stderr, "the application was told that it is over"


@every_protocol
def test_an_answer(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/")
    assert (answer.status, bytes(answer.body)) == (200, b"hello")
    assert answer["content-length"] == "5"
    assert [value for name, value in answer.fields if name == "x-twice"] == ["1", "2"]
    assert answer["server"] == "velocity"


@every_protocol
def test_head(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/", "HEAD")
    assert (answer.status, bytes(answer.body), answer["content-length"]) == (200, b"", "5")
    assert ask(protocol, server.port, "/slowly", "HEAD").status == 200


@every_protocol
def test_what_it_learns(server: Server, protocol: Protocol) -> None:
    known = facts(server.port, protocol, "/%C3%BCber/b?q=1&r=%20")
    assert known["type"] == "http"
    assert known["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert known["http_version"] == {"http/1.1": "1.1", "h2": "2"}.get(protocol, "3")
    assert (known["method"], known["scheme"], known["root_path"]) == ("GET", "https", "")
    assert (known["path"], known["raw_path"]) == ("/über/b", "/%C3%BCber/b")
    assert known["query_string"] == "q=1&r=%20"
    assert known["client"][0] == "127.0.0.1"
    assert known["server"] == ["127.0.0.1", server.port]
    assert known["state"] == {"started": "yes"}
    hosts = [value for name, value in known["headers"] if name == "host"]
    assert len(hosts) == 1
    assert hosts[0].startswith("localhost")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_where_it_came_to(tmp_path: Path, address: str) -> None:
    """Not to every address of this machine, whatever the server listens on."""
    with serving(tmp_path, "raw:app", listen=address) as everywhere:
        for protocol in PROTOCOLS:
            known = facts(everywhere.port, protocol)
            assert known["server"] == ["127.0.0.1", everywhere.port], protocol
            assert known["client"][0] == "127.0.0.1"


@every_protocol
def test_what_was_negotiated(server: Server, protocol: Protocol) -> None:
    extensions = facts(server.port, protocol)["extensions"]
    assert extensions["tls"]["tls_version"] == 0x0304
    assert extensions["tls"]["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert extensions["tls"]["client_cert_chain"] == []
    negotiated = extensions["velocity"]
    assert negotiated["alpn"] == protocol
    assert negotiated["profile"] == ("balanced" if protocol == "velocity/1" else None)
    assert negotiated["fallback"] is None
    assert negotiated["early_data"] is False
    assert negotiated["identity"] is None
    if protocol == "velocity/1":
        assert negotiated["group"] == "X25519MLKEM768"
    assert "http.response.pathsend" in extensions
    assert ("http.response.trailers" in extensions) == (protocol != "http/1.1")


@every_protocol
@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
def test_bodies_come_and_go(server: Server, protocol: Protocol, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    answer = send(protocol, server.port, "/echo", body)
    assert answer.status == 200
    assert bytes(answer.body) == body
    assert bytes(send(protocol, server.port, "/length", body).body) == str(len(body)).encode()


@every_protocol
def test_a_large_answer(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/whole")
    assert answer["content-length"] == "3000000"
    assert bytes(answer.body) == b"x" * 3_000_000


@every_protocol
def test_an_answer_that_goes_on_while_it_comes(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/slowly")
    assert bytes(answer.body) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert answer.get("content-length") is None


def test_requests_one_after_the_other(server: Server) -> None:
    with Http1(server.port) as client:
        for _ in range(50):
            assert client.ask("/").status == 200
        client.send("POST", "/echo", [("content-length", "3")])
        client.socket.sendall(b"abc")
        assert client.receive().body == b"abc"
        assert client.ask("/").status == 200


def test_requests_at_once(server: Server) -> None:
    with Http2(server.port) as client:
        slow = [client.send("/sleep?0.2") for _ in range(20)]
        quick = client.send("/")
        client.finish([quick])
        assert not set(slow) & client.ended
        client.finish(slow)
        assert {bytes(client.answers[stream].body) for stream in slow} == {b"slept"}


def test_a_slow_reader_holds_the_application_back(server: Server) -> None:
    with Http1(server.port, receive_buffer=16_384) as client:
        client.send("GET", "/large")
        client.begin()
        time.sleep(0.7)
        written = told(server.port).count("large")
        assert written < 32, "it has written most of 64 MiB to somebody who reads nothing"


@pytest.mark.parametrize("protocol", ["h2", "h3"])
def test_trailers(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/trailers")
    assert bytes(answer.body) == b"counted"
    if protocol == "h3":
        assert answer.get("x-sum") == "7"


def test_trailers_over_http1(server: Server) -> None:
    with Http1(server.port) as client:
        client.send("GET", "/trailers", [("te", "trailers"), ("connection", "close")])
        got = b""
        while chunk := client.socket.recv(65_536):
            got += chunk
    assert got.endswith(b"0\r\nx-sum: 7\r\n\r\n")


@pytest.mark.parametrize("protocol", ["h3", "h2"])
def test_early_hints(server: Server, protocol: Literal["h3", "h2"]) -> None:
    """In one answer or two."""
    fields, body = hinted(protocol, server.port, "/hint")
    assert [value for name, value in fields if name == "link"] == [
        "</style.css>; rel=preload",
        "</app.js>; rel=preload",
    ]
    assert {value for name, value in fields if name == ":status"} == {"103"}
    assert body == b"hinted"


def test_no_early_hints_over_http1(server: Server) -> None:
    assert bytes(ask("http/1.1", server.port, "/hint").body) == b"hinted"


@every_protocol
def test_a_file(server: Server, protocol: Protocol, tmp_path: Path) -> None:
    content = bytes(range(251)) * 4_000
    (tmp_path / "file").write_bytes(content)
    answer = ask(protocol, server.port, f"/file?{tmp_path}/file")
    assert answer["content-length"] == str(len(content))
    assert bytes(answer.body) == content
    assert ask(protocol, server.port, f"/file?{tmp_path}/none").status == 500
    assert ask(protocol, server.port, f"/file?{tmp_path}").status == 500, "a folder is no file"


def test_receive_and_send_are_as_good_as_coroutines(server: Server) -> None:
    assert bytes(ask("http/1.1", server.port, "/task").body) == b"http.request"
    assert bytes(ask("http/1.1", server.port, "/timed").body) == b"in time"


def until(server: Server, what: str) -> None:
    deadline = time.monotonic() + 5
    while what not in told(server.port):
        assert time.monotonic() < deadline, told(server.port)
        time.sleep(0.05)


def test_it_learns_when_the_client_goes(server: Server) -> None:
    before = told(server.port).count("wait: http.disconnect")
    with Http1(server.port) as client:
        client.send("GET", "/wait")
        time.sleep(0.2)
    with Http2(server.port) as two:
        stream = two.send("/wait")
        time.sleep(0.2)
        two.give_up(stream)

        async def conversation() -> None:
            async with http3.Http3.open(server.port) as client:
                stream = client.send("/wait")
                await client.ask("/")
                client.cancel(stream)
                await client.ask("/")

        http3.run(conversation())
        deadline = time.monotonic() + 5
        while told(server.port).count("wait: http.disconnect") < before + 3:
            assert time.monotonic() < deadline, told(server.port)
            time.sleep(0.05)
        assert "wait: ConnectionResetError" in told(server.port), "who sends then is told by an OSError"
    assert "app_failed" not in "".join(line for line in server.stderr.splitlines() if "/wait" in line)
