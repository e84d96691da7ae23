"""Whose fault it is: the client's, that says two things of one body; ours, without descriptors; or the upstream's."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.answer import Answer
from support.backend import Backend, Exchange
from support.clients import Protocol, ask
from support.engine import Engine, plan, route
from support.front import NEVER, proxy, serve
from support.http2 import Http2

if TYPE_CHECKING:
    from support.certificates import Pair

TEXT = {"kind": "respond", "status": 200, "content_type": "text/plain", "body": "here\n"}


def test_a_length_of_0_and_a_body_reach_nobody(pair: Pair) -> None:
    with Backend() as backend, serve(pair, {"/": proxy(backend.url)}) as engine, Http2(engine.port) as client:
        for method in ("POST", "GET"):
            stream = client.begin("/two", method, [("content-length", "0")])
            time.sleep(0.3)
            assert backend.of("/two") == [], "nobody knows yet that this is all of it"
            client.data(stream, b"more")
            while stream not in client.reset:
                assert client.pump()
        stream = client.begin("/one", "POST", [("content-length", "0")])
        client.data(stream, b"")
        client.finish([stream])
        assert client.answers[stream].status == 200
        assert [one.length for one in backend.of("/one")] == [0]
        assert backend.of("/two") == []


@pytest.mark.parametrize(("scheme", "status"), [("https", 200), ("http", 200), ("ftp", 400), ("gopher", 400)])
def test_schemes_that_are_not_of_the_web_reach_nobody(pair: Pair, scheme: str, status: int) -> None:
    with Backend() as backend, serve(pair, {"/": proxy(backend.url)}) as engine, Http2(engine.port) as client:
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = Answer(0)
        head = [(":method", "GET"), (":scheme", scheme), (":authority", "localhost"), (":path", "/it")]
        client.h2.send_headers(stream, head, end_stream=True)
        client._flush()
        client.finish([stream])
        assert client.answers[stream].status == status
        assert len(backend.of("/it")) == (status == 200)


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize("alpn", ["http/1.1", "h3", "velocity/1"])
def test_without_descriptors_nobody_else_is_to_blame(pair: Pair, alpn: str) -> None:
    scheme = {"http/1.1": "https", "h3": "h3", "velocity/1": "velocity"}[alpn]
    listeners = [{"address": "127.0.0.1:0", "alpn": [alpn]}]
    health = {"path": "/", "interval_ms": 50, "timeout_ms": 1000, "rise": 1, "fall": 1, "status": None}
    with Engine(plan(pair, [route(TEXT)], listeners=listeners)) as behind:
        url = f"{scheme}://localhost:{behind.port}"
        tls = {"ca_file": str(pair.cert)} if alpn == "velocity/1" else {"insecure": True}
        handlers = {"/": proxy(url, tls=tls, health=health), "/here": TEXT}
        with serve(pair, handlers) as engine, Http2(engine.port) as client:
            pid = engine.process.pid
            assert client.ask("/here").status == 200
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid), hard))
            assert [client.ask("/").status for _ in range(5)] == [503] * 5
            engine.line_with("kind=resources", "LimitNOFILE")
            time.sleep(0.5)
            counters = engine.counters()
            assert (counters[f"upstream_failures:{url}"], counters[f"upstream_ejections:{url}"]) == (0, 0)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert client.ask("/").status == 200
            assert "upstream_unhealthy" not in engine.end()


def test_an_answer_that_is_read_first_breaks_off_once(pair: Pair) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.head("content-length: 10")
        await exchange.send(b"hello")
        exchange.reset()

    handler = {"streaming": False, "retries": {"attempts": 0}, "ejection": NEVER}
    with Backend({"/half": half}) as backend, serve(pair, {"/": proxy(backend.url, **handler)}) as engine:
        for _ in range(3):
            assert ask("http/1.1", engine.port, "/half").status == 502
        assert engine.counters()[f"upstream_failures:{backend.url}"] == 3


@pytest.mark.parametrize("protocol", ["http/1.1", "h3"])
def test_an_upstream_over_quic_that_falls_silent_is_found_out(pair: Pair, protocol: Protocol) -> None:
    """No ICMP says that it is gone: its port is there, and whoever had it does not read."""
    listeners = [{"address": "127.0.0.1:0", "alpn": ["h3"]}]
    with (
        Engine(plan(pair, [route(TEXT)], listeners=listeners)) as one,
        Engine(plan(pair, [route(TEXT)], listeners=listeners)) as two,
    ):
        urls = [f"h3://localhost:{engine.port}" for engine in (one, two)]
        with serve(pair, {"/": proxy(*urls, tls={"insecure": True}, retries={"attempts": 1})}) as front:
            for _ in range(4):
                assert ask(protocol, front.port, "/").status == 200
            os.kill(one.process.pid, signal.SIGSTOP)
            try:
                begun = time.monotonic()
                for _ in range(4):
                    assert ask(protocol, front.port, "/").body == b"here\n"
                assert time.monotonic() - begun < 17
            finally:
                os.kill(one.process.pid, signal.SIGCONT)
