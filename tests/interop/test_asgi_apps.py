"""Applications as people write them, in the server's process: FastAPI and Starlette, their streams, files, WebSockets
and what they do after an answer."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from support.application import serving
from support.clients import PROTOCOLS, Protocol, ask
from support.front import send
from support.site import noise
from support.wss import dial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.server import Server

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fastapi")
    (folder / "file.bin").write_bytes(noise(300_000))
    with serving(folder, "shop:make", "--factory", env={"SHOP_FOLDER": str(folder)}) as running:
        yield running
        running.terminate()
        assert running.wait() == 0
        assert "app_failed" not in running.stderr


@every_protocol
def test_json(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/items/7?q=seven")
    assert json.loads(answer.body) == {"item": 7, "q": "seven", "started": True}
    wrong = ask(protocol, server.port, "/items/seven")
    assert wrong.status == 422
    body = json.dumps({"name": "a thing", "price": 1.5}).encode()
    made = send(protocol, server.port, "/items", body, fields=[("content-type", "application/json")])
    assert (made.status, json.loads(made.body)) == (201, {"name": "a thing", "price": 1.5, "id": 1}), made


@every_protocol
def test_uploads(server: Server, protocol: Protocol) -> None:
    body = noise(2_000_000)
    answer = send(protocol, server.port, "/upload", body, "PUT")
    assert json.loads(answer.body) == {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}


@every_protocol
def test_streams(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/stream")
    assert bytes(answer.body) == b"".join(b"data: %d\n\n" % number for number in range(5))
    assert answer["content-type"].startswith("text/event-stream")


@every_protocol
def test_files(server: Server, protocol: Protocol) -> None:
    answer = ask(protocol, server.port, "/file")
    assert bytes(answer.body) == noise(300_000)
    assert answer["content-length"] == "300000"


def test_threads_and_what_comes_after_an_answer(server: Server) -> None:
    assert bytes(ask("h2", server.port, "/sync").body) == b'"from a thread"'
    assert json.loads(ask("h2", server.port, "/later").body) == "soon"
    deadline = time.monotonic() + 5
    while json.loads(ask("h2", server.port, "/done").body) != ["later"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_error_of_a_handler(server: Server) -> None:
    assert ask("h2", server.port, "/items/404").status == 404


def test_a_chat(server: Server) -> None:
    trust = ssl.create_default_context(cafile=str(server.certificate))
    with dial(server.port, "/chat", trust) as one, dial(server.port, "/chat", trust) as two:
        assert (one.recv(5), two.recv(5)) == ("1 here", "2 here")
        one.send("hello, everybody")
        assert (one.recv(5), two.recv(5)) == ("hello, everybody", "hello, everybody")


def test_a_middleware_sees_the_protocol(server: Server) -> None:
    for protocol in PROTOCOLS:
        assert ask(protocol, server.port, "/sync")["x-protocol"] == protocol


@pytest.mark.parametrize("target", ["django_site:app", "django_site:wsgi"])
def test_django(tmp_path: Path, target: str) -> None:
    with serving(tmp_path, target) as server:
        for protocol in PROTOCOLS:
            assert bytes(ask(protocol, server.port, "/hello/b%C3%BCcher").body).decode() == "hello, bücher"
            body = noise(200_000)
            known = json.loads(send(protocol, server.port, "/facts?a=b", body).body)
            assert known.pop("host").startswith("localhost")
            assert known == {"secure": True, "method": "POST", "body": len(body), "query": {"a": "b"}}
            assert ask(protocol, server.port, "/none").status == 404
        if target.endswith("app"):
            assert bytes(ask("h3", server.port, "/numbers").body) == b"0\n1\n2\n"
