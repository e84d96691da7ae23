"""The example applications, each in the server's process and over every protocol."""

from __future__ import annotations

import json
import sqlite3
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from support.clients import PROTOCOLS, ask
from support.examples import EXAMPLES, serving
from support.front import http, send
from support.server import PYTHON, environment
from support.wss import dial

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.sync.client import ClientConnection

JSON = [("content-type", "application/json")]


def test_the_chat(tmp_path: Path) -> None:
    database = tmp_path / "kept.sqlite3"
    with serving(tmp_path, "fastapi_chat", "app:app", {"CHAT_DATABASE": str(database)}) as server:
        for protocol in PROTOCOLS:
            assert b"<title>Chat</title>" in ask(protocol, server.port, "/").body
            facts = json.loads(ask(protocol, server.port, "/protocol").body)
            assert facts["alpn"] == protocol
            body = json.dumps({"name": "Ada", "text": f"over {protocol}"}).encode()
            said = send(protocol, server.port, "/rooms/lobby/messages", body, fields=JSON)
            assert said.status == 201, said
        kept = json.loads(ask("h3", server.port, "/rooms/lobby/messages?limit=3").body)
        assert [one["text"] for one in kept] == ["over h3", "over h2", "over http/1.1"]
        assert ask("h3", server.port, "/rooms/lobby/messages?limit=0").status == 422
        assert send("h2", server.port, "/rooms/lobby/messages", b'{"name": ""}', fields=JSON).status == 422
        talk_over_websockets(server.port, ssl.create_default_context(cafile=str(server.certificate)))
        server.terminate()
        assert server.wait() == 0
        assert "app_failed" not in server.stderr
    rows = sqlite3.connect(database).execute("SELECT name, text FROM message WHERE room = 'tea'").fetchall()
    assert rows == [("Ada", "hello"), ("Grace", "good evening"), ("Ada", "by post")]


def talk_over_websockets(port: int, trust: ssl.SSLContext) -> None:
    def enter(name: str, **options: Any) -> ClientConnection:
        return dial(port, f"/rooms/tea/live?name={name}", trust, **options)

    with enter("Ada") as ada, enter("Grace") as grace:
        ada.send("hello")
        expected = {"id": 5, "name": "Ada", "text": "hello"}
        assert json.loads(ada.recv(5)) == json.loads(grace.recv(5)) == expected
        grace.send("good evening")
        assert json.loads(ada.recv(5))["name"] == json.loads(grace.recv(5))["name"] == "Grace"
        send("h3", port, "/rooms/tea/messages", b'{"name": "Ada", "text": "by post"}', fields=JSON)
        assert json.loads(ada.recv(5))["text"] == json.loads(grace.recv(5))["text"] == "by post"
        ada.send("")
        with pytest.raises(ConnectionClosed):
            ada.recv(5)
        assert ada.close_code == 1008
    evil = Origin("https://evil.example")
    with pytest.raises(InvalidStatus) as refused, enter("Eve", origin=evil):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_the_guestbook(tmp_path: Path, interface: str) -> None:
    variables = {"GUESTBOOK_DATABASE": str(tmp_path / "book.sqlite3"), "GUESTBOOK_SECRET": "for tests"}
    manage = [PYTHON, EXAMPLES / "django_guestbook" / "manage.py"]
    for command in (["makemigrations", "--check"], ["migrate"]):
        done = subprocess.run([*manage, *command], env=environment(variables), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with serving(tmp_path, "django_guestbook", f"guestbook.{interface}:application", variables) as server:
        for protocol in ("h2", "http/1.1"):
            with http(server.port, protocol) as client:
                form = client.get("/")
                assert form.status_code == 200, server.stderr
                fields = {"name": "Ada", "text": f"<b>over {protocol}</b>"}
                assert client.post("/", data=fields).status_code == 403, "without its token"
                fields["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
                referer = {"referer": str(client.base_url)}
                assert client.post("/", data=fields, headers=referer).status_code == 302
                page = client.get("/").text
                assert f"&lt;b&gt;over {protocol}&lt;/b&gt;" in page
                assert 'value="Ada"' in page, "the session remembers the name"
        for protocol in PROTOCOLS:
            known = json.loads(ask(protocol, server.port, "/entries.json").body)
            assert known["secure"] is True
            assert [entry["text"] for entry in known["entries"]] == ["<b>over http/1.1</b>", "<b>over h2</b>"]
            exported = bytes(ask(protocol, server.port, "/export.txt").body).decode()
            assert exported == "Ada: <b>over h2</b>\nAda: <b>over http/1.1</b>\n"
        server.terminate()
        assert server.wait() == 0
        assert "app_failed" not in server.stderr


def test_the_shop(tmp_path: Path) -> None:
    with serving(tmp_path, "edge_api", "app:app") as server:
        for number, protocol in enumerate(PROTOCOLS, 1):
            body = json.dumps({"name": f"Tea over {protocol}", "price": 2, "tags": ["hot"]}).encode()
            made = send(protocol, server.port, "/api/items", body, fields=JSON)
            assert (made.status, json.loads(made.body)) == (201, {"id": number})
            assert json.loads(ask(protocol, server.port, f"/api/items/{number}").body)["price"] == 2.0
            assert ask(protocol, server.port, "/api/items/999").status == 404
            assert json.loads(ask(protocol, server.port, "/hello/Ada").body) == {"message": "Hello, Ada!"}
            assert ask(protocol, server.port, "/static/shop.css")["content-type"].startswith("text/css")
        server.terminate()
        assert server.wait() == 0
