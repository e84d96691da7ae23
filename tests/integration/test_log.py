"""The access log: one line a request, for people or for machines, that a peer cannot forge."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from support.clients import PROTOCOLS, Protocol, ask
from support.http1 import Http1, exchange
from support.server import Server

if TYPE_CHECKING:
    from support.site import Site


def record(line: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line)
    return parsed


@pytest.fixture
def json_server(fresh_site: Site) -> Any:
    with Server(fresh_site.root, "--log-format", "json") as running:
        yield running


def test_json_lines(json_server: Server) -> None:
    for protocol in PROTOCOLS:
        path = f"/hello.txt?over={protocol.replace('/', '-')}"
        ask(protocol, json_server.port, path)
        line = record(json_server.line_with(path))
        assert line["target"] == "velocity::server"
        assert line["level"].lower() == "info"
        assert line["method"] == "GET"
        assert line["status"] == 200
        assert line["event"] == "request"
        assert line["alpn"] == protocol
        assert line["group"] == "X25519MLKEM768" or protocol in ("h2", "http/1.1")
        assert line["bytes"] == 6
        assert line["client"].startswith("127.0.0.1")
        assert line["latency_ms"] >= 0
    for text in json_server.stderr.splitlines():
        if text.startswith("{"):
            json.loads(text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_text_lines(fresh_site: Site, protocol: Protocol) -> None:
    with Server(fresh_site.root, "--log-format", "text") as running:
        ask(protocol, running.port, "/nothing-here")
        line = running.line_with("/nothing-here")
    assert "velocity::server" in line
    assert "404" in line
    assert "GET" in line
    assert "\x1b" not in line, "NO_COLOR is set and stderr is no terminal"


def test_a_request_cannot_forge_a_line(json_server: Server) -> None:
    for path in ("/%0a%7b%22forged%22:1}", '/","status":299,"x":"', "/\x1b[31m"):
        with contextlib.suppress(OSError), Http1(json_server.port) as connection:
            connection.ask(path, fields=[("user-agent", '"}\t{"forged":2}'), ("referer", "\x9b31m")])
    ask("http/1.1", json_server.port, "/end-of-test")
    json_server.line_with("/end-of-test")
    for line in json_server.stderr.splitlines():
        if line.startswith("{"):
            assert "forged" not in json.loads(line)
            assert record(line).get("status") != 299
        assert "\x1b" not in line


def test_what_is_not_a_request_is_no_request_line(json_server: Server) -> None:
    exchange(json_server.port, b"\x00\x01\x02 nonsense\r\n\r\n")
    ask("http/1.1", json_server.port, "/end-of-test")
    json_server.line_with("/end-of-test")
    assert json_server.process.poll() is None


def test_verbosity(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--log-format", "json", "-vv") as loud, Server(fresh_site.root) as plain:
        for running in (loud, plain):
            ask("h3", running.port, "/hello.txt")
            running.line_with("/hello.txt")
        assert len(loud.stderr.splitlines()) > len(plain.stderr.splitlines())
