"""Applications that misbehave: the right status, or an answer that is plainly broken off; one message; and nothing else
on the server notices."""

from __future__ import annotations

import http.client
import threading
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from support import http3
from support.application import PLACES, PROGRAMS, serving, told
from support.clients import PROTOCOLS, Protocol, ask
from support.front import http as client_of
from support.front import quic
from support.http1 import Http1
from support.server import velocity
from velocity.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.server import Server

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module", params=PLACES)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("asgi"), "raw:app", *PLACES[request.param]) as running:
        yield running


@every_protocol
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/early", "RuntimeError: before the answer"),
        ("/nothing", "it returned without an answer"),
        ("/half", "it returned before the body of its answer"),
        ("/order", "cannot be sent here: http.response.start is expected"),
        ("/short", "the body is shorter than the Content-Length of 5"),
        ("/malformed", "cannot be the value of a field"),
        ("/leave", "SystemExit: 7"),
    ],
)
def test_before_the_answer(server: Server, protocol: Protocol, path: str, said: str) -> None:
    answer = ask(protocol, server.port, path)
    assert answer.status == 500
    assert bytes(answer.body) == b"internal server error\n", "what exactly is wrong is not for strangers"
    server.line_with(said)
    assert ask(protocol, server.port, "/").status == 200


def test_the_message_has_the_lines_of_the_application(server: Server) -> None:
    ask("http/1.1", server.port, "/early")
    line = server.line(lambda line: "app_failed" in line and "before the answer" in line)
    assert "programs/raw.py" in line
    assert "velocity/asgi" not in line, "lines of ours are no help"


@every_protocol
@pytest.mark.parametrize("path", ["/late", "/unfinished", "/stream-short"])
def test_after_the_answer_began(server: Server, protocol: Protocol, path: str) -> None:
    """Nobody may take the part for the whole."""
    if protocol in ("http/1.1", "h2"):
        with client_of(server.port, protocol) as client, pytest.raises(httpx2.RemoteProtocolError):
            client.get(path)
    elif protocol == "h3":

        async def conversation() -> int:
            async with http3.Http3.open(server.port) as client:
                return await client.outcome(client.send(path))

        assert http3.run(conversation()) == 0, "so many ended well"
    else:
        connection = quic(server.port, protocol)
        with pytest.raises(RequestError):
            list(iter(connection.request("GET", path, [], None, 10.0).read, None))
    assert ask(protocol, server.port, "/").status == 200


def test_after_the_answer_was_complete(server: Server) -> None:
    with Http1(server.port) as client:
        assert client.ask("/after").body == b"complete"
        assert client.ask("/twice").body == b"once"
        assert client.ask("/").status == 200, "the connection is as good as before"
    server.line_with("after the answer was complete")
    server.line_with("cannot be sent here: the answer is complete")


def test_who_blocks_holds_up_nobody_but_applications(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("a page")
    with serving(tmp_path, "raw:app", files=True) as server:
        ask("http/1.1", server.port, "/page.txt")
        blocked = threading.Thread(target=lambda: ask("http/1.1", server.port, "/block"))
        blocked.start()
        time.sleep(0.3)
        begin = time.monotonic()
        for protocol in PROTOCOLS:
            assert ask(protocol, server.port, "/page.txt").status == 200
        assert time.monotonic() - begin < 1.2
        blocked.join()
        assert ask("http/1.1", server.port, "/").status == 200


def test_more_than_it_can_do(tmp_path: Path) -> None:
    with serving(tmp_path, "raw:app", "--limit-concurrency", "2") as server:
        held = [Http1(server.port) for _ in range(2)]
        for client in held:
            client.send("GET", "/sleep?1")
        time.sleep(0.3)
        assert ask("h2", server.port, "/").status == 503
        assert [client.receive().status for client in held] == [200, 200]
        assert ask("h2", server.port, "/").status == 200
        for client in held:
            client.close()


def test_a_deadline(tmp_path: Path) -> None:
    (tmp_path / "serve.simple.yaml").write_text(
        "server: {listen: '127.0.0.1:0', tls: {self_signed: true}}\n"
        f"content: {{routes: [{{path: /, app: 'raw:app', app_dir: {PROGRAMS}, timeout: 300ms}}]}}\n"
    )
    from support.configured import serving as configured

    with configured(tmp_path) as server:
        assert ask("h2", server.port, "/sleep").status == 504
        assert ask("h2", server.port, "/sleep?0.1").status == 200
        assert "sleep: cancelled" in told(server.port)


@pytest.mark.parametrize(
    ("target", "source", "said", "hint"),
    [
        ("broken:app", "import nowhere_to_be_found\n", "No module named 'nowhere_to_be_found'", ""),
        ("broken:app", "def f(:\n", "SyntaxError", ""),
        ("broken:app", "app = 1 / 0\n", "ZeroDivisionError: division by zero", ""),
        ("broken:nothing", "def app(): ...\n", "there is no nothing in broken", "broken has app"),
        ("absent:app", "", "there is no module absent in ", "--app-dir"),
        ("broken:app", "app = 7\n", "int cannot be called", "scope, receive and send"),
        ("broken.py", "", "is no MODULE:ATTRIBUTE", "broken:app"),
        ("public", "", "is no MODULE:ATTRIBUTE", "--root public"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, target: str, source: str, said: str, hint: str) -> None:
    (tmp_path / "broken.py").write_text(source)
    done = velocity("serve", target, "--self-signed", "--listen", "127.0.0.1:0", cwd=tmp_path)
    stderr = done.stderr.decode()
    assert done.returncode == (2 if "MODULE" in said else 1)
    assert said in stderr
    assert hint in stderr
    assert "Serving" not in stderr
    assert "site-packages/velocity" not in stderr
    assert "src/velocity" not in stderr
    if "ZeroDivision" in said:
        assert f'File "{tmp_path}/broken.py", line 1' in stderr


def test_a_startup_that_fails(tmp_path: Path) -> None:
    done = velocity(
        "serve", "raw:startup_fails", "--app-dir", PROGRAMS, "--self-signed", "--listen", "127.0.0.1:0", cwd=tmp_path
    )
    assert done.returncode == 1
    assert "the startup of raw:startup_fails failed: no database" in done.stderr.decode()


def test_without_lifespan(tmp_path: Path) -> None:
    with serving(tmp_path, "raw:without_lifespan") as server:
        assert bytes(ask("h2", server.port, "/").body) == b"raw.py"
    arguments = ["raw:without_lifespan", "--app-dir", str(PROGRAMS), "--self-signed", "--lifespan", "on"]
    done = velocity("serve", *arguments, "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert done.returncode == 1
    assert "the startup of raw:without_lifespan failed: AssertionError" in done.stderr.decode()


def test_a_client_that_leaves_in_the_middle(server: Server) -> None:
    for _ in range(5):
        with Http1(server.port) as client:
            client.send("POST", "/length", [("content-length", "1000000")])
            client.socket.sendall(b"x" * 1000)
        with Http1(server.port) as client:
            client.send("GET", "/large")
            client.begin().read(100)
    assert ask("http/1.1", server.port, "/").status == 200


def test_requests_that_are_cut_off_are_no_requests(server: Server) -> None:
    with Http1(server.port) as client:
        client.socket.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: nonsense\r\n\r\n")
        with pytest.raises((http.client.HTTPException, ConnectionError, AssertionError)):
            assert client.receive().status == 200
