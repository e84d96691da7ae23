"""Routes, filters and handlers, as clients see them over every protocol."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import pytest

from support import http3
from support.clients import PROTOCOLS, Protocol, ask, hinted
from support.engine import Engine, plan, route
from support.http1 import Http1, exchange
from velocity import _core
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Pair

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)

# bcrypt of "open sesame", with few rounds.
BCRYPT = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"

JSON = {"kind": "json", "body": {"hello": "{{ name }}", "from": "{{ request.client }}", "n": 1}}
LIMIT = {"kind": "rate_limit", "limit": 3, "window_ms": 60_000}
SECURITY = {
    "kind": "headers",
    "default": [["x-content-type-options", "nosniff"], ["x-frame-options", "DENY"]],
    "set": [["x-path", "{{ request.path }}"]],
    "remove": ["server"],
}
FILTERS: list[dict[str, Any]] = [
    LIMIT,
    {"kind": "waf"},
    {"kind": "waf", "mode": "log"},
    {"kind": "headers", "default": [["x-content-type-options", "nosniff"], ["content-type", "never/shown"]]},
    SECURITY,
    {"kind": "headers", "of": "request", "set": [["x-added", "by {{ request.method }}"]]},
    {"kind": "cors", "origins": ["https://app.example"], "methods": ["GET", "PUT"]},
    {"kind": "compress", "min_bytes": 64},
    {"kind": "basic_auth", "users": [["ali", BCRYPT]]},
    {"kind": "ip_access", "deny": ["127.0.0.0/8"]},
    {"kind": "request_size", "max_bytes": 1000},
    {"kind": "early_hints", "links": ["</style.css>; rel=preload; as=style"]},
]


def text(body: str, status: int = 200) -> dict[str, Any]:
    """A handler."""
    return {"kind": "respond", "body": body, "status": status}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("edge")
    for name, content in {
        "site/index.html": "<!doctype html>index\n",
        "site/a.txt": "a\n",
        "one.html": "one\n",
        "404.html": "lost\n",
        "templates/page.html": "<p>{{ query.q }} {{ request.headers.x_added }}</p>\n",
        "templates/form.html": "<p>{{ form.comment }}</p>\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def everything(pair: Pair, folder: Path) -> str:
    """A Plan with a route for each thing."""
    files = {"kind": "files", "root": str(folder / "site")}
    return plan(
        pair,
        [
            route(JSON, "/hello/{name}", "pattern"),
            route(text("posted"), "/method", "exact", methods=["POST"]),
            route(text("got"), "/method", "exact", methods=["GET"]),
            route(text("put"), "/put", "exact", methods=["PUT", "DELETE"]),
            route({"kind": "redirect", "location": "https://{{ host }}/new{{ path }}"}, "/old"),
            route({"kind": "template", "name": "page.html"}, "/page", filters=[5]),
            route({"kind": "template", "name": "form.html"}, "/form", filters=[10]),
            route({"kind": "file", "path": str(folder / "one.html"), "status": 503}, "/one"),
            route({**files, "strip_prefix": "/assets"}, "/assets"),
            route({**files, "strip_prefix": "/app", "fallback_file": "index.html"}, "/app"),
            route(files, "/files-limited", filters=[0]),
            route({**files, "strip_prefix": "/waf"}, "/waf", filters=[1, 3]),
            route(text("shadow"), "/shadow", filters=[2]),
            route({**files, "strip_prefix": "/secure"}, "/secure", filters=[4]),
            route(text("cors"), "/cors", filters=[6], methods=["GET"]),
            route(text("long " * 100), "/compress", filters=[7]),
            route(text("secret"), "/auth", filters=[8]),
            route(text("never"), "/denied", filters=[9]),
            route(text("small"), "/size", filters=[10]),
            route(text("hinted"), "/hints", filters=[11]),
            route({"kind": "proxy", "upstreams": [{"url": "http://127.0.0.1:1"}]}, "/proxy"),
            route({"kind": "respond", "status": 410, "body": ""}, "/gone"),
            route(text("own", 404), "/own"),
            route(files, "/a.txt", "exact"),
        ],
        filters=FILTERS,
        templates=str(folder / "templates"),
        site={"error_pages": [{"status": "4xx", "file": str(folder / "404.html")}]},
    )


@pytest.fixture(scope="module")
def engine(pair: Pair, folder: Path) -> Iterator[Engine]:
    with Engine(everything(pair, folder)) as running:
        yield running


@every_protocol
def test_handlers_answer(engine: Engine, protocol: Protocol) -> None:
    answer = ask(protocol, engine.port, "/hello/J%C3%BCrgen%22")
    assert answer.status == 200
    assert answer["content-type"] == "application/json"
    assert json.loads(answer.body) == {"hello": 'Jürgen"', "from": "127.0.0.1", "n": 1}
    assert answer["server"] == "velocity"
    assert answer.get("date")

    assert ask(protocol, engine.port, "/method").body == b"got"
    assert ask(protocol, engine.port, "/method", "POST").body == b"posted"
    refused = ask(protocol, engine.port, "/put")
    assert (refused.status, refused["allow"]) == (405, "PUT, DELETE")

    moved = ask(protocol, engine.port, "/old/a%20b")
    assert (moved.status, moved["location"]) == (308, "https://localhost/new/old/a%20b")
    page = ask(protocol, engine.port, "/page?q=%3Cscript")
    assert (page["content-type"], page.body) == ("text/html; charset=utf-8", b"<p>&lt;script by GET</p>")
    one = ask(protocol, engine.port, "/one/whatever", fields=[("range", "bytes=0-0")])
    assert (one.status, one.body) == (503, b"one\n")
    assert ask(protocol, engine.port, "/proxy").status == 502


@every_protocol
def test_files_behind_prefixes(engine: Engine, protocol: Protocol) -> None:
    for _ in range(2):
        assert ask(protocol, engine.port, "/assets/a.txt").body == b"a\n"
        assert ask(protocol, engine.port, "/%61ssets//a.txt").body == b"a\n"
        assert ask(protocol, engine.port, "/app/deep/link").body == b"<!doctype html>index\n"
        assert ask(protocol, engine.port, "/app/a.txt").body == b"a\n"
        assert ask(protocol, engine.port, "/a.txt").body == b"a\n"
    assert ask(protocol, engine.port, "/assets/none").status == 404
    assert ask(protocol, engine.port, "/app/../../404.html").status == 400


@every_protocol
def test_error_pages_show_where_there_is_no_body(engine: Engine, protocol: Protocol) -> None:
    for path, status in [("/nowhere", 404), ("/assets/none", 404), ("/gone", 410), ("/denied", 403), ("/put", 405)]:
        answer = ask(protocol, engine.port, path)
        assert (answer.status, bytes(answer.body)) == (status, b"lost\n"), path
        assert answer["content-type"].startswith("text/html")
    assert ask(protocol, engine.port, "/own").body == b"own"


# The client for HTTP/3 takes the content-length of an answer to HEAD for a broken promise where it can compare.
@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_head_is_get_without_a_body(engine: Engine, protocol: Protocol) -> None:
    for path in ["/method", "/assets/a.txt", "/hello/x"]:
        answer = ask(protocol, engine.port, path, "HEAD")
        assert (answer.status, bytes(answer.body)) == (200, b""), path
        assert int(answer["content-length"]) > 0


@every_protocol
def test_attacks_are_blocked_and_files_are_not(engine: Engine, protocol: Protocol) -> None:
    for _ in range(3):
        fine = ask(protocol, engine.port, "/waf/a.txt?q=it's+5+o'clock")
        assert (fine.status, fine.body) == (200, b"a\n")
        assert fine["x-content-type-options"] == "nosniff"
        assert fine["content-type"].startswith("text/plain")
    for attack in ["1' or '1'='1", "<script>alert(1)</script>", "../../etc/passwd", "; cat /etc/hosts"]:
        answer = ask(protocol, engine.port, f"/waf/a.txt?q={quote(attack)}")
        assert answer.status == 403, attack
        assert answer["x-content-type-options"] == "nosniff", "answers of filters get header fields too"
        assert ask(protocol, engine.port, f"/shadow?q={quote(attack)}").status == 200
    agent = ask(protocol, engine.port, "/waf/a.txt", fields=[("user-agent", "sqlmap/1.7")])
    assert agent.status == 403


@every_protocol
def test_headers_are_changed(engine: Engine, protocol: Protocol) -> None:
    for _ in range(2):
        answer = ask(protocol, engine.port, "/secure/a.txt")
        assert answer.body == b"a\n"
        assert (answer["x-frame-options"], answer["x-path"]) == ("DENY", "/secure/a.txt")
        assert answer.get("server") is None
        assert answer.get("date")


@every_protocol
def test_other_origins_are_told(engine: Engine, protocol: Protocol) -> None:
    origin = ("origin", "https://app.example")
    answer = ask(protocol, engine.port, "/cors", fields=[origin])
    assert (answer.body, answer["access-control-allow-origin"]) == (b"cors", "https://app.example")
    asked = ask(protocol, engine.port, "/cors", "OPTIONS", [origin, ("access-control-request-method", "GET")])
    assert (asked.status, asked["access-control-allow-methods"]) == (204, "GET, PUT")
    other = ask(protocol, engine.port, "/cors", fields=[("origin", "https://other.example")])
    assert other.get("access-control-allow-origin") is None
    assert other["vary"] == "Origin"


@every_protocol
def test_answers_are_compressed(engine: Engine, protocol: Protocol) -> None:
    answer = ask(protocol, engine.port, "/compress", fields=[("accept-encoding", "gzip")])
    assert answer["content-encoding"] == "gzip"
    assert len(answer.body) < 100
    assert ask(protocol, engine.port, "/compress").body == b"long " * 100


@every_protocol
def test_passwords_are_asked_for(engine: Engine, protocol: Protocol) -> None:
    asked = ask(protocol, engine.port, "/auth")
    assert (asked.status, asked["www-authenticate"]) == (401, 'Basic realm="restricted", charset="UTF-8"')
    for password, status in [("wrong", 401), ("open sesame", 200), ("open sesame", 200), ("wrong", 401)]:
        token = base64.b64encode(f"ali:{password}".encode()).decode()
        answer = ask(protocol, engine.port, "/auth", fields=[("authorization", f"Basic {token}")])
        assert answer.status == status, password


@every_protocol
def test_limits_hold_over_all_protocols(pair: Pair, folder: Path, protocol: Protocol) -> None:
    """On an engine of its own; a reload that leaves the filter as it is forgets nobody."""
    files = {"kind": "files", "root": str(folder / "site")}
    first = plan(pair, [route(files, filters=[0])], filters=[LIMIT])
    with Engine(first) as engine:
        for left in (2, 1, 0):
            answer = ask(protocol, engine.port, "/a.txt")
            assert (answer.status, answer["ratelimit-remaining"]) == (200, str(left))
            assert answer["ratelimit-policy"] == '"client";q=3;w=60'
            assert answer["ratelimit"].startswith(f'"client";r={left};t=')
        refused = ask(protocol, engine.port, "/a.txt")
        assert refused.status == 429
        assert 0 < int(refused["retry-after"]) <= 60
        assert engine.reload(plan(pair, [route(text("new"), filters=[1])], filters=[SECURITY, LIMIT])) == {}
        assert ask(protocol, engine.port, "/").status == 429
        assert engine.reload(plan(pair, [route(text("new"), filters=[0])], filters=[{**LIMIT, "limit": 4}])) == {}
        assert ask(protocol, engine.port, "/").body == b"new"
        assert engine.counters()["rate_limited_total"] == 2


def test_proxies_that_are_trusted_say_who_it_is(pair: Pair) -> None:
    one = {**LIMIT, "limit": 1}
    with Engine(plan(pair, [route(JSON, filters=[0])], filters=[one], trusted_proxies=["127.0.0.1"])) as engine:
        for client, status in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429), ("2001:db8::1", 200)]:
            answer = ask("h2", engine.port, "/", fields=[("x-forwarded-for", f"6.6.6.6, {client}")])
            assert answer.status == status
            assert status != 200 or json.loads(answer.body)["from"] == client
        answer = ask("h2", engine.port, "/", fields=[("x-forwarded-for", "2001:db8::ffff")])
        assert answer.status == 429, "the same /64"


def post(port: int, path: str, kind: str, body: bytes, *, chunked: bool = False) -> int:
    """The status of a POST over HTTP/1.1."""
    with Http1(port) as one:
        length = ("transfer-encoding", "chunked") if chunked else ("content-length", str(len(body)))
        one.send("POST", path, [("content-type", kind), length])
        one.socket.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        return one.receive().status


def post3(port: int, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of a POST over HTTP/3."""

    async def conversation() -> tuple[int, bytes]:
        async with http3.Http3.open(port) as connection:
            stream = connection.send(path, "POST", [("content-type", kind)], body=body)
            await connection.finish(stream)
            answer = connection.answers[stream]
            return answer.status, bytes(answer.body)

    return http3.run(conversation())


def test_bodies_are_looked_at(engine: Engine) -> None:
    form, attack = "application/x-www-form-urlencoded", b"a=1&b=%27+or+%271%27%3D%271"
    for kind, body in [
        (form, attack),
        ("application/json", b'{"a": ["' + b"x" * 10_000 + b'", "<script>"]}'),
        ("multipart/form-data; boundary=B", b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n<svg onload=x>'),
    ]:
        assert post(engine.port, "/waf/", kind, body) == 403
        assert post(engine.port, "/waf/", kind, body, chunked=True) == 403
        assert post3(engine.port, "/waf/", kind, body)[0] == 403
    assert post(engine.port, "/waf/", form, b"a=1&b=it's+fine") == 405, "files take no POST"
    assert engine.counters()["waf_hits:sqli"] > 0


def test_hostile_bodies_do_not_hold_up_the_others(engine: Engine) -> None:
    bait = b"<a " * 350_000
    began = time.monotonic()
    assert post(engine.port, "/waf/", "text/plain", bait) == 405
    assert time.monotonic() - began < 5


def test_forms_reach_templates(engine: Engine) -> None:
    form = "application/x-www-form-urlencoded"
    status, body = post3(engine.port, "/form", form, b"comment=%3Cb%3E&x=1")
    assert (status, body) == (200, b"<p>&lt;b&gt;</p>")
    assert post3(engine.port, "/form", form, b"comment=" + b"x" * 1000)[0] == 413


def test_large_requests_are_refused(engine: Engine) -> None:
    for chunked in (False, True):
        assert post(engine.port, "/size", "text/plain", b"x" * 1000, chunked=chunked) == 200
        assert post(engine.port, "/size", "text/plain", b"x" * 1001, chunked=chunked) == 413


@pytest.mark.parametrize("protocol", ["h3", "h2"])
def test_hints_come_before_the_answer(engine: Engine, protocol: Literal["h3", "h2"]) -> None:
    fields = [(":status", "103"), ("link", "</style.css>; rel=preload; as=style")]
    assert hinted(protocol, engine.port, "/hints") == (fields, b"hinted")


def test_hints_do_not_come_over_http1(engine: Engine) -> None:
    """Clients as common as `http.client` take them for the answer."""
    assert b"hinted" in exchange(engine.port, b"GET /hints HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")


def test_logs_name_rules_and_routes(pair: Pair, folder: Path) -> None:
    engine = Engine(everything(pair, folder))
    ask("h3", engine.port, "/waf/?q=%3Cscript%3E")
    ask("h2", engine.port, "/shadow?q=%3Cscript%3E")
    ask("h2", engine.port, "/proxy")
    log = engine.end()
    assert "velocity::edge waf_block rule=xss.script target=query" in log
    assert "velocity::edge waf_match rule=xss.script target=query" in log
    assert "velocity::proxy upstream_failed" in log
    assert "route=routes[/waf] status=403" in log


@pytest.mark.parametrize(
    ("handler", "filters", "code"),
    [
        ({"kind": "json", "body": "{{ open"}, [], "TEMPLATE_INVALID"),
        ({"kind": "template", "name": "none.html"}, [], "TEMPLATE_MISSING"),
        (text(""), [{"kind": "waf", "rules": [{"name": "mine", "pattern": "("}]}], "WAF_RULE_INVALID"),
        (text(""), [{"kind": "headers", "set": [["a b", ""]]}], "HEADER_INVALID"),
        (text(""), [{"kind": "ip_access", "allow": ["nowhere"]}], "NETWORK_INVALID"),
        (text(""), [{"kind": "basic_auth", "users": [["ali", "secret"]]}], "BASIC_AUTH_INVALID"),
        (text(""), [{"kind": "oidc", "issuer": "http://id.example", "client_id": "x"}], "OIDC_INVALID"),
        (text("", 99), [], "STATUS_INVALID"),
    ],
)
def test_what_cannot_be_is_found_before_it_is_served(
    engine: Engine, pair: Pair, handler: dict[str, Any], filters: list[dict[str, Any]], code: str
) -> None:
    broken = plan(pair, [route(handler)], filters=filters)
    with pytest.raises(ConfigError) as caught:
        _core.check(broken)
    assert caught.value.code == code
    before = ask("h2", engine.port, "/method").body
    said = engine.reload(broken)
    assert said["code"] in (code, "LISTENERS_CHANGED")
    assert ask("h2", engine.port, "/method").body == before


def test_what_can_be_is_found_to_be_so(pair: Pair, folder: Path) -> None:
    _core.check(everything(pair, folder))
