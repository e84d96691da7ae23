"""Answers of upstreams that are kept for those who ask next (RFC 9111, RFC 5861, RFC 9211), over every protocol."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gzip
import itertools
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.backend import Backend, Exchange, Script
from support.clients import PROTOCOLS, Protocol, ask
from support.engine import Engine, plan, route
from support.front import NEVER, proxy, send
from support.http1 import Http1
from support.http2 import Http2
from support.site import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.answer import Answer
    from support.certificates import Pair

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)

Fields = tuple[tuple[str, str], ...]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


def cached(pair: Pair, backend: Backend, cache: dict[str, Any] | None = None, **more: Any) -> str:
    """A Plan with one proxy that has a cache."""
    filters = more.pop("filters", [])
    own = route(
        proxy(
            backend.url, ejection=NEVER, cache={"purge_from": ["127.0.0.1"], **(cache or {})}, **more.pop("proxy", {})
        ),
        filters=list(range(len(filters))),
    )
    return plan(pair, [own], filters=filters, **more)


@pytest.fixture
def engine(pair: Pair, backend: Backend) -> Iterator[Engine]:
    with Engine(cached(pair, backend)) as engine:
        yield engine


def counting(*fields: tuple[str, str], status: int = 200, length: int = 0) -> Script:
    """An answer that says how many have been given."""
    numbers = itertools.count(1)

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(f"{next(numbers)}".encode().ljust(length, b"."), status, fields)

    return answer


def validating(etag: str, *fields: tuple[str, str]) -> Script:
    """The same with an entity tag, and 304 where the client has it."""
    numbers = itertools.count(1)

    async def answer(exchange: Exchange) -> None:
        number = str(next(numbers))
        said = (("etag", etag), ("x-number", number), *fields)
        if exchange.get("if-none-match") == etag:
            await exchange.head(*(f"{name}: {value}" for name, value in said), status=304)
        else:
            await exchange.answer(number.encode(), fields=said)

    return answer


def get(engine: Engine, path: str, *fields: tuple[str, str], method: str = "GET") -> Answer:
    return ask("h2", engine.port, path, method, fields)


def bodies(engine: Engine, path: str, *fields: tuple[str, str], count: int = 3) -> list[bytes]:
    """What several requests get, one after the other."""
    return [bytes(get(engine, path, *fields).body) for _ in range(count)]


FRESH = ("cache-control", "max-age=60")


# --- what is stored ---


def test_what_is_fresh_is_not_asked_for_again(engine: Engine, backend: Backend) -> None:
    """One answer for all protocols (RFC 9111 section 4)."""
    backend.scripts["/a"] = counting(FRESH, ("content-type", "text/plain"), ("x-kept", "yes"))
    for protocol in PROTOCOLS:
        answer = ask(protocol, engine.port, "/a")
        assert (answer.status, answer["x-kept"], answer["content-type"]) == (200, "yes", "text/plain")
        assert answer["content-length"] == "1"
    # Our own client names the port in :authority, the others do not: two targets.
    assert [one.get("x-forwarded-host") for one in backend.of("/a")] == [f"localhost:{engine.port}", "localhost"]


@every_protocol
def test_cache_status(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    """RFC 9211."""
    backend.scripts["/a"] = counting(FRESH)
    first, second = (ask(protocol, engine.port, "/a") for _ in range(2))
    assert first["cache-status"] == "velocity; fwd=uri-miss; fwd-status=200; ttl=60; stored"
    assert second["cache-status"] in ("velocity; hit; ttl=60", "velocity; hit; ttl=59")
    assert (first.get("age"), second["age"] in ("0", "1")) == (None, True)
    assert first.body == second.body == b"1"


NEVER_STORED: dict[str, tuple[Fields, Fields]] = {
    "says-nothing": ((), ()),
    "no-store": ((("cache-control", "max-age=60, no-store"),), ()),
    "private": ((("cache-control", "max-age=60, private"),), ()),
    "cookie-set": ((FRESH, ("set-cookie", "a=b")), ()),
    "vary-star": ((FRESH, ("vary", "*")), ()),
    "known": ((FRESH,), (("authorization", "Basic eA=="),)),
    "silent": ((FRESH,), (("cache-control", "no-store"),)),
    "partial": ((FRESH, ("content-range", "bytes 0-0/9")), ()),
    "expired": ((("expires", "0"),), ()),
    "events": ((FRESH, ("content-type", "text/event-stream")), ()),
}


@pytest.mark.parametrize("name", NEVER_STORED)
def test_what_is_never_stored(engine: Engine, backend: Backend, name: str) -> None:
    """RFC 9111 sections 3, 3.5, 4.1, 5.2."""
    response, request = NEVER_STORED[name]
    backend.scripts["/a"] = counting(*response)
    assert bodies(engine, "/a", *request) == [b"1", b"2", b"3"]
    assert "stored" not in get(engine, "/a", *request)["cache-status"]


ALWAYS_STORED: dict[str, tuple[Fields, Fields]] = {
    "expires": ((("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),), ()),
    "known-public": ((("cache-control", "max-age=60, public"),), (("authorization", "Basic eA=="),)),
    "known-s-maxage": ((("cache-control", "s-maxage=60"),), (("authorization", "Basic eA=="),)),
    "cookie-sent": ((FRESH,), (("cookie", "a=b"),)),
    "no-cache-field": ((("cache-control", 'max-age=60, no-cache="set-cookie"'), ("set-cookie", "a=b")), ()),
}


@pytest.mark.parametrize("name", ALWAYS_STORED)
def test_what_is_stored(engine: Engine, backend: Backend, name: str) -> None:
    response, request = ALWAYS_STORED[name]
    backend.scripts["/a"] = counting(*response)
    assert bodies(engine, "/a", *request) == [b"1", b"1", b"1"]
    assert get(engine, "/a", *request).get("set-cookie") is None


@pytest.mark.parametrize("status", [301, 404, 410, 503])
def test_other_statuses_are_stored_if_they_say_so(engine: Engine, backend: Backend, status: int) -> None:
    backend.scripts["/a"] = counting(FRESH, status=status)
    answers = [get(engine, "/a") for _ in range(2)]
    assert [(one.status, one.body) for one in answers] == [(status, b"1")] * 2


def test_methods_and_bodies(engine: Engine, backend: Backend) -> None:
    """A GET with a body is the application's alone: its answer must not become that of all others."""
    backend.scripts["/a"] = counting(FRESH)
    for _ in range(2):
        assert send("h2", engine.port, "/a", b"body", "GET")["cache-status"].startswith("velocity; fwd=bypass")
    assert get(engine, "/a").body == b"3"
    assert send("h2", engine.port, "/b", b"body", "POST").body == b"hello\n"


def test_only_if_cached(engine: Engine, backend: Backend) -> None:
    """RFC 9111 section 5.2.1.7."""
    backend.scripts["/a"] = counting(FRESH)
    wish = ("cache-control", "only-if-cached")
    assert get(engine, "/a", wish).status == 504
    assert not backend.of("/a")
    get(engine, "/a")
    assert (get(engine, "/a", wish).status, get(engine, "/a", wish).body) == (200, b"1")


def test_bodies_that_break_off_are_not_stored(engine: Engine, backend: Backend) -> None:
    """RFC 9111 section 3.3; and nobody takes a part for the whole."""
    broken = iter([True, True, False])

    def script(*lines: str) -> Script:
        async def answer(exchange: Exchange) -> None:
            if next(broken):
                await exchange.head(*lines, "cache-control: max-age=60")
                await exchange.send(b"5\r\nhello\r\n" if "transfer-encoding: chunked" in lines else b"hello")
                exchange.reset()
            else:
                await exchange.answer(b"whole", fields=(FRESH,))

        return answer

    for path, line in (("/a", "content-length: 100"), ("/b", "transfer-encoding: chunked")):
        broken = iter([True, True, False])
        backend.scripts[path] = script(line)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                get(engine, path)
        assert bodies(engine, path) == [b"whole"] * 3


def test_objects_are_bounded(pair: Pair, backend: Backend) -> None:
    whole = noise(300_000, seed=1)

    async def chunked(exchange: Exchange) -> None:
        await exchange.head("transfer-encoding: chunked", "cache-control: max-age=60")
        for start in range(0, len(whole), 50_000):
            await exchange.chunk(whole[start : start + 50_000])
        await exchange.chunk(b"")

    async def declared(exchange: Exchange) -> None:
        await exchange.answer(whole, fields=(FRESH,))

    backend.scripts.update({"/chunked": chunked, "/declared": declared})
    for most, times in ((200_000, 2), (300_000, 1)):
        with Engine(cached(pair, backend, {"max_object_bytes": most, "memory_bytes": 4 << 20})) as engine:
            for path in ("/chunked", "/declared"):
                backend.requests.clear()
                assert all(get(engine, path).body == whole for _ in range(2))
                assert len(backend.of(path)) == times, (path, most)


# --- keys ---


def test_targets_are_kept_apart(engine: Engine, backend: Backend) -> None:
    for path in ("/a", "/A", "/b", "/a/", "//a", "/%61"):
        backend.scripts[path] = counting(FRESH, ("x-path", path))
    for asked in ("/a", "/A", "/a?", "/a?x=1", "/a?X=1", "/a?x=1&", "/b", "/a/", "//a", "/%61"):
        answer = get(engine, asked)
        assert (answer["x-path"], "uri-miss" in answer["cache-status"]) == (asked.partition("?")[0], True), asked


def test_nobody_poisons_what_others_get(engine: Engine, backend: Backend) -> None:
    """What an application may take for a host, a path or a method is never outside of the key."""

    async def trusting(exchange: Exchange) -> None:
        seen = [exchange.get(name) or "" for name in POISONS]
        await exchange.answer(f"{exchange.get('x-forwarded-host')} {seen}".encode(), fields=(FRESH,))

    backend.default = trusting
    plain = get(engine, "/plain").body
    for number, (name, value) in enumerate(POISONS.items()):
        path = f"/{number}"
        poisoned = get(engine, path, (name, value))
        victim = get(engine, path)
        assert b"evil" not in victim.body, name
        assert victim.body == plain, name
        assert (b"evil" in poisoned.body) == (b"evil" in get(engine, path, (name, value)).body)
    # Another host is another target, whatever the upstream makes of it.
    with Http1(engine.port) as one:
        one.socket.sendall(b"GET /host HTTP/1.1\r\nhost: evil.example\r\n\r\n")
        assert b"evil.example" in one.receive().body
        one.socket.sendall(b"GET https://evil.example/host HTTP/1.1\r\nhost: evil.example\r\n\r\n")
        assert b"evil.example" in one.receive().body
        one.socket.sendall(b"GET /host HTTP/1.1\r\nhost: LOCALHOST\r\n\r\n")
        assert b"evil" not in one.receive().body.lower()
    assert get(engine, "/host")["cache-status"].startswith("velocity; hit")


POISONS = {
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "evil",
    "x-forwarded-port": "evil",
    "x-forwarded-prefix": "/evil",
    "x-forwarded-scheme": "evil",
    "x-forwarded-server": "evil",
    "forwarded": "host=evil.example",
    "x_forwarded_host": "evil.example",
    "x-host": "evil.example",
    "x-original-url": "/evil",
    "x-rewrite-url": "/evil",
    "x-original-host": "evil.example",
    "x-http-method-override": "EVIL",
}


def test_what_trusted_proxies_say_is_part_of_the_key(pair: Pair, backend: Backend) -> None:
    async def trusting(exchange: Exchange) -> None:
        await exchange.answer((exchange.get("x-forwarded-host") or "").encode(), fields=(FRESH,))

    backend.default = trusting
    with Engine(cached(pair, backend, trusted_proxies=["127.0.0.1"])) as engine:
        for host in ("a.example", "b.example", "a.example"):
            fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", host)]
            assert get(engine, "/a", *fields).body == host.encode()
        assert len(backend.of("/a")) == 2
        # Who asked is not.
        assert (
            get(engine, "/a", ("x-forwarded-for", "192.0.2.2"), ("x-forwarded-host", "a.example")).body == b"a.example"
        )
        assert len(backend.of("/a")) == 2


def test_vary(engine: Engine, backend: Backend) -> None:
    """RFC 9111 section 4.1."""

    async def language(exchange: Exchange) -> None:
        fields = (FRESH, ("vary", "Accept-Language"))
        await exchange.answer((exchange.get("accept-language") or "none").encode(), fields=fields)

    backend.scripts["/a"] = language
    for _ in range(2):
        for wanted in ("nl", "en", "none"):
            fields = () if wanted == "none" else (("accept-language", wanted),)
            assert get(engine, "/a", *fields).body == wanted.encode()
    assert len(backend.of("/a")) == 3
    assert "fwd=vary-miss" in get(engine, "/a", ("accept-language", "de"))["cache-status"]
    # Their number is bounded, and the newest stay.
    for number in range(40):
        get(engine, "/a", ("accept-language", f"x-{number}"))
    assert get(engine, "/a", ("accept-language", "x-39"))["cache-status"].startswith("velocity; hit")
    assert "fwd=vary-miss" in get(engine, "/a", ("accept-language", "nl"))["cache-status"]


def test_keys_of_the_operator(pair: Pair, backend: Backend) -> None:
    async def tenant(exchange: Exchange) -> None:
        await exchange.answer(f"{exchange.get('x-tenant')} {exchange.get('cookie')}".encode(), fields=(FRESH,))

    backend.default = tenant
    key = [{"of": "header", "name": "x-tenant"}, {"of": "cookie", "name": "lang"}]
    with Engine(cached(pair, backend, {"key": key})) as engine:
        for fields, expected in (
            ([("x-tenant", "a")], b"a None"),
            ([("x-tenant", "b")], b"b None"),
            ([("x-tenant", "a"), ("cookie", "lang=nl; x=1")], b"a lang=nl; x=1"),
            ([("x-tenant", "a"), ("cookie", "x=2; lang=nl")], b"a lang=nl; x=1"),
            ([("x-tenant", "a")], b"a None"),
        ):
            assert get(engine, "/a", *fields).body == expected
        assert len(backend.of("/a")) == 3


# --- what clients ask for ---


@every_protocol
def test_ranges_and_conditions_of_what_is_stored(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    """RFC 9111 section 4.3.2, RFC 9110 section 14."""
    content = bytes(range(200))

    async def whole(exchange: Exchange) -> None:
        fields = (FRESH, ("etag", 'W/"a"'), ("last-modified", "Sat, 29 Oct 1994 19:43:31 GMT"))
        await exchange.answer(content, fields=fields)

    backend.scripts["/a"] = whole

    def again(*fields: tuple[str, str], method: str = "GET") -> Answer:
        return ask(protocol, engine.port, "/a", method, fields)

    assert again(("if-none-match", '"b"')).body == content
    part = again(("range", "bytes=10-19"))
    assert (part.status, part.body, part["content-range"]) == (206, content[10:20], "bytes 10-19/200")
    assert again(("range", "bytes=-5")).body == content[-5:]
    assert again(("range", "bytes=500-")).status == 416
    assert again(("range", "bytes=0-1,5-6")).status == 206
    assert again(("range", "bytes=0-1"), ("if-range", 'W/"a"')).status == 200
    for condition in (("if-none-match", '"x", W/"a"'), ("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT")):
        short = again(condition)
        assert (short.status, short.body, short["etag"], short["age"]) == (304, b"", 'W/"a"', short["age"])
    head = again(method="HEAD")
    assert (head.status, head.body, head["content-length"], head["etag"]) == (200, b"", "200", 'W/"a"')
    assert len(backend.of("/a")) == 1
    # A precondition that guards a change is for the origin.
    again(("if-match", '"a"'))
    assert len(backend.of("/a")) == 2


def test_conditions_before_anything_is_stored(engine: Engine, backend: Backend) -> None:
    """The upstream is asked for all of it, and the client gets what it asked for."""
    backend.scripts["/a"] = validating('"a"', FRESH)
    short = get(engine, "/a", ("if-none-match", '"a"'))
    assert (short.status, short.body) == (304, b"")
    assert backend.of("/a")[0].get("if-none-match") is None
    assert get(engine, "/a").body == b"1"
    # What is not stored is not asked for whole each time.
    backend.scripts["/b"] = validating('"b"', ("cache-control", "private"))
    assert [get(engine, "/b", ("if-none-match", '"b"')).status for _ in range(3)] == [304] * 3
    assert [one.get("if-none-match") for one in backend.of("/b")] == [None, '"b"', '"b"']


def test_ranges_of_what_is_not_stored_go_on(engine: Engine, backend: Backend) -> None:
    """Nobody fetches the whole of something large for a part of it, and a part is not stored."""

    async def part(exchange: Exchange) -> None:
        assert exchange.get("range") == "bytes=0-1"
        await exchange.answer(b"ab", 206, (FRESH, ("content-range", "bytes 0-1/100")))

    backend.scripts["/a"] = part
    for _ in range(2):
        assert (get(engine, "/a", ("range", "bytes=0-1")).status) == 206
    assert len(backend.of("/a")) == 2


def test_head_is_not_stored(engine: Engine, backend: Backend) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.head("content-length: 5", "cache-control: max-age=60", 'etag: "a"')
        if exchange.method == "GET":
            await exchange.send(b"whole")

    backend.scripts["/a"] = answer
    for _ in range(2):
        head = get(engine, "/a", method="HEAD")
        assert (head.status, head.body, head["content-length"]) == (200, b"", "5")
    assert [one.method for one in backend.of("/a")] == ["HEAD", "HEAD"]
    assert get(engine, "/a").body == b"whole"
    get(engine, "/a", method="HEAD")
    assert [one.method for one in backend.of("/a")] == ["HEAD", "HEAD", "GET"]


def test_wishes_of_requests(engine: Engine, backend: Backend) -> None:
    """RFC 9111 section 5.2.1."""
    backend.scripts["/a"] = counting(("cache-control", "max-age=60"), ("age", "30"))
    for wish, expected in (
        ("", b"1"),
        ("max-age=100", b"1"),
        ("max-age=10", b"2"),
        ("min-fresh=10", b"2"),
        ("min-fresh=40", b"3"),
        ("max-age=10, max-stale=30", b"3"),
        ("no-cache", b"4"),
        ("", b"4"),
    ):
        fields = (("cache-control", wish),) if wish else ()
        assert get(engine, "/a", *fields).body == expected, wish
    assert get(engine, "/a", ("pragma", "no-cache")).body == b"5"
    assert get(engine, "/a", ("pragma", "no-cache"), ("cache-control", "max-age=60")).body == b"5"


# --- what is stale ---

STALE = (("cache-control", "max-age=10"), ("age", "10"))
"""Stale when it comes."""


def test_validation(engine: Engine, backend: Backend) -> None:
    """RFC 9111 sections 4.3.1 and 4.3.4."""
    backend.scripts["/a"] = validating('"a"', *STALE, ("last-modified", "Sat, 29 Oct 1994 19:43:31 GMT"))
    first = get(engine, "/a")
    assert (first.body, first["x-number"]) == (b"1", "1")
    second = get(engine, "/a")
    # The content is what it was, and the head is what the 304 says.
    assert (second.status, second.body, second["x-number"], second["content-length"]) == (200, b"1", "2", "1")
    assert second["cache-status"].startswith("velocity; fwd=stale; fwd-status=304")
    asked = backend.of("/a")[1]
    assert asked.get("if-none-match") == '"a"'
    assert asked.get("if-modified-since") == "Sat, 29 Oct 1994 19:43:31 GMT"
    # What the client has is not what is here: it is asked about what is here.
    third = get(engine, "/a", ("if-none-match", '"other"'))
    assert (third.status, third.body, backend.of("/a")[2].get("if-none-match")) == (200, b"1", '"a"')
    assert get(engine, "/a", ("if-none-match", '"a"')).status == 304
    assert engine.counters()["cache_revalidated:routes[/]"] == 3


def test_a_304_makes_it_fresh_again(engine: Engine, backend: Backend) -> None:
    ages = iter(["10", "0", "0"])

    async def answer(exchange: Exchange) -> None:
        fields = (("etag", '"a"'), ("cache-control", "max-age=10"), ("age", next(ages)))
        if exchange.get("if-none-match"):
            await exchange.head(*(f"{name}: {value}" for name, value in fields), status=304)
        else:
            await exchange.answer(b"content", fields=fields)

    backend.scripts["/a"] = answer
    assert bodies(engine, "/a", count=5) == [b"content"] * 5
    assert len(backend.of("/a")) == 2


def test_what_has_changed_takes_its_place(engine: Engine, backend: Backend) -> None:
    numbers = itertools.count(1)

    async def answer(exchange: Exchange) -> None:
        number = next(numbers)
        fresh = FRESH if number == 2 else STALE[0]
        await exchange.answer(str(number).encode(), fields=(("etag", f'"{number}"'), fresh, ("age", "10")))

    backend.scripts["/a"] = answer
    assert bodies(engine, "/a", count=4) == [b"1", b"2", b"2", b"2"]


def test_no_cache_and_must_revalidate_are_asked_about(engine: Engine, backend: Backend) -> None:
    """RFC 9111 sections 5.2.2.4 and 5.2.2.2."""
    backend.scripts["/a"] = validating('"a"', ("cache-control", "no-cache, max-age=60"))
    assert bodies(engine, "/a") == [b"1"] * 3
    assert len(backend.of("/a")) == 3
    for directives in ("must-revalidate", "proxy-revalidate", "s-maxage=10"):
        path = f"/{directives}"
        backend.scripts[path] = validating('"a"', ("cache-control", f"max-age=10, {directives}"), ("age", "10"))
        get(engine, path)
        get(engine, path, ("cache-control", "max-stale"))
        assert len(backend.of(path)) == 2, directives


def test_max_stale(engine: Engine, backend: Backend) -> None:
    backend.scripts["/a"] = validating('"a"', *STALE)
    get(engine, "/a")
    answer = get(engine, "/a", ("cache-control", "max-stale=20"))
    assert (answer.body, len(backend.of("/a"))) == (b"1", 1)
    assert answer["cache-status"] in ("velocity; hit; ttl=0", "velocity; hit; ttl=-1")
    assert engine.counters()["cache_stale:routes[/]"] == 1


def test_stale_while_revalidate(engine: Engine, backend: Backend) -> None:
    """RFC 5861 section 3: nobody waits, and one asks."""
    first = threading.Event()
    numbers = itertools.count(1)

    async def answer(exchange: Exchange) -> None:
        number = next(numbers)
        if number > 1:
            await asyncio.to_thread(first.wait, 10)
        age = ("age", "10") if number == 1 else ("age", "0")
        await exchange.answer(
            str(number).encode(), fields=(("cache-control", "max-age=10, stale-while-revalidate=60"), age)
        )

    backend.scripts["/a"] = answer
    begun = time.monotonic()
    assert bodies(engine, "/a", count=6) == [b"1"] * 6
    assert time.monotonic() - begun < 5
    backend.wait_for("/a", 2)
    assert len(backend.of("/a")) == 2
    first.set()
    eventually(lambda: get(engine, "/a").body == b"2")
    assert len(backend.of("/a")) == 2


def eventually(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("failure", ["status", "reset", "silence"])
def test_stale_if_error(pair: Pair, backend: Backend, failure: str) -> None:
    """RFC 5861 section 4."""
    works = [True]

    async def answer(exchange: Exchange) -> None:
        if works[0]:
            await exchange.answer(b"good", fields=STALE)
        elif failure == "status":
            await exchange.answer(b"bad", 503)
        elif failure == "reset":
            exchange.reset()
        else:
            await exchange.wait_gone()

    backend.default = answer
    more = {"timeouts": {"connect_ms": 1000, "response_ms": 300, "idle_ms": 1000}}
    with Engine(cached(pair, backend, {"stale_if_error_ms": 60_000}, proxy=more)) as engine:
        assert get(engine, "/a").body == b"good"
        works[0] = False
        first = get(engine, "/a")
        assert first["cache-status"].startswith("velocity; fwd=stale; fwd-status=50")
        asked = len(backend.of("/a"))
        answers = [first, *(get(engine, "/a") for _ in range(3))]
        assert [(one.status, one.body) for one in answers] == [(200, b"good")] * 4
        assert len(backend.of("/a")) == asked, "for a moment nobody else asks"
        # Who wants no stale one is told the truth.
        assert get(engine, "/a", ("cache-control", "no-cache")).status in (502, 503, 504)
        assert get(engine, "/b").status in (502, 503, 504)


def test_failures_are_not_hidden_without_leave(engine: Engine, backend: Backend) -> None:
    backend.scripts["/a"] = validating('"a"', *STALE)
    assert get(engine, "/a").status == 200
    backend.scripts["/a"] = counting(status=500)
    assert get(engine, "/a").status == 500


# --- many at once ---


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
@pytest.mark.parametrize("chunked", [False, True])
def test_requests_for_the_same_become_one(engine: Engine, backend: Backend, protocol: Protocol, chunked: bool) -> None:
    """RFC 9111 section 4."""
    whole = noise(200_000, seed=2)

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        if not chunked:
            await exchange.answer(whole, fields=(FRESH,))
            return
        await exchange.head("transfer-encoding: chunked", "cache-control: max-age=60")
        for start in range(0, len(whole), 50_000):
            await exchange.chunk(whole[start : start + 50_000])
            await asyncio.sleep(0.05)
        await exchange.chunk(b"")

    backend.scripts["/a"] = slow
    answers = at_once(20, lambda _: ask(protocol, engine.port, "/a"))
    assert all(one.body == whole for one in answers)
    assert len(backend.of("/a")) == 1
    assert sum("collapsed" in one["cache-status"] for one in answers) >= 10


def test_nobody_waits_for_what_is_private(engine: Engine, backend: Backend) -> None:
    """They are let go all at once, not one after the other, and nobody gets what is another's."""

    async def private(exchange: Exchange) -> None:
        await asyncio.sleep(0.4)
        await exchange.answer(
            (exchange.get("cookie") or "").encode(), fields=(("cache-control", "private, max-age=60"),)
        )

    backend.scripts["/a"] = private
    begun = time.monotonic()
    answers = at_once(12, lambda number: get(engine, "/a", ("cookie", f"user={number}")))
    assert [one.body for one in answers] == [f"user={number}".encode() for number in range(12)]
    assert time.monotonic() - begun < 3
    # From now on nobody even begins to wait.
    begun = time.monotonic()
    at_once(12, lambda number: get(engine, "/a", ("cookie", f"user={number}")))
    assert time.monotonic() - begun < 1.5


def test_who_leaves_leaves_nobody_waiting(engine: Engine, backend: Backend) -> None:
    released = threading.Event()

    async def slow(exchange: Exchange) -> None:
        if len(backend.of("/a")) == 1:
            await exchange.wait_gone()
            return
        await exchange.answer(b"content", fields=(FRESH,))

    backend.scripts["/a"] = slow
    with Http2(engine.port) as two:
        stream = two.send("/a")
        backend.wait_for("/a")
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            others = [pool.submit(get, engine, "/a") for _ in range(5)]
            time.sleep(0.3)
            begun = time.monotonic()
            two.give_up(stream)
            assert [other.result().body for other in others] == [b"content"] * 5
        assert time.monotonic() - begun < 3
    assert len(backend.of("/a")) == 2
    released.set()


def test_a_slow_client_holds_up_nobody(engine: Engine, backend: Backend) -> None:
    """What it reads along is fetched as fast as it comes, and the others have it."""
    whole = noise(6 << 20, seed=3)

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(whole, fields=(FRESH,))

    backend.scripts["/a"] = answer
    with Http1(engine.port, receive_buffer=4096) as slow:
        slow.send("GET", "/a")
        response = slow.begin()
        assert response.read(1000) == whole[:1000]
        begun = time.monotonic()
        assert get(engine, "/a").body == whole
        assert time.monotonic() - begun < 5
        assert len(backend.of("/a")) == 1
        assert response.read() == whole[1000:]


def test_a_slow_upstream_is_asked_by_others_too_after_a_while(engine: Engine, backend: Backend) -> None:
    async def slow(exchange: Exchange) -> None:
        if len(backend.of("/a")) == 1:
            await asyncio.sleep(8)
        await exchange.answer(b"content", fields=(FRESH,))

    backend.scripts["/a"] = slow
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, engine, "/a")
        backend.wait_for("/a")
        assert get(engine, "/a").body == b"content"
        assert 4 < time.monotonic() - begun < 7
        assert first.result().body == b"content"


# --- taking it out ---


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OTHER"])
def test_unsafe_methods_make_invalid(engine: Engine, backend: Backend, method: str) -> None:
    """RFC 9111 section 4.4."""
    pages = {path: counting(FRESH) for path in ("/a", "/b", "/c", "/d")}

    async def answer(exchange: Exchange) -> None:
        if exchange.method == "GET":
            await pages[exchange.path](exchange)
        elif exchange.get("x-fail"):
            await exchange.answer(b"no", 409)
        else:
            elsewhere = ("content-location", "https://elsewhere.example/d")
            await exchange.answer(b"done", fields=(("location", "/b"), elsewhere))

    backend.default = answer
    for path in pages:
        get(engine, path)
    get(engine, "/a", ("x-fail", "1"), method=method)
    assert get(engine, "/a").body == b"1", "nothing was changed"
    get(engine, "/a", method=method)
    assert [get(engine, path).body for path in pages] == [b"2", b"2", b"1", b"1"]
    get(engine, "/a", method="OPTIONS")
    assert get(engine, "/a").body == b"2"


def test_what_was_asked_for_before_a_change_is_not_stored_after_it(engine: Engine, backend: Backend) -> None:
    changed = threading.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.method == "POST":
            await exchange.answer(b"done")
        elif len(backend.of("/a")) == 1:
            await asyncio.to_thread(changed.wait, 10)
            await exchange.answer(b"old", fields=(FRESH,))
        else:
            await exchange.answer(b"new", fields=(FRESH,))

    backend.scripts["/a"] = answer
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        before = pool.submit(get, engine, "/a")
        backend.wait_for("/a")
        assert get(engine, "/a", method="POST").body == b"done"
        changed.set()
        assert before.result().body == b"old"
    assert get(engine, "/a").body == b"new"


@every_protocol
def test_purge(engine: Engine, backend: Backend, protocol: Protocol) -> None:
    for path in ("/a", "/a/b", "/a/c", "/d"):
        backend.scripts[path] = counting(FRESH, ("vary", "accept-language"))

    def asked(path: str, method: str = "GET", *fields: tuple[str, str]) -> bytes:
        return bytes(ask(protocol, engine.port, path, method, fields).body)

    for path in ("/a", "/a?q", "/a/b", "/a/c", "/d"):
        asked(path)
    asked("/a", "GET", ("accept-language", "nl"))
    assert asked("/a", "PURGE") == b'{"purged":1}\n'
    assert asked("/a", "PURGE") == b'{"purged":0}\n'
    assert (asked("/a"), asked("/a", "GET", ("accept-language", "nl"))) == (b"4", b"5"), "all variants"
    assert (asked("/a?q"), asked("/a/b")) == (b"2", b"1"), "nothing else"
    assert asked("/a/*", "PURGE") == b'{"purged":2}\n'
    assert (asked("/a/b"), asked("/d")) == (b"2", b"1")
    assert asked("/*", "PURGE").startswith(b'{"purged":')
    assert asked("/d") == b"2"
    assert all(one.method != "PURGE" for one in backend.requests)
    assert "cache_purged" in engine.line_with("cache_purged", "purged=2")


def test_strangers_do_not_purge(pair: Pair, backend: Backend) -> None:
    backend.scripts["/a"] = counting(FRESH)
    for purgers in ([], ["192.0.2.0/24"]):
        with Engine(cached(pair, backend, {"purge_from": purgers})) as engine:
            first = get(engine, "/a").body
            refused = get(engine, "/a", ("x-forwarded-for", "192.0.2.1"), method="PURGE")
            assert refused.status == 403
            assert get(engine, "/a").body == first
    assert all(one.method != "PURGE" for one in backend.requests)


# --- the disk ---


def test_large_bodies_lie_on_the_disk(pair: Pair, backend: Backend, tmp_path: Path) -> None:
    whole = noise(20 << 20, seed=4)

    async def declared(exchange: Exchange) -> None:
        await exchange.answer(whole, fields=(FRESH, ("etag", '"a"')))

    async def chunked(exchange: Exchange) -> None:
        await exchange.head("transfer-encoding: chunked", "cache-control: max-age=60")
        for start in range(0, len(whole), 1 << 20):
            await exchange.chunk(whole[start : start + (1 << 20)])
        await exchange.chunk(b"")

    backend.scripts.update({"/declared": declared, "/chunked": chunked})
    place = tmp_path / "cache"
    cache = {"memory_bytes": 2 << 20, "disk_bytes": 100 << 20, "path": str(place), "max_object_bytes": 25 << 20}
    with Engine(cached(pair, backend, cache)) as engine:

        def fetch(path: str, _: int) -> Answer:
            return get(engine, path)

        before = engine.memory()
        for path in ("/declared", "/chunked"):
            answers = at_once(3, functools.partial(fetch, path))
            answers.append(get(engine, path))
            assert all(one.body == whole for one in answers), path
            assert len(backend.of(path)) == 1, path
            assert get(engine, path, ("range", "bytes=15000000-15000009")).body == whole[15_000_000:15_000_010]
        assert engine.memory() - before < 24 << 20
        (own,) = place.iterdir()
        files = [file for file in own.iterdir() if file.name != "lock"]
        assert sorted(file.stat().st_size for file in files) == [len(whole)] * 2
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        # What is purged is gone from there too.
        get(engine, "/declared", method="PURGE")
        assert len([file for file in own.iterdir() if file.name != "lock"]) == 1
        # And what somebody else takes away is fetched again.
        for file in files:
            file.unlink(missing_ok=True)
        assert get(engine, "/chunked").body == whole
        assert len(backend.of("/chunked")) == 2
        engine.process.kill()
        engine.process.wait(10)
        assert list(place.iterdir()), "nobody was there to tidy up"
    with Engine(cached(pair, backend, cache)) as engine:
        assert get(engine, "/declared").body == whole
        (own,) = place.iterdir()
        assert len(list(own.iterdir())) == 2, "what was left behind is gone"


def test_a_disk_that_cannot_be_written_stops_nothing(pair: Pair, backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = {"disk_bytes": 8 << 20, "path": str(tmp_path / "file" / "cache"), "max_object_bytes": 2 << 20}
    backend.scripts["/large"] = counting(FRESH, length=1 << 20)
    backend.scripts["/small"] = counting(FRESH)
    with Engine(cached(pair, backend, cache)) as engine:
        assert [len(body) for body in bodies(engine, "/large", count=2)] == [1 << 20] * 2
        assert bodies(engine, "/small", count=2) == [b"1", b"1"]
        assert "hint" in engine.line_with("cache_disk_failed")


def test_memory_is_bounded(pair: Pair, backend: Backend) -> None:
    backend.default = counting(FRESH, length=500_000)
    with Engine(cached(pair, backend, {"memory_bytes": 8 << 20, "max_object_bytes": 1 << 20})) as engine:
        get(engine, "/first")
        before = engine.memory()
        with Http2(engine.port) as two:
            for number in range(100):
                assert len(two.ask(f"/{number}").body) == 500_000
        assert engine.counters()["cache_memory_bytes"] <= 6 << 20
        assert engine.memory() - before < 24 << 20


# --- together with everything else ---


def test_what_is_stored_outlives_a_reload(pair: Pair, backend: Backend) -> None:
    backend.scripts["/a"] = counting(FRESH)
    with Engine(cached(pair, backend)) as engine:
        assert get(engine, "/a").body == b"1"
        timeouts = {"timeouts": {"connect_ms": 1000, "response_ms": 5000, "idle_ms": 5000}}
        for more in ({}, {"filters": [{"kind": "headers", "set": [["x-new", "1"]]}]}, {"proxy": timeouts}):
            assert engine.reload(cached(pair, backend, **more)) == {}
            assert get(engine, "/a").body == b"1"
        assert engine.counters()["cache_hits:routes[/]"] == 3
        # Another upstream has other answers.
        with Backend({"/a": counting(FRESH, status=404)}) as other:
            assert engine.reload(cached(pair, other)) == {}
            assert get(engine, "/a").status == 404


def test_compression_on_the_way_out(pair: Pair, backend: Backend) -> None:
    text = b"velocity " * 1000

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(text, fields=(FRESH, ("content-type", "text/plain"), ("etag", '"a"')))

    backend.scripts["/a"] = answer
    with Engine(cached(pair, backend, filters=[{"kind": "compress"}])) as engine:
        assert get(engine, "/a").body == text
        for accepted in ("gzip", "", "gzip"):
            answer_ = get(engine, "/a", ("accept-encoding", accepted))
            coded = answer_.get("content-encoding") == "gzip"
            assert coded == bool(accepted)
            assert (gzip.decompress(bytes(answer_.body)) if coded else answer_.body) == text
        assert len(backend.of("/a")) == 1


def test_codings_of_upstreams_are_variants(engine: Engine, backend: Backend) -> None:
    async def answer(exchange: Exchange) -> None:
        coded = "gzip" in (exchange.get("accept-encoding") or "")
        fields = (FRESH, ("vary", "Accept-Encoding"), *((("content-encoding", "gzip"),) if coded else ()))
        await exchange.answer(gzip.compress(b"text") if coded else b"text", fields=fields)

    backend.scripts["/a"] = answer
    assert get(engine, "/a", ("accept-encoding", "gzip, br")).get("content-encoding") == "gzip"
    assert get(engine, "/a", ("accept-encoding", "BR,gzip")).get("content-encoding") == "gzip"
    assert get(engine, "/a").body == b"text"
    assert len(backend.of("/a")) == 2


def test_whom_this_server_knows_has_answers_of_their_own(pair: Pair, backend: Backend) -> None:
    """Somebody who has logged in here is told to upstreams by other fields than Authorization."""
    backend.scripts["/a"] = counting(FRESH)
    users = [["user", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA"]]
    with Engine(cached(pair, backend, filters=[{"kind": "basic_auth", "users": users}])) as engine:
        assert get(engine, "/a").status == 401, "what is stored is behind the filters"


def test_the_log_says_what_became_of_it(engine: Engine, backend: Backend) -> None:
    backend.scripts["/a"] = counting(FRESH)
    get(engine, "/a")
    assert f"upstream={backend.url}" in engine.line_with("request", "path=/a ", "cache=miss")
    get(engine, "/a")
    assert "upstream=" not in engine.line_with("request", "path=/a ", "cache=hit")
    counters = engine.counters()
    assert (counters["cache_hits:routes[/]"], counters["cache_misses:routes[/]"]) == (1, 1)
    assert counters["cache_memory_bytes"] > 0


def test_no_status_if_so_wished(pair: Pair, backend: Backend) -> None:
    backend.scripts["/a"] = counting(FRESH)
    with Engine(cached(pair, backend, {"status_header": False})) as engine:
        assert [get(engine, "/a").get("cache-status") for _ in range(2)] == [None, None]


def test_a_default_for_those_who_say_nothing(pair: Pair, backend: Backend) -> None:
    """RFC 9111 section 4.2.2, by leave of the operator only."""
    backend.default = counting()
    with Engine(cached(pair, backend, {"default_ttl_ms": 60_000})) as engine:
        assert bodies(engine, "/a") == [b"1"] * 3
        assert bodies(engine, "/b", ("cookie", "a=b")) == [b"2", b"3", b"4"]
        backend.scripts["/c"] = counting(("set-cookie", "a=b"))
        assert bodies(engine, "/c") == [b"1", b"2", b"3"]


def test_cookies_are_left_out_if_so_wished(pair: Pair, backend: Backend) -> None:
    backend.scripts["/a"] = counting(FRESH, ("set-cookie", "a=b"))
    with Engine(cached(pair, backend, {"ignore_set_cookie": True})) as engine:
        assert [(one.body, one.get("set-cookie")) for one in (get(engine, "/a"), get(engine, "/a"))] == [
            (b"1", "a=b"),
            (b"1", None),
        ]
