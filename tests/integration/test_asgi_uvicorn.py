"""What a uvicorn user types works: names of its flags, and what they are for."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from support import wss
from support.application import PLACES, PROGRAMS, facts, serving
from support.clients import PROTOCOLS, ask
from support.engine import make
from support.http1 import Http1, connect
from support.oidc import free_port
from support.server import Server, velocity

if TYPE_CHECKING:
    from pathlib import Path

    from support.certificates import Pair

SIMPLE = """
import logging
async def app(scope, receive, send):
    logging.getLogger('shop').warning('a visitor')
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x-own', b'app')]})
    await send({'type': 'http.response.body', 'body': %s})
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make(tmp_path_factory.mktemp("certificate"))


def test_a_whole_command_line(tmp_path: Path, pair: Pair) -> None:
    """As somebody has it in a unit file."""
    port = free_port()
    command = (
        f"raw:app --app-dir {PROGRAMS} --host 127.0.0.1 --port {port} --workers 2 --loop asyncio --http httptools"
        " --ws websockets --lifespan on --interface asgi3 --log-level info --access-log --use-colors --proxy-headers"
        " --forwarded-allow-ips 127.0.0.1 --no-server-header --date-header --root-path /api --limit-concurrency 100"
        " --backlog 512 --limit-max-requests 10000 --timeout-keep-alive 30 --timeout-graceful-shutdown 5"
        f" --ssl-keyfile {pair.key} --ssl-certfile {pair.cert} --header x-shop:velocity --header x-own:server"
        " --ws-max-size 65536 --ws-ping-interval 5 --ws-ping-timeout 5 --ws-per-message-deflate false"
    )
    # The certificate is named in uvicorn's words, of which the helper knows nothing.
    env = {"VELOCITY_CERT": str(pair.cert), "VELOCITY_KEY": str(pair.key)}
    with Server(tmp_path, *command.split(), env=env, listen=None, files=False) as server:
        answer = ask("h2", server.port, "/facts", fields=[("x-forwarded-for", "203.0.113.7")])
        known = json.loads(answer.body)
        assert known["client"][0] == "203.0.113.7"
        assert known["root_path"] == "/api"
        assert dict(answer.fields)["x-shop"] == "velocity"
        for name in ("--http", "--ws", "--backlog", "--ws-ping-timeout"):
            assert f"{name} says nothing here: " in server.stderr
        server.terminate()
        assert server.wait() == 0


@pytest.mark.parametrize("place", PLACES)
def test_header_fields_where_there_is_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "simple.py").write_text(SIMPLE % "b'ok'")
    flags = ("--header", "X-Own: server", "--header", "X-Shop:velocity", *PLACES[place])
    with Server(tmp_path, "simple:app", *flags, files=False) as server:
        fields = dict(ask("h2", server.port, "/").fields)
        assert (fields["x-own"], fields["x-shop"]) == ("app", "velocity")


def test_who_answers(tmp_path: Path) -> None:
    (tmp_path / "simple.py").write_text(SIMPLE % "b'ok'")
    hidden, named = ("--no-server-header",), ("--header", "server:shop")
    for flags, server_field in (((), "velocity"), (hidden, None), (named, "shop"), ((*hidden, *named), "shop")):
        with Server(tmp_path, "simple:app", *flags, files=False) as server:
            for protocol in PROTOCOLS:
                fields = dict(ask(protocol, server.port, "/").fields)
                assert fields.get("server") == server_field
                assert "date" in fields


def test_who_is_believed(tmp_path: Path) -> None:
    said = [("x-forwarded-for", "203.0.113.7")]
    for flags, client in (((), "127.0.0.1"), (("--trusted-proxies", "10.0.0.0/8"), "127.0.0.1")):
        with serving(tmp_path, "raw:app", *flags) as server:
            assert json.loads(ask("h2", server.port, "/facts", fields=said).body)["client"][0] == client
    with serving(tmp_path, "raw:app", "--forwarded-allow-ips", "*") as server:
        assert json.loads(ask("h2", server.port, "/facts", fields=said).body)["client"][0] == "203.0.113.7"
        assert facts(server.port)["client"][0] == "127.0.0.1"


def test_connections_that_are_idle(tmp_path: Path) -> None:
    with serving(tmp_path, "raw:app", "--timeout-keep-alive", "1") as server, Http1(server.port) as client:
        client.send("GET", "/")
        assert client.receive().body == b"hello"
        before = time.monotonic()
        client.socket.settimeout(10)
        assert client.socket.recv(1) == b""
        assert 0.5 < time.monotonic() - before < 5


@pytest.mark.parametrize("place", PLACES)
def test_messages_that_are_too_large(tmp_path: Path, place: str) -> None:
    flags = ("--ws-max-size", "1000", *PLACES[place])
    with serving(tmp_path, "raw:app", *flags) as server, wss.dial(server.port, "/echo") as client:
        client.send(b"x" * 1000)
        assert client.recv(timeout=10) == b"x" * 1000
        client.send(b"x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def silent(port: int, seconds: float) -> bytes:
    """What a client hears in so many seconds in a WebSocket in which it says nothing, or until it is closed."""
    said = bytearray()
    with connect(port) as client, contextlib.suppress(TimeoutError):
        client.sendall(
            b"GET /echo HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        client.settimeout(seconds)
        while data := client.recv(1000):
            said += data
        said += b"closed"
    return bytes(said).split(b"\r\n\r\n")[-1]


def test_clients_that_are_silent(tmp_path: Path) -> None:
    with serving(tmp_path, "raw:app", "--ws-ping-interval", "0.3") as server:
        with wss.dial(server.port, "/echo") as client:
            time.sleep(1.5)  # it answers pings, and so it is there
            client.send("still here")
            assert client.recv(timeout=10) == "still here"
        assert silent(server.port, 10) == b"\x89\x00closed"
    with serving(tmp_path, "raw:app", "--ws-ping-interval", "0") as server:
        assert silent(server.port, 1) == b""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["json", "yaml", "ini"])
def test_logging_as_a_file_says(tmp_path: Path, form: str, place: str) -> None:
    (tmp_path / "simple.py").write_text(SIMPLE % "b'ok'")
    config = {
        "version": 1,
        "formatters": {"plain": {"format": "SHOP %(levelname)s %(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"level": "INFO", "handlers": ["out"]},
    }
    file = tmp_path / f"log.{form}"
    file.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=out\n[formatters]\nkeys=plain\n[logger_root]\nlevel=INFO\nhandlers=out\n"
        "[handler_out]\nclass=StreamHandler\nformatter=plain\nargs=()\n"
        "[formatter_plain]\nformat=SHOP %(levelname)s %(message)s\n"
        if form == "ini"
        else json.dumps(config)
    )
    with Server(tmp_path, "simple:app", "--log-config", file, *PLACES[place], files=False) as server:
        ask("h2", server.port, "/")
        server.line_with("SHOP WARNING a visitor", 10)


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "version"), ("{version: 1, root: {handlers: [none]}}", "root"), ("[", "expected"), (None, "No such file")],
)
def test_logging_that_cannot_be(tmp_path: Path, content: str | None, said: str) -> None:
    (tmp_path / "simple.py").write_text(SIMPLE % "b'ok'")
    if content is not None:
        (tmp_path / "log.yaml").write_text(content)
    done = velocity("serve", "simple:app", "--self-signed", "--log-config", "log.yaml", cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("error: --log-config: ")
    assert said in lines[0]
    assert lines[1].startswith("hint: ")


@pytest.mark.parametrize(
    ("level", "requests"), [("critical", False), ("warning", False), ("info", True), ("debug", True), ("TRACE", True)]
)
def test_levels(tmp_path: Path, level: str, requests: bool) -> None:
    with serving(tmp_path, "raw:app", "--log-level", level) as server:
        ask("h2", server.port, "/")
        server.terminate()
        assert server.wait() == 0
        assert ('"event":"request"' in server.stderr) == requests


def test_what_is_watched(tmp_path: Path) -> None:
    """Folders, other files than Python's, and files that do not count."""
    app, templates = tmp_path / "app", tmp_path / "templates"
    for folder in (app, templates, app / "made"):
        folder.mkdir()
    (templates / "page.html").write_text("one")
    text = f"__import__('pathlib').Path({str(templates / 'page.html')!r}).read_bytes()"
    (app / "simple.py").write_text(f"TEXT = {text}\n" + SIMPLE % "TEXT")
    port = free_port()
    folders = ("--app-dir", app, "--reload-dir", app, "--reload-dir", templates)
    patterns = ("--reload-include", "*.html", "--reload-exclude", "made", "--reload-exclude", "*_generated.py")
    with Server(
        tmp_path, "simple:app", "--reload", *folders, *patterns, listen=f"127.0.0.1:{port}", files=False
    ) as server:
        assert bytes(ask("h2", port, "/").body) == b"one"
        (app / "a_generated.py").write_text("1")
        (app / "made" / "b.py").write_text("1")
        (templates / "notes.txt").write_text("1")
        time.sleep(1)
        assert "have the new code" not in server.stderr
        (templates / "page.html").write_text("two")
        server.line_with("have the new code", 20)
        assert bytes(ask("h2", port, "/").body) == b"two"


def test_asgi_2(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(
        "class app:\n"
        "    def __init__(self, scope):\n"
        "        self.scope = scope\n"
        "    async def __call__(self, receive, send):\n"
        "        assert self.scope['type'] == 'http'\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        await send({'type': 'http.response.body', 'body': self.scope['path'].encode()})\n"
    )
    with Server(tmp_path, "old:app", "--interface", "asgi2", files=False) as server:
        assert bytes(ask("h2", server.port, "/old").body) == b"/old"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--uds /run/app.sock", "--uds is uvicorn's: "),
        ("--ssl-ciphers TLSv1", "--ssl-ciphers is uvicorn's: "),
        ("--ssl-keyfile-password secret", "--ssl-keyfile-password is uvicorn's: "),
        ("--header nothing", "--header: 'nothing' is no header field"),
        ("--header x:a\tb\x01", "--header: "),
        ("--loop trio", "--loop: "),
        ("--ws-max-size 0", "--ws-max-size: "),
        ("--ws-max-size much", "--ws-max-size: 'much' is no size"),
        ("--ws-ping-interval -1", "'--ws-ping-interval'"),
        ("--timeout-keep-alive soon", "--idle-timeout: 'soons' is no duration"),
        ("--idle-timeout 0s", "--idle-timeout: 0 is no time"),
        ("--trusted-proxies here", "--trusted-proxies: 'here' is no network"),
        ("--reload-dir .", "--reload-dir needs --reload"),
        ("--reload --reload-dir nowhere", "--reload-dir: nowhere is not a folder"),
        ("--log-level loud", "--log-level: unknown level 'loud'"),
        ("--log-level info -v", "--log-level and -v exclude each other"),
        ("--ssl-cert-reqs 9", "--ssl-cert-reqs: unknown mode '9'"),
    ],
)
def test_what_cannot_be(tmp_path: Path, arguments: str, said: str) -> None:
    done = velocity("serve", "simple:app", "--self-signed", *arguments.split(" "), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") <= 2


def test_beside_a_configuration_file(tmp_path: Path) -> None:
    """Where to listen and how to end hold; what is an application's is said in its route."""
    file = tmp_path / "serve.simple.yaml"
    file.write_text("server: {tls: {self_signed: true}}\ncontent: {sites: [{root: .}]}\n")
    port = free_port()
    flags = ("--config", file, "--host", "127.0.0.1", "--port", str(port), "--timeout-graceful-shutdown", "1")
    with Server(tmp_path, *flags, listen=None, files=False) as server:
        assert server.port == port
        assert ask("h2", port, "/none").status == 404
    done = velocity("serve", "--config", file, "--header", "a:b", cwd=tmp_path)
    assert done.returncode == 2
    assert b"--header is for an application that the command line names" in done.stderr
