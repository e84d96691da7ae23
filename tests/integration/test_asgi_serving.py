"""How applications are named and run: factories, files beside them, WSGI, configuration files, and the way down."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from support.application import PLACES, PROGRAMS, facts, serving
from support.clients import PROTOCOLS, Protocol, ask
from support.configured import BASE
from support.configured import serving as configured
from support.front import send
from support.http1 import Http1
from support.server import Server, velocity

if TYPE_CHECKING:
    from pathlib import Path

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.mark.parametrize("place", PLACES)
def test_a_factory(tmp_path: Path, place: str) -> None:
    with serving(tmp_path, "raw:make", "--factory", *PLACES[place]) as server:
        assert bytes(ask("h2", server.port, "/").body) == b"hello"
        assert "Serving raw:make" in server.stderr


@every_protocol
def test_files_come_first(tmp_path: Path, protocol: Protocol) -> None:
    (tmp_path / "page.txt").write_text("a page")
    (tmp_path / "echo").write_text("a file")
    with serving(tmp_path, "raw:app", files=True) as server:
        for _ in range(3):  # from the disk, and from memory
            assert bytes(ask(protocol, server.port, "/page.txt").body) == b"a page"
        assert bytes(ask(protocol, server.port, "/").body) == b"hello"
        assert bytes(ask(protocol, server.port, "/echo").body) == b"a file"
        assert bytes(send(protocol, server.port, "/echo", b"abc").body) == b"abc", "files are for GET and HEAD"


def test_without_a_root_no_file_is_served(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("a page")
    with serving(tmp_path) as server:
        assert bytes(ask("h2", server.port, "/page.txt").body) == b"hello"


@pytest.mark.parametrize("place", PLACES)
def test_a_root_path(tmp_path: Path, place: str) -> None:
    with serving(tmp_path, "raw:app", "--root-path", "/api/", *PLACES[place]) as server:
        for path in ("/facts", "/api/facts"):
            known = facts(server.port, path=path)
            assert known["root_path"] == "/api"
            assert known["path"] == known["raw_path"] == "/api/facts"


@pytest.mark.parametrize("place", PLACES)
def test_variables_of_a_file(tmp_path: Path, place: str) -> None:
    (tmp_path / "settings").write_text("GREETING='good day' # said first\nHOME=/nowhere\n")
    (tmp_path / "reads.py").write_text(
        "import os\n"
        "GREETING = os.environ['GREETING'] + os.environ['HOME']\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': GREETING.encode()})\n"
    )
    flags: tuple[str | Path, ...] = ("--app-dir", tmp_path, "--env-file", "settings", *PLACES[place])
    with serving(tmp_path, "reads:app", *flags) as server:
        assert bytes(ask("h2", server.port, "/").body).decode() == "good day" + os.environ["HOME"]


@pytest.mark.parametrize("flags", [(), ("--interface", "wsgi"), ("--workers", "2")])
def test_wsgi(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with serving(tmp_path, "raw:wsgi", *flags) as server:
        for protocol in PROTOCOLS:
            assert bytes(send(protocol, server.port, "/a/b", b"body").body) == b"POST /a/bbody"
        large = b"x" * 1_000_000
        assert bytes(send("h2", server.port, "/", large).body).endswith(large)
        with Http1(server.port) as client:
            client.send("POST", "/", [("transfer-encoding", "chunked")])
            client.socket.sendall(b"3\r\nabc\r\n0\r\n\r\n")
            assert client.receive().body == b"POST /abc"
            client.send("POST", "/", [("transfer-encoding", "chunked")])
            with contextlib.suppress(OSError):
                for _ in range(17):
                    client.socket.sendall(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            assert client.receive().status == 411


def test_so_many_requests_and_no_more(tmp_path: Path) -> None:
    with serving(tmp_path, "raw:app", "--limit-max-requests", "3") as server:
        for _ in range(3):
            assert ask("h2", server.port, "/").status == 200
        assert server.wait() == 0
        assert "put away" in server.stderr


def test_in_configuration_files(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.txt").write_text("a page")
    (tmp_path / "serve.simple.yaml").write_text(
        BASE
        + f"""
content:
  sites: [{{root: site}}]
  routes:
    - {{path: /app, kind: python, app: 'raw:app', app_dir: {PROGRAMS}, root_path: true}}
    - {{path: /wsgi, app: 'raw:wsgi', app_dir: {PROGRAMS}}}
"""
    )
    with configured(tmp_path) as server:
        assert bytes(ask("h2", server.port, "/page.txt").body) == b"a page"
        assert bytes(ask("h2", server.port, "/app").body) == b"hello"
        assert bytes(ask("h3", server.port, "/wsgi/x").body) == b"GET /wsgi/x"
        assert ask("h2", server.port, "/other").status == 404
        text = (tmp_path / "serve.simple.yaml").read_text()
        (tmp_path / "serve.simple.yaml").write_text(text.replace("root: site", "root: site, listings: true"))
        server.said("reloaded")
        assert bytes(ask("h2", server.port, "/app").body) == b"hello", "the application stays"
        (tmp_path / "serve.simple.yaml").write_text(text.replace("raw:wsgi", "raw:make"))
        server.said("the application raw:make is not running")
        assert bytes(ask("h3", server.port, "/wsgi/x").body) == b"GET /wsgi/x"


def test_what_is_in_flight_is_finished(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        with Http1(server.port) as client:
            client.send("GET", "/sleep?1")
            time.sleep(0.3)
            server.terminate()
            assert client.receive().body == b"slept"
        assert server.wait() == 0
        assert "put away" in server.stderr


def test_not_for_ever(tmp_path: Path) -> None:
    with serving(tmp_path, "raw:app", "--timeout-graceful-shutdown", "0.5") as server, Http1(server.port) as client:
        client.send("GET", "/sleep?30")
        time.sleep(0.3)
        begin = time.monotonic()
        server.terminate()
        assert server.wait() == 0
        assert time.monotonic() - begin < 5
        assert "put away" in server.stderr, "what was cancelled is no reason not to be told"


@pytest.mark.parametrize("path", ["/sleep?30", "/block"])
def test_a_second_signal_ends_at_once(tmp_path: Path, path: str) -> None:
    with serving(tmp_path) as server, Http1(server.port) as client:
        client.send("GET", path)
        time.sleep(0.3)
        server.terminate()
        time.sleep(0.2)
        server.process.send_signal(signal.SIGINT)
        assert server.wait(5) == 128 + signal.SIGINT


def test_children_of_applications_can_be_told_to_stop(tmp_path: Path) -> None:
    """Signals that this process blocks for itself must not be blocked in what an application starts."""
    (tmp_path / "starts.py").write_text(
        "import subprocess, signal\n"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    child = subprocess.Popen(['sleep', '30'])\n"
        "    child.terminate()\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': str(child.wait(5)).encode()})\n"
    )
    with serving(tmp_path, "starts:app", "--app-dir", tmp_path) as server:
        assert bytes(ask("h2", server.port, "/").body) == b"-15"


@pytest.mark.parametrize("named", ["app", "'main:app'", "'main:app', workers=2"])
def test_from_a_program(tmp_path: Path, named: str) -> None:
    (tmp_path / "main.py").write_text(
        "import sys\n"
        "from velocity import asgi\n"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'by itself'})\n"
        "if __name__ == '__main__':\n"
        f"    sys.exit(asgi.serve({named}, listen='127.0.0.1:0', root_path='/x'))\n"
    )
    running = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    with running, running.stderr:
        found = next(filter(None, (re.search(r"https://localhost:(\d+)/", line) for line in running.stderr)))
        assert bytes(ask("h2", int(found[1]), "/").body) == b"by itself"
        running.terminate()
        assert running.wait(10) == 0


def test_code_that_changes(tmp_path: Path) -> None:
    def write(text: str) -> None:
        (tmp_path / "changes.py").write_text(
            "async def app(scope, receive, send):\n"
            "    assert scope['type'] == 'http'\n"
            "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
            f"    await send({{'type': 'http.response.body', 'body': {text}}})\n"
        )

    write("b'one'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with Server(tmp_path, "changes:app", "--reload", listen=address, files=False) as server:
        assert bytes(ask("h2", server.port, "/").body) == b"one"
        write("'a lapse")
        server.line_with("changes:app cannot be imported: SyntaxError", 20)
        server.line_with("the code that is running stays", 20)
        assert bytes(ask("h2", server.port, "/").body) == b"one"
        write("b'two'")
        server.line_with("have the new code", 20)
        assert bytes(ask("h2", server.port, "/").body) == b"two"
        server.terminate()
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--self-signed", "--factory"], "--factory is for an application, and there is none"),
        (["raw:app", "--self-signed", "--lifespan", "maybe"], "--lifespan: "),
        (["raw:app", "--self-signed", "--root-path", "api"], "--root-path: 'api' is no path"),
        (["raw:app", "--self-signed", "--limit-concurrency", "0"], "--limit-concurrency: "),
        (["raw:app", "--self-signed", "--env-file", "none"], "--env-file: there is no file"),
        (["raw:app", "--self-signed", "--proxy", "http://localhost:1"], "an application beside"),
        (["raw:app", "--self-signed", "--port", "1", "--listen", ":2"], "exclude each other"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = velocity(
        "serve", *arguments, cwd=tmp_path, env={"VELOCITY_APP_DIR": str(PROGRAMS)} if "raw:app" in arguments else {}
    )
    assert done.returncode == 2
    assert said in done.stderr.decode()
