"""Several upstreams, and upstreams of every kind: who gets a request, who is left alone, and how they are spoken to."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import backend as backends
from support import certificates, http3
from support.authority import Authority
from support.backend import Backend, Exchange, named
from support.clients import PROTOCOLS, Protocol, ask, hinted
from support.engine import Engine, plan, route
from support.front import NEVER, closed_port, proxy, send, serve
from support.h2c import H2c
from support.http1 import Http1
from support.http2 import Http2
from support.server import Server, velocity
from support.site import noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.answer import Answer
    from support.certificates import Pair
    from support.site import Site

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def three() -> Iterator[list[Backend]]:
    with Backend() as one, Backend() as two, Backend() as other:
        for backend, name in zip((one, two, other), "abc", strict=True):
            backend.default = named(name)
        yield [one, two, other]


def answers(port: int, count: int, path: str = "/", fields: tuple[tuple[str, str], ...] = ()) -> Counter[str]:
    """Who has answered how often."""
    with Http2(port) as two:
        got = [two.ask(path, fields=fields) for _ in range(count)]
    return Counter(answer.body.decode() if answer.status == 200 else str(answer.status) for answer in got)


def test_weights(pair: Pair, three: list[Backend]) -> None:
    one, two, other = (backend.url for backend in three)
    with serve(pair, {"/": proxy({"url": one, "weight": 3}, two, {"url": other, "weight": 4})}) as engine:
        assert answers(engine.port, 40) == {"a": 15, "b": 5, "c": 20}


@pytest.mark.parametrize("by", ["least_connections", "two_choices"])
def test_the_busy_ones_get_less(pair: Pair, three: list[Backend], by: str) -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.wait_gone(30)

    three[0].scripts["/slow"] = slow
    for backend in three[1:]:
        backend.scripts["/slow"] = slow
    with serve(pair, {"/": proxy(*(one.url for one in three), balance={"by": by})}) as engine:
        assert set(answers(engine.port, 60)) == {"a", "b", "c"}
        with Http2(engine.port) as two:
            for _ in range(30):
                two.send("/slow")
            deadline = time.monotonic() + 5
            while sum(len(one.of("/slow")) for one in three) < 30:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert min(len(one.of("/slow")) for one in three) >= 5


def test_the_same_key_has_the_same_server(pair: Pair, three: list[Backend]) -> None:
    urls = [one.url for one in three]
    handlers = {
        "/header": proxy(*urls, balance={"by": "header_hash", "name": "x-user"}),
        "/cookie": proxy(*urls, balance={"by": "cookie_hash", "name": "id"}),
        "/path": proxy(*urls, balance={"by": "path_hash"}),
        "/client": proxy(*urls, balance={"by": "client_hash"}),
    }
    with serve(pair, handlers) as engine:
        of = {}
        for user in map(str, range(20)):
            got = answers(engine.port, 3, "/header", (("x-user", user),))
            assert len(got) == 1
            of[user] = next(iter(got))
            assert len(answers(engine.port, 3, "/cookie", (("cookie", f"a=b; id={user}"),))) == 1
        assert set(of.values()) == {"a", "b", "c"}
        assert len({next(iter(answers(engine.port, 2, f"/path/{n}"))) for n in range(20)}) == 3
        assert len(answers(engine.port, 10, "/client")) == 1
        # One leaves: only those who were with it go elsewhere.
        three[0].stop()
        for user, before in of.items():
            got = answers(engine.port, 1, "/header", (("x-user", user),))
            assert before == "a" or got == {before: 1}


def test_backups_wait(pair: Pair, three: list[Backend]) -> None:
    one, two, other = (backend.url for backend in three)
    with serve(pair, {"/": proxy(one, two, {"url": other, "backup": True}, retries={"attempts": 2})}) as engine:
        assert answers(engine.port, 10) == {"a": 5, "b": 5}
        three[0].stop()
        three[1].stop()
        assert answers(engine.port, 10) == {"c": 10}


def test_nobody_notices_that_one_of_three_is_killed(pair: Pair) -> None:
    """Clients of every protocol, two of each, which keep their connections."""
    command = [sys.executable, str(Path(backends.__file__))]
    processes = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "abc"
    ]
    seen: list[tuple[float, str, int, bytes]] = []
    end = threading.Event()

    def note(protocol: str, answer: Answer) -> None:
        seen.append((time.monotonic(), protocol, answer.status, bytes(answer.body)))

    def over_h1(port: int) -> None:
        with Http1(port) as one:
            while not end.is_set():
                note("http/1.1", one.ask("/"))

    def over_h2(port: int) -> None:
        with Http2(port) as two:
            while not end.is_set():
                streams = [two.send("/") for _ in range(5)]
                two.finish(streams)
                for stream in streams:
                    note("h2", two.answers[stream])

    async def over_h3(port: int) -> None:
        async with http3.Http3.open(port) as three:
            while not end.is_set():
                streams = [three.send("/") for _ in range(5)]
                await three.finish(*streams)
                for stream in streams:
                    note("h3", three.answers[stream])

    def over_quic(port: int) -> None:
        http3.run(over_h3(port))

    try:
        ports = [int(one.stdout.readline()) for one in processes if one.stdout is not None]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        with (
            serve(pair, {"/": proxy(*urls, retries={"attempts": 2})}) as engine,
            ThreadPoolExecutor(6) as pool,
        ):
            loads = [pool.submit(load, engine.port) for load in (over_h1, over_h2, over_quic) * 2]
            time.sleep(0.7)
            processes[1].kill()
            killed = time.monotonic()
            time.sleep(0.7)
            end.set()
            for load in loads:
                load.result(20)
            assert {status for _, _, status, _ in seen} == {200}
            for protocol in ("http/1.1", "h2", "h3"):
                before = {body for when, by, _, body in seen if by == protocol and when < killed - 0.1}
                behind = {body for when, by, _, body in seen if by == protocol and when > killed + 0.3}
                assert (before, behind) == ({b"a", b"b", b"c"}, {b"a", b"c"}), protocol
            engine.line_with("upstream_ejected", urls[1])
    finally:
        end.set()
        for process in processes:
            process.kill()
            process.communicate()


def test_health_checks(pair: Pair, three: list[Backend]) -> None:
    one, two = three[:2]
    status = 200

    async def health(exchange: Exchange) -> None:
        await exchange.answer(b"", status)

    two.scripts["/healthz"] = health
    checks = {"path": "/healthz", "interval_ms": 60, "timeout_ms": 1000, "rise": 2, "fall": 2}
    with serve(pair, {"/": proxy(one.url, two.url, health=checks)}) as engine:
        assert answers(engine.port, 10) == {"a": 5, "b": 5}
        two.wait_for("/healthz", 2)
        assert two.of("/healthz")[0].get("user-agent") == "velocity-health"
        status = 503
        engine.line_with("upstream_unhealthy", two.url)
        assert answers(engine.port, 10) == {"a": 10}
        status = 200
        engine.line_with("upstream_healthy", two.url)
        assert answers(engine.port, 10) == {"a": 5, "b": 5}
        two.stop()
        engine.line_with("upstream_unhealthy", two.url)
        assert one.of("/healthz")


def test_who_fails_is_left_alone_for_a_while(pair: Pair, three: list[Backend]) -> None:
    one, two = three[:2]
    well = False

    async def moody(exchange: Exchange) -> None:
        if well:
            await exchange.answer(b"b")
        else:
            exchange.reset()

    two.default = moody
    with serve(pair, {"/": proxy(one.url, two.url, ejection={"failures": 3, "for_ms": 600})}) as engine:
        with Http2(engine.port) as client:
            got = Counter(client.ask("/", "POST").status for _ in range(40))
        assert got == {502: 3, 200: 37}, "no more than three in a row"
        engine.line_with("upstream_ejected", two.url, "failures=3", "for_ms=600")
        well = True
        deadline = time.monotonic() + 5
        while "b" not in answers(engine.port, 4):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert engine.counters()[f"upstream_ejections:{two.url}"] == 1


def test_statuses_that_count_as_failures(pair: Pair, three: list[Backend]) -> None:
    one, two = three[:2]

    async def busy(exchange: Exchange) -> None:
        await exchange.answer(b"busy", 503)

    two.default = busy
    retries = {"attempts": 1, "statuses": [503]}
    with serve(pair, {"/": proxy(one.url, two.url, retries=retries, ejection=NEVER)}) as engine:
        assert answers(engine.port, 20) == {"a": 20}
        with Http2(engine.port) as client:
            assert Counter(client.ask("/", "POST").status for _ in range(10)) == {200: 5, 503: 5}


def test_a_reload_keeps_connections_and_what_is_known(pair: Pair, three: list[Backend]) -> None:
    handler = proxy(three[0].url)
    first = plan(pair, [route(handler, "/")])
    with Engine(first) as engine:
        assert answers(engine.port, 3) == {"a": 3}
        assert engine.reload(plan(pair, [route({"kind": "respond", "body": "new"}, "/new"), route(handler, "/")])) == {}
        assert answers(engine.port, 3) == {"a": 3}
        assert three[0].connections == 1
        assert answers(engine.port, 1, "/new") == {"new": 1}


@pytest.fixture(scope="module")
def h2c() -> Iterator[H2c]:
    with H2c() as running:
        yield running


@pytest.fixture(scope="module")
def front(pair: Pair, h2c: H2c) -> Iterator[Engine]:
    handler = proxy(h2c.url, ejection=NEVER, timeouts={"response_ms": 700}, retries={"attempts": 1})
    with serve(pair, {"/": handler, "/host": {**handler, "preserve_host": True}}) as running:
        yield running


@every_protocol
def test_h2c(front: Engine, h2c: H2c, protocol: Protocol) -> None:
    h2c.requests.clear()
    body = noise(40_000)
    assert send(protocol, front.port, "/echo", body).body == body
    assert ask(protocol, front.port, "/any?a=b", fields=[("cookie", "a=1"), ("cookie", "b=2")]).body == b"hello"
    echoed, seen = h2c.requests
    assert (seen[":path"], seen[":method"], seen[":scheme"]) == ("/any?a=b", "GET", "http")
    assert seen[":authority"] == f"127.0.0.1:{h2c.port}"
    assert seen.get("host") in (None, seen[":authority"])
    assert (seen["cookie"], seen["x-forwarded-for"]) == ("a=1; b=2", "127.0.0.1")
    assert "transfer-encoding" not in echoed
    ask(protocol, front.port, "/host")
    assert h2c.requests[-1][":authority"].startswith("localhost")


def test_h2c_is_one_connection_for_many(front: Engine, h2c: H2c) -> None:
    before = h2c.connections
    with Http2(front.port) as two:
        streams = [two.send(f"/{n}") for n in range(80)]
        two.finish(streams)
        assert {bytes(two.answers[stream].body) for stream in streams} == {b"hello"}
    assert h2c.connections - before <= 1


def test_h2c_that_fails(front: Engine, h2c: H2c) -> None:
    assert ask("h2", front.port, "/silent").status == 504
    deadline = time.monotonic() + 5
    while "/silent" not in h2c.reset:
        assert time.monotonic() < deadline, "the stream stays open"
        time.sleep(0.02)
    assert ask("h2", front.port, "/refused").status == 502
    with pytest.raises(ConnectionError):
        ask("h2", front.port, "/half")
    for _ in range(5):
        assert ask("h2", front.port, "/goaway").body == b"bye"
        assert send("h2", front.port, "/echo", b"abc").body == b"abc"


@pytest.mark.parametrize("protocol", ["velocity/1", "h3", "http/1.1"])
def test_h2c_that_has_heard_enough(front: Engine, protocol: Protocol) -> None:
    assert send(protocol, front.port, "/enough", noise(3_000_000)).body == b"hello"


def test_h2c_that_has_heard_enough_of_http2(front: Engine) -> None:
    """The client is told so (RFC 9113 section 8.1)."""
    with Http2(front.port) as client:
        stream = client.begin("/enough", "POST")
        client.data(stream, noise(60_000), end=False)
        while stream not in client.reset:
            assert client.pump()
        assert stream in client.ended
        assert client.answers[stream].body == b"hello"


def test_early_hints_of_h2c(front: Engine) -> None:
    assert ask("http/1.1", front.port, "/hinted").body == b"hinted"
    for protocol in ("h3", "h2"):
        fields, body = hinted(protocol, front.port, "/hinted")
        assert [value for name, value in fields if name == "link"] == ["</a.css>; rel=preload", "</b.css>; rel=preload"]
        assert body == b"hinted"


def test_https_with_an_authority_of_its_own(pair: Pair, tmp_path: Path) -> None:
    own = certificates.make(tmp_path, "app.example")
    with Backend(tls=own.server_context("http/1.1")) as backend:
        of = {
            "/": proxy(backend.url, tls={"ca_file": str(own.cert)}, ejection=NEVER),
            "/system": proxy(backend.url, ejection=NEVER),
            "/other": proxy(
                backend.url, tls={"ca_file": str(own.cert), "server_name": "other.example"}, ejection=NEVER
            ),
            "/named": proxy(backend.url, tls={"ca_file": str(own.cert), "server_name": "app.example"}, ejection=NEVER),
            "/any": proxy(backend.url, tls={"insecure": True}, ejection=NEVER),
        }
        with serve(pair, of) as engine:
            for path, status in {"/": 200, "/system": 502, "/other": 502, "/named": 200, "/any": 200}.items():
                assert send("h2", engine.port, path, b"abc").status == status, path
            line = engine.line_with("upstream_failed", "routes[/system]")
            assert "kind=tls" in line
            assert "tls.ca_file" in line
            assert "kind=tls" in engine.line_with("upstream_failed", "routes[/other]")
        assert {one.get("host") for one in backend.requests} == {f"127.0.0.1:{backend.port}"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("scheme", ["https", "h3", "velocity"])
def test_velocity_behind_velocity(pair: Pair, authority: Authority, scheme: str) -> None:
    issued = authority.issue("localhost")
    said = {"kind": "json", "body": {"for": "{{ request.headers.x_forwarded_for }}", "method": "{{ request.method }}"}}
    own = certificates.Pair(issued.cert, issued.key)
    hints = {"kind": "early_hints", "links": ["</style.css>; rel=preload"]}
    with Engine(plan(own, [route(said, "/hinted", filters=[0]), route(said)], filters=[hints])) as behind:
        url = f"{scheme}://localhost:{behind.port}"
        handlers = {
            "/": proxy(url, tls={"ca_file": str(authority.root)}, ejection=NEVER),
            "/system": proxy(url, ejection=NEVER),
        }
        with serve(pair, handlers) as engine:
            for protocol in PROTOCOLS:
                answer = ask(protocol, engine.port, "/")
                assert (answer.status, answer.body) == (200, b'{"for":"127.0.0.1","method":"GET"}\n'), answer
            assert send("h2", engine.port, "/", noise(300_000)).body == b'{"for":"127.0.0.1","method":"POST"}\n'
            with Http2(engine.port) as two:
                streams = [two.send("/") for _ in range(50)]
                two.finish(streams)
            for via in ("h3", "h2"):
                told, body = hinted(via, engine.port, "/hinted")
                assert told == [(":status", "103"), ("link", "</style.css>; rel=preload")]
                assert body == b'{"for":"127.0.0.1","method":"GET"}\n'
            assert engine.counters()[f"upstream_connections:{url}"] <= 2
            assert ask("h2", engine.port, "/system").status == 502
            assert "kind=tls" in engine.line_with("upstream_failed", "routes[/system]")
        said_behind = behind.end()
        alpn = {"https": "h2", "h3": "h3", "velocity": "velocity/1"}[scheme]
        assert f"alpn={alpn}" in said_behind


def test_flags(fresh_site: Site) -> None:
    with Backend() as one, Backend() as two:
        one.default, two.default = named("one"), named("two")
        flags = ["--proxy", f"/api={one.url}", "--proxy", f"/api={two.url}", "--proxy", f"app.example/={two.url}"]
        with Server(fresh_site.root, *flags, "--proxy-preserve-host") as server:
            assert ask("h2", server.port, "/hello.txt").body == b"hello\n"
            assert answers(server.port, 4, "/api/x") == {"one": 2, "two": 2}
            assert one.requests[0].target == "/api/x"
            assert one.requests[0].get("host") == "localhost"
            with Http1(server.port) as client:
                client.socket.sendall(b"GET /hello.txt HTTP/1.1\r\nhost: app.example\r\n\r\n")
                assert client.receive().body == b"two"


def test_variables(fresh_site: Site) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.wait_gone()

    with Backend({"/api/silent": silent}) as backend:
        env = {
            "VELOCITY_PROXY": f"/api={backend.url}",
            "VELOCITY_PROXY_RESPONSE_TIMEOUT": "300ms",
            "VELOCITY_PROXY_PRESERVE_HOST": "true",
        }
        with Server(fresh_site.root, env=env) as server:
            began = time.monotonic()
            assert ask("h2", server.port, "/api/silent").status == 504
            assert time.monotonic() - began < 3
            assert backend.requests[0].get("host") == "localhost"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--proxy", "ftp://a"], ["ftp://a"]),
        (["--proxy", "/api"], ["/api"]),
        (["--proxy", "http://a:99999"], ["99999"]),
        (["--proxy", "http://user@a"], ["user@a"]),
        (["--proxy", "http://a/path"], ["a/path"]),
        (["--proxy", "="], ["--proxy"]),
        (["--proxy", "http://a", "--proxy-response-timeout", "soon"], ["--proxy-response-timeout", "soon"]),
        (["--proxy", "http://a", "--proxy-connect-timeout", "0"], ["--proxy-connect-timeout"]),
        (["--proxy", "http://a", "--proxy-idle-timeout=-1s"], ["--proxy-idle-timeout", "-1s"]),
        (["--proxy-preserve-host"], ["--proxy URL"]),
    ],
)
def test_flags_that_are_wrong(tmp_path: Path, flags: list[str], words: list[str]) -> None:
    done = velocity("serve", "--self-signed", "--root", tmp_path, *flags, "--listen", "127.0.0.1:0", timeout=20)
    said = done.stderr.decode()
    assert done.returncode in (2, 78), said
    errors = [line for line in said.splitlines() if line.lower().startswith("error")]
    assert len(errors) == 1, said
    assert any(line.strip().lower().startswith("hint:") for line in said.splitlines()), said
    for word in words:
        assert word in said


def test_nobody_behind_is_no_reason_not_to_start(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--proxy", f"/api=http://127.0.0.1:{closed_port()}") as server:
        assert ask("h2", server.port, "/api").status == 502
        assert "is it running" in server.line_with("upstream_failed")
        assert ask("h2", server.port, "/hello.txt").status == 200
