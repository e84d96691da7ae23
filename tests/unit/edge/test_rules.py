"""Rules for the data plane: what the server is given, and that Python does the same where it has to."""

import datetime
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.config.edge import EdgeConfig
from velocity.config.middleware import RateLimitRule
from velocity.edge import EdgeApp, EdgeRequest, EdgeResponse, Next, WebSocket
from velocity.edge import limits as limiting
from velocity.edge.limits import RateLimiter
from velocity.edge.testing import TestClient
from velocity.errors import ConfigError


def ruled(tmp_path: Path) -> EdgeApp:
    (tmp_path / "page.html.j2").write_text("<p>{{ name }} {{ query.q }} {{ form.f }}</p>")
    public = tmp_path / "public"
    (public / "sub").mkdir(parents=True)
    (public / "index.html").write_text("home")
    (public / "sub" / "a.txt").write_text("a")
    (public / ".hidden").write_text("h")
    (public / "out").symlink_to(tmp_path)
    app = EdgeApp(templates_dir=tmp_path)
    app.rules.json("/json/{name}", {"hello": ["{{ name }}", 1, None], "q": "{{ query.q }}/{{ request.headers.x_a }}"})
    app.rules.text("/text", "{{ as it is }}", status=203)
    app.rules.template("/page/{name}", "page.html.j2", methods=["GET", "POST"])
    app.rules.file("/robots.txt", public / "sub" / "a.txt")
    app.rules.files("/static", public, cache_control="max-age=60")
    app.rules.redirect("/old/{name}", "/new/{{ name }}?q={{ query.q }}")
    app.rules.redirect("/same", "{{ path }}/", status=302)
    return app


def test_answers_in_python(tmp_path: Path) -> None:
    client = TestClient(ruled(tmp_path))
    reply = client.get('/json/"<ä>?q=1', headers={"x-a": "b"})
    assert reply.json() == {"hello": ['"<ä>', 1, None], "q": "1/b"}
    assert reply.text.endswith("}\n")
    assert (client.get("/text").text, client.get("/text").status) == ("{{ as it is }}", 203)
    page = client.get("/page/<b>?q=<i>")
    assert (page.text, page.headers["content-type"]) == ("<p>&lt;b&gt; &lt;i&gt; </p>", "text/html; charset=utf-8")
    assert client.post("/page/a", data={"f": "<form>"}).text == "<p>a  &lt;form&gt;</p>"
    assert client.get("/robots.txt").text == "a"
    assert client.get("/old/x y?q=1").headers["location"] == "/new/x%20y?q=1"
    assert (client.get("/same").status, client.get("/same").headers["location"]) == (302, "/same/")
    assert client.post("/text").status == 405
    assert client.head("/json/a").content == b""


def test_a_redirect_stays_on_this_host() -> None:
    app = EdgeApp()
    app.rules.redirect("/go/{*rest}", "/{{ rest }}")
    assert TestClient(app).get("/go//evil.example").headers["location"] == "/evil.example"


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/static/", 200, "home"),
        ("/static", 308, "this is a directory\n"),
        ("/static/index.html", 200, "home"),
        ("/static/sub/a.txt", 200, "a"),
        ("/static/sub", 308, "this is a directory\n"),
        ("/static/sub/", 404, None),
        ("/static/.hidden", 404, None),
        ("/static/sub/../index.html", 404, None),
        ("/static/%2e%2e/page.html.j2", 404, None),
        ("/static/out/page.html.j2", 404, None),
        ("/static/sub/a.txt/", 404, None),
        ("/static/none", 404, None),
        ("/static//sub/a.txt", 200, "a"),
        ("/static/a%00", 404, None),
        ("/static/%5c..%5cpage.html.j2", 404, None),
    ],
)
def test_a_folder(tmp_path: Path, path: str, status: int, content: str | None) -> None:
    reply = TestClient(ruled(tmp_path)).get(path)
    assert (reply.status, reply.text if content is not None else None) == (status, content)
    if status == 200:
        assert reply.headers["cache-control"] == "max-age=60"
    if status == 308:
        assert reply.headers["location"] == f"{path}/"


def test_a_folder_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("home")
    app = EdgeApp()
    app.rules.files("/", tmp_path, dotfiles=True)
    (tmp_path / ".x").write_text("dot")
    client = TestClient(app)
    assert [client.get(path).text for path in ("/", "/.x")] == ["home", "dot"]
    assert app.plan_rules().routes[0].path == (None, "/")


def test_no_middleware_sees_them(tmp_path: Path) -> None:
    """As when the data plane answers them."""
    app = ruled(tmp_path)

    @app.middleware
    async def refuse(request: EdgeRequest, call_next: Next) -> EdgeResponse:
        return EdgeResponse(b"", 403)

    client = TestClient(app)
    assert (client.get("/text").status, client.get("/none").status) == (203, 403)


# --- what the server is given ---


def test_the_configuration(tmp_path: Path) -> None:
    app = ruled(tmp_path)
    app.with_rate_limit(100, per=60).with_waf(exclude=["sqli"], rules=["(?i)<script"]).with_headers(
        {"X-A": "{{ path }}"}
    )
    app.with_security_headers(content_security_policy=None, x_frame_options="DENY")
    plan = app.plan_rules()
    assert isinstance(plan, EdgeConfig)
    assert plan.rate_limit == RateLimitRule(limit=100, window="60s")  # type: ignore[arg-type]
    assert plan.waf is not None
    assert not isinstance(plan.waf, bool)
    assert (plan.waf.exclude, [rule.pattern for rule in plan.waf.rules]) == (("sqli",), ["(?i)<script"])
    assert not isinstance(plan.security_headers, bool)
    assert plan.security_headers.x_frame_options == "DENY"
    assert [one.model_dump()["default"] for one in plan.middlewares] == [(("x-a", "{{ path }}"),)]
    assert [route.path[1] for route in plan.routes] == [
        "/text", "/robots.txt", "/same", "/json/{name}", "/old/{name}", "/static",
    ]  # fmt: skip


def test_what_python_answers_more_exactly_stays_in_python() -> None:
    app = EdgeApp()
    app.rules.json("/a/{x}", "rule")
    app.rules.json("/b/{x}", "rule")
    app.rules.text("/c/d", "rule")
    app.rules.text("/m/{*rest}", "rule")
    app.rules.text("/p/{x}", "rule")
    app.get("/a/me")(lambda: "python")
    app.post("/b/me")(lambda: "python")
    app.get("/c/{x}")(lambda: "python")
    app.mount("/m/inner", EdgeApp())
    app.get("/p/{x}/deeper")(lambda: "python")
    assert [route.path[1] for route in app.plan_rules().routes] == ["/c/d", "/b/{x}", "/p/{x}"]
    client = TestClient(app)
    assert [client.get(path).text for path in ("/a/me", "/a/x", "/c/d", "/c/x", "/m/x")] == [
        "python", '"rule"\n', "rule", "python", "rule",
    ]  # fmt: skip


def test_what_stays_in_python_hides_others() -> None:
    """A rule that is less exact than one which stays would answer in its place."""
    app = EdgeApp()
    app.rules.json("/a/{x}", "stays for /a/me")
    app.rules.text("/{y}/zed", "stays for /a/zed")
    app.rules.text("/{*rest}", "stays for all of them")
    app.rules.text("/b/c", "goes")
    app.get("/a/me")(lambda: "python")
    assert [route.path[1] for route in app.plan_rules().routes] == ["/b/c"]
    client = TestClient(app)
    assert [client.get(path).text for path in ("/a/zed", "/q/zed", "/x")] == [
        '"stays for /a/me"\n', "stays for /a/zed", "stays for all of them",
    ]  # fmt: skip


def test_methods_of_one_path() -> None:
    """GET brings HEAD there, and a WebSocket begins with a GET."""
    app = EdgeApp()
    for path in ("/head", "/head/{x}", "/socket", "/sockets/{x}", "/less/{x}", "/post"):
        app.rules.text(path, "rule")
    app.route("/head", ["HEAD"])(lambda: "")
    app.route("/head/me", ["HEAD"])(lambda: "")
    app.post("/post")(lambda: "")
    for path in ("/socket", "/sockets/me", "/{*rest}"):

        @app.websocket(path)
        async def handler(ws: WebSocket) -> None: ...

    assert [(route.path[1], route.methods) for route in app.plan_rules().routes] == []
    other = EdgeApp()
    other.rules.text("/both", "", methods=["GET"])
    other.rules.text("/both", "", methods=["HEAD"])
    other.rules.text("/post", "")
    other.post("/post")(lambda: "")
    assert [(route.path[1], route.methods) for route in other.plan_rules().routes] == [
        ("/both", ("HEAD",)), ("/both", ("GET",)), ("/post", ("GET",)),
    ]  # fmt: skip


def test_an_asgi_middleware_keeps_answers_in_python() -> None:
    app = EdgeApp().with_rate_limit(5)
    app.rules.text("/a", "a")
    assert app.plan_rules().routes
    app.add_middleware(lambda inner: inner)
    plan = app.plan_rules()
    assert (plan.routes, plan.rate_limit is not None) == ((), True)


def test_rules_that_the_server_has_do_not_change() -> None:
    app = EdgeApp().with_rate_limit(5)
    app.rules.text("/a", "a")
    app.rules.fix()
    for change in (
        lambda: app.with_rate_limit(1),
        app.with_waf,
        lambda: app.with_security_headers(False),
        lambda: app.with_headers({"x": "y"}),
        lambda: setattr(app.rules, "waf", None),
        lambda: app.rules.text("/b", ""),
        lambda: app.add_middleware(lambda inner: inner),
        lambda: app.get("/b")(lambda: ""),
    ):
        with pytest.raises(ConfigError) as caught:
            change()
        assert caught.value.code == "RULES_FIXED"
    assert app.rules.rate_limit is not None
    assert app.rules.rate_limit.limit == 5
    without = EdgeApp()
    without.rules.fix()
    without.get("/b")(lambda: "")


def test_the_engine_accepts_the_configuration(tmp_path: Path) -> None:
    from velocity.config.routing import compile_sites
    from velocity.config.simple import SimpleConfig
    from velocity.config.source import Tree

    tree = Tree({})
    app = ruled(tmp_path).with_rate_limit(1).with_waf()
    routing = compile_sites(SimpleConfig(), tree, app.plan_rules(), tree)
    assert [route.match.value for route in routing.sites[0].routes]


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda app: app.with_rate_limit(0), "the rate limit: limit: "),
        (lambda app: app.with_rate_limit(1, per=0), "the rate limit: : a window of no time"),
        (lambda app: app.with_rate_limit(1, per="soon"), "the rate limit: window: 'soon' is no duration"),
        (lambda app: app.with_rate_limit(1, key="ip-address"), "unknown key 'ip-address'"),
        (lambda app: app.with_waf(rules=["(?=a)"]), "look-around is not supported"),
        (lambda app: app.with_headers({"a b": ""}), "'a b' is no name of a header field"),
        (lambda app: app.with_security_headers(x="y"), "security headers: x: "),
        (lambda app: app.rules.json("a", {}), "the rule for a: path: "),
        (lambda app: app.rules.text("/", "", status=99), "the rule for /: status: "),
    ],
)
def test_rules_that_cannot_be(declare: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declare(EdgeApp())
    assert message in str(caught.value)
    assert (caught.value.code, "\n" in str(caught.value)) == ("RULE_INVALID", False)


def test_a_rule_and_a_handler_for_the_same() -> None:
    app = EdgeApp()
    app.get("/a")(lambda: "")
    with pytest.raises(ConfigError, match=r"GET /a is there twice: .*test_rules\.py:\d+ and the rule for /a"):
        app.rules.text("/a", "")


# --- the rate limit ---


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(limit: int, seconds: int, clock: Clock) -> RateLimiter:
    return RateLimiter(RateLimitRule(limit=limit, window=f"{seconds}s"), clock)  # type: ignore[arg-type]


@given(st.integers(1, 5), st.lists(st.floats(0, 3), max_size=60))
def test_no_window_has_more_than_the_limit(limit: int, waits: list[float]) -> None:
    clock = Clock()
    tested = limiter(limit, 2, clock)
    let_in: list[float] = []
    for wait in waits:
        clock.now += wait
        recent = [at for at in let_in if at + 2 > clock.now]
        standing = tested.admit("k")
        assert standing.allowed == (len(recent) < limit)
        if standing.allowed:
            let_in.append(clock.now)
        assert standing.remaining == limit - len([at for at in let_in if at + 2 > clock.now])


def test_high_limits_are_counted_in_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiting, "TICKS", 10)
    clock = Clock()
    tested = limiter(1000, 10, clock)
    allowed = 0
    for _ in range(3000):
        clock.now += 0.01
        allowed += tested.admit("k").allowed
    assert 2000 <= allowed <= 3000
    assert len(tested._keys["k"].ticks) <= 12


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiting, "MAX_KEYS", 10)
    monkeypatch.setattr(limiting, "MAX_STAMPS", 50)
    tested = limiter(100, 60, Clock())
    for number in range(1000):
        tested.admit(f"k{number % 37}")
        tested.admit("steady")
        assert len(tested._keys) <= 10
        assert tested._stamps == sum(len(one.ticks) for one in tested._keys.values()) <= 101
    assert not tested.admit("steady").allowed  # who goes on is never forgotten


def test_who_asks_too_often() -> None:
    app = EdgeApp().with_rate_limit(2, per=datetime.timedelta(minutes=1))
    app.get("/")(lambda: "here")
    client = TestClient(app)
    replies = [client.get("/") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    refused = replies[2]
    assert refused.text == "too many requests, try again later\n"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    told = {name: value for name, value in refused.headers.items() if name.startswith("ratelimit")}
    assert told == {
        "ratelimit-policy": '"client";q=2;w=60', "ratelimit": f'"client";r=0;t={told["ratelimit-reset"]}',
        "ratelimit-limit": "2", "ratelimit-remaining": "0", "ratelimit-reset": told["ratelimit-reset"],
    }  # fmt: skip
    assert "x-content-type-options" in refused.headers
    assert TestClient(app, client=("192.0.2.1", 1)).get("/").status == 200
    assert client.head("/").content == b""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("a", "b", False),
    ],
)
def test_addresses(one: str, other: str, same: bool) -> None:
    app = EdgeApp().with_rate_limit(1)
    app.get("/")(lambda: "")
    assert TestClient(app, client=(one, 1)).get("/").status == 200
    assert (TestClient(app, client=(other, 1)).get("/").status == 429) is same


@pytest.mark.parametrize("key", ["header:X-Key", "cookie:key", "path"])
def test_other_keys(key: str) -> None:
    app = EdgeApp().with_rate_limit(1, key=key)
    app.get("/{x}")(lambda: "")
    client = TestClient(app)

    def status(value: str) -> int:
        return client.get(f"/{value}", headers={"x-key": value, "cookie": f"key={value}"}).status

    assert [status("a"), status("a"), status("b")] == [200, 429, 200]


def test_websockets_count(caplog: pytest.LogCaptureFixture) -> None:
    from velocity.edge.testing import HandshakeRefused

    app = EdgeApp().with_rate_limit(1)

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()

    client = TestClient(app)
    with client.websocket("/"):
        pass
    with pytest.raises(HandshakeRefused) as caught, client.websocket("/"):
        pass
    assert caught.value.reply.status == 429


# --- other rules ---


def test_security_headers() -> None:
    app = EdgeApp().with_headers({"x-path": "{{ path }}", "x-own": "default"})
    app.get("/a")(lambda: EdgeResponse(b"", headers={"x-frame-options": "DENY", "x-own": "mine"}))
    headers = TestClient(app).get("/a").headers
    assert (headers["x-frame-options"], headers["x-own"], headers["x-path"]) == ("DENY", "mine", "/a")
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "content-security-policy" in TestClient(app).get("/none").headers
    clear = TestClient(app, base_url="http://testserver").get("/a").headers
    assert "strict-transport-security" not in clear
    app.with_headers({"x-frame-options": "first", "X-Own": "second"})
    again = TestClient(app).get("/none").headers
    assert (again.getlist("x-frame-options"), again.getlist("x-own")) == (["first"], ["default"])
    app.with_security_headers(False)
    assert "x-content-type-options" not in TestClient(app).get("/a").headers
    app.with_security_headers(x_content_type_options=None)
    assert "x-content-type-options" not in TestClient(app).get("/a").headers
    assert "referrer-policy" in TestClient(app).get("/a").headers


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("q=a%20b", "a b"),
        ("q=%0d%0aset-cookie:%20x=y", None),
        ("q=%E2%82%AC", "\xe2\x82\xac"),
        ("&".join(["a=1"] * 1001), None),
    ],
)
def test_what_clients_put_into_fields(query: str, value: str | None) -> None:
    app = EdgeApp().with_headers({"x-q": "{{ query.q }}"})
    app.get("/")(lambda: "")
    headers = TestClient(app).get(f"/?{query}").headers
    assert (headers.get("x-q"), "set-cookie" in headers) == (value, False)


def test_a_server_that_does_it_itself() -> None:
    app = EdgeApp().with_rate_limit(1)
    inner = EdgeApp().with_rate_limit(2)
    app.get("/")(lambda: "here")
    inner.get("/")(lambda: "inner")
    app.mount("/inner", inner)
    client = TestClient(app, extensions={"velocity": {"rules": True, "group": "X25519MLKEM768"}})
    replies = [client.get("/") for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert replies[0].headers.keys() == {"content-type", "content-length"}
    app.rules.enforced = True
    assert [TestClient(app).get("/").status for _ in range(3)] == [200] * 3
    # It does not know the rules of what is mounted, or called from within.
    assert [client.get("/inner").status for _ in range(3)] == [200, 200, 429]
    other = EdgeApp().with_rate_limit(1)
    other.get("/")(lambda: "other")
    app.add_middleware(lambda _: other)
    assert [client.get("/").status for _ in range(2)] == [200, 429]


def test_the_waf_is_velocitys(caplog: pytest.LogCaptureFixture) -> None:
    app = EdgeApp().with_waf()
    app.get("/")(lambda: "here")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert TestClient(app).get("/?q=<script>").status == 200
    assert caplog.text.count("no web application firewall: this server does not carry out") == 1
    caplog.clear()
    TestClient(EdgeApp().with_waf(), extensions={"velocity": {"rules": True}}).get("/")
    assert caplog.text == ""
