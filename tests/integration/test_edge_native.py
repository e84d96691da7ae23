"""Rules of an `EdgeApp` that Velocity hosts are the data plane's: the same answers, and nothing of them in Python."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.application import PROGRAMS, serving
from support.clients import PROTOCOLS, Protocol, ask
from support.configured import BASE
from support.configured import serving as configured
from support.front import send
from support.server import PYTHON, environment, velocity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.answer import Answer
    from support.configured import Configured
    from support.server import Server

PLACES: dict[str, tuple[str, ...]] = {"here": (), "workers": ("--workers", "2"), "reload": ("--reload",)}
every_place = pytest.mark.parametrize("place", PLACES)

Request = tuple[str, str, list[tuple[str, str]]]

SUFFIXES = (
    "", ".7z", ".avif", ".bz2", ".css", ".csv", ".docx", ".eot", ".flac", ".gif", ".gz", ".htm", ".html", ".ico",
    ".ics", ".jpeg", ".jpg", ".js", ".json", ".jsonld", ".log", ".m3u8", ".m4a", ".map", ".md", ".mid", ".mjs", ".mov",
    ".mp3", ".mp4", ".ogg", ".opus", ".otf", ".pdf", ".png", ".py", ".rss", ".scss", ".srt", ".svg", ".svgz", ".tar",
    ".tgz", ".tif", ".toml", ".ts", ".ttf", ".txt", ".unknown", ".wasm", ".wav", ".webm", ".webmanifest", ".webp",
    ".woff", ".woff2", ".xhtml", ".xml", ".xsl", ".yaml", ".zip",
)  # fmt: skip
TAGGED = [("if-none-match", "*")]
ASKED: list[Request] = [
    *(
        ("GET", target, [])
        for target in (
            "/json/Ada?q=1",
            "/json/%22%3C%C3%A4?q=a%20b&q=c",
            "/json/%FF?q=%FF+x",
            "/json/a/",
            "/json/",
            "/upper/ada",
            "/text",
            "/te%78t",
            "/text/",
            "/nothing",
            "/teapot",
            "/page/%3Cb%3E?q=%26",
            "/robots.txt",
            "/gone",
            "/static",
            "/static?a=b",
            "/static/",
            "/static/sub",
            "/static/sub?x=%20",
            "/static/sub/",
            "/static/sub/a.txt",
            "/static/sub/a.txt/",
            "/static//sub/a.txt",
            "/static/.hidden",
            "/static/none",
            "/static/out/secret",
            "/old/x%20y?q=1",
            "/old/x?q=%0d%0ax%3C%7C",
            "/go//evil.example",
            "/go/a/b?c",
            "/exact/me",
            "/exact/you",
            "/mine/own",
            "/mine/other",
            "/none",
            "/none?q=%E2%82%AC",
            "/none?q=a%0d%0ab:c",
            "/docs",
            "/fields",
        )
    ),
    *(("GET", f"/static/types/a{suffix}", []) for suffix in SUFFIXES),
    *(("HEAD", target, []) for target in ("/json/Ada", "/text", "/robots.txt", "/static/", "/old/x", "/none")),
    ("POST", "/text", []),
    ("POST", "/robots.txt", []),
    ("DELETE", "/json/Ada", []),
    ("PUT", "/known", []),
    ("OPTIONS", "/text", []),
    ("OPTIONS", "/static/sub/a.txt", []),
    ("GET", "/static/sub/a.txt", TAGGED),
    ("GET", "/robots.txt", TAGGED),
    ("GET", "/static/sub/a.txt", [("if-match", '"x"')]),
    ("GET", "/robots.txt", [("if-match", '"x"')]),
    ("GET", "/static/sub/long.txt", [("range", "bytes=2-4")]),
    ("GET", "/static/sub/long.txt", [("range", "bytes=900-")]),
    ("GET", "/static/sub/long.txt", [("range", "bytes=-3")]),
    ("HEAD", "/static/sub/long.txt", [("range", "bytes=2-4")]),
    ("GET", "/fields", [("x-one", "a"), ("x-one", "b")]),
    ("GET", "/none", [("accept", "text/html")]),
]
OPENING = [
    ("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]  # fmt: skip
"""Of a WebSocket (RFC 6455 section 1.3)."""
PASSING = {"date", "alt-svc", "ratelimit", "ratelimit-remaining", "ratelimit-reset", "velocity-fallback"}
"""Fields that are different each time, or about the connection."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ruled")
    (folder / "page.html.j2").write_text("<p>{{ name }} {{ query.q }}</p>")
    (folder / "secret").write_text("secret")
    public = folder / "public"
    (public / "sub").mkdir(parents=True)
    (public / "types").mkdir()
    (public / "index.html").write_text("home")
    (public / "sub" / "a.txt").write_text("a")
    (public / "sub" / "long.txt").write_text("0123456789" * 10)
    (public / ".hidden").write_text("h")
    (public / "out").symlink_to(folder)
    for _, target, _ in ASKED:
        if target.startswith("/static/types/"):
            (public / "types" / target.rpartition("/")[2]).write_text('"x"')
    return folder


def ruled(folder: Path, files: Path, target: str, *flags: str | Path) -> Server:
    return serving(folder, f"ruled:{target}", *flags, env={"RULED": str(files)})


def seen(port: int, path: str = "/seen") -> list[str]:
    """What has come to Python before; with workers, to the one that answers."""
    found: list[str] = json.loads(ask("http/1.1", port, path).body)
    return found[:-1]


def facts(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """What has to be the same."""
    fields = sorted((name, value) for name, value in answer.fields if name not in PASSING)
    fields = [(name, value) for name, value in fields if (name, value.lower()) != ("vary", "accept-encoding")]
    return answer.status, fields, bytes(answer.body)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Server]:
    with ruled(tmp_path_factory.mktemp("native"), files, "app") as server:
        yield server


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Server]:
    with ruled(tmp_path_factory.mktemp("python"), files, "python") as server:
        yield server


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_both_answer_the_same(native: Server, python: Server, protocol: Protocol) -> None:
    differing = []
    for method, target, fields in ASKED:
        left, right = (facts(ask(protocol, one.port, target, method, fields)) for one in (native, python))
        left = (left[0], [(name, _neutral(value, native)) for name, value in left[1]], left[2])
        right = (right[0], [(name, _neutral(value, python)) for name, value in right[1]], right[2])
        if left != right:
            differing.append(f"{method} {target} {fields}\n   data plane {left}\n       python {right}")
    assert not differing, "\n".join(differing)


def _neutral(value: str, server: Server) -> str:
    return value.replace(str(server.port), "PORT")


def test_python_hears_of_what_is_its_own(native: Server) -> None:
    before = len(seen(native.port))
    for target in ("/json/a", "/text", "/robots.txt", "/static/", "/old/x", "/exact/me", "/mine/own", "/upper/a"):
        ask("h2", native.port, target)
    assert seen(native.port)[before + 1 :] == ["/mine/own", "/upper/a"]


@every_place
def test_who_asks_too_often_never_comes_to_python(tmp_path: Path, files: Path, place: str) -> None:
    with ruled(tmp_path, files, "limited", *PLACES[place]) as server:
        answers = [ask("h2", server.port, path) for path in ("/rule", "/handler", "/rule", "/handler", "/rule")]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        # Once for each, whoever it is that counts.
        assert [answer["ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
        assert [name for name, _ in answers[1].fields].count("ratelimit-limit") == 1
        assert 1 <= int(answers[3]["retry-after"]) <= 3600
        assert ask("h2", server.port, "/seen").status == 429
        assert ask("http/1.1", server.port, "/socket", fields=OPENING).status == 429
        assert "the data plane carries out 3 rules of ruled:limited" in server.stderr


def test_the_same_limit_in_python(tmp_path: Path, files: Path) -> None:
    told = []
    for target in ("limited", "limited_in_python"):
        (tmp_path / target).mkdir()
        with ruled(tmp_path / target, files, target) as server:
            answers = [ask("http/1.1", server.port, path) for path in ("/rule", "/handler", "/none", "/rule", "/seen")]
            assert all(int(one["retry-after"]) in (3599, 3600) for one in answers[3:])
            told.append([
                (one.status, bytes(one.body), one["ratelimit-policy"], one["ratelimit-limit"],
                 one["ratelimit-remaining"], sorted(name for name, _ in one.fields))
                for one in answers
            ])  # fmt: skip
    assert told[0] == told[1]


def test_an_application_that_runs_itself(tmp_path: Path, files: Path) -> None:
    environ = environment({"RULED": str(files), "PYTHONPATH": str(PROGRAMS)})
    program = "import ruled; ruled.limited.run(listen='127.0.0.1:0')"
    running = subprocess.Popen([PYTHON, "-c", program], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    with running, running.stderr:
        found = next(filter(None, (re.search(r"https://localhost:(\d+)/", line) for line in running.stderr)))
        port = int(found[1])
        assert [ask("h2", port, path).status for path in ("/rule", "/rule")] == [200, 200]
        assert seen(port) == []
        assert ask("h2", port, "/handler").status == 429
        running.terminate()
        assert running.wait(10) == 0


@every_place
def test_attacks_never_come_to_python(tmp_path: Path, files: Path, place: str) -> None:
    with ruled(tmp_path, files, "guarded", *PLACES[place]) as server:
        for protocol in PROTOCOLS:
            for path in ("/rule", "/handler"):
                assert ask(protocol, server.port, path).status == 200
                answer = ask(protocol, server.port, f"{path}?q=%3Cscript%3Ealert(1)%3C/script%3E")
                assert answer.status == 403
                assert answer["x-content-type-options"] == "nosniff"
        assert ask("h2", server.port, "/handler?q=forbidden-word").status == 403
        assert send("h2", server.port, "/handler", b"a=forbidden-word").status == 403
        if place != "workers":
            assert seen(server.port) == ["/handler"] * 4
        assert "no web application firewall" not in server.stderr


@every_place
def test_rules_of_the_startup(tmp_path: Path, files: Path, place: str) -> None:
    with ruled(tmp_path, files, "late", *PLACES[place]) as server:
        assert bytes(ask("h2", server.port, "/rule").body) == b"late"
        assert ask("h2", server.port, "/seen")["x-late"] == "yes"
        for what in ("limit", "attribute", "rule", "handler", "middleware"):
            said = bytes(ask("h2", server.port, f"/change/{what}").body)
            assert said == b"ConfigError: the data plane has the rules of this application, which change no more"
        assert ask("h2", server.port, "/more").status == 404


def test_an_asgi_middleware_sees_every_answer(tmp_path: Path, files: Path) -> None:
    """It may be what keeps people out."""
    with ruled(tmp_path, files, "wrapped") as server:
        answer = ask("h2", server.port, "/private")
        assert (answer.status, answer["x-own"]) == (401, "yes")


def test_what_is_mounted_has_its_own(tmp_path: Path, files: Path) -> None:
    with ruled(tmp_path, files, "outer") as server:
        assert [ask("h2", server.port, "/inner/rule").status for _ in range(4)] == [200, 200, 200, 429]
        assert ask("h2", server.port, "/seen").status == 200


@pytest.mark.parametrize("flags", [("--root-path", "/api"), ("--root", ".")])
@pytest.mark.parametrize("place", ["here", "workers"])
def test_what_has_no_place_in_the_plan_is_python_s(
    tmp_path: Path, files: Path, flags: tuple[str, ...], place: str
) -> None:
    with ruled(tmp_path, files, "limited", *flags, *PLACES[place]) as server:
        server.line_with("rules_in_python")
        answers = [ask("h2", server.port, path) for path in ("/rule", "/handler")]
        assert [(one.status, one["x-frame-options"]) for one in answers] == [(200, "SAMEORIGIN")] * 2
        if place == "here":
            assert [ask("h2", server.port, "/rule").status for _ in range(2)] == [200, 429]


def test_templates_of_fields_that_do_more(tmp_path: Path, files: Path) -> None:
    with ruled(tmp_path, files, "filtered") as server:
        assert "is more than the names of variables" in server.line_with("rules_in_python")
        assert ask("h2", server.port, "/seen")["x-path"] == "/SEEN"
        assert [ask("h2", server.port, "/seen").status for _ in range(3)] == [200, 200, 429]


@every_place
def test_rules_that_the_engine_refuses(tmp_path: Path, files: Path, place: str) -> None:
    flags = ("--self-signed", "--listen", "127.0.0.1:0", "--app-dir", str(PROGRAMS), *PLACES[place])
    done = velocity("serve", "ruled:broken", *flags, cwd=tmp_path, env={"RULED": str(files)}, timeout=30)
    assert done.returncode == 2
    assert "is not a regular expression" in done.stderr.decode()


# --- in configuration files ---


@pytest.fixture
def site(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configured]:
    monkeypatch.setenv("RULED", str(files))
    (tmp_path / "serve.simple.yaml").write_text(
        BASE
        + f"""
content:
  sites:
    - {{root: site}}
  routes:
    - {{path: /shop, kind: python, app: 'ruled:app', app_dir: {PROGRAMS}, root_path: true}}
    - {{path: /mine, kind: python, app: 'ruled:app', app_dir: {PROGRAMS}}}
    - {{path: /api, kind: python, app: 'ruled:limited', app_dir: {PROGRAMS}, root_path: true, workers: 1}}
    - {{path: /api/v2, kind: python, app: 'ruled:limited', app_dir: {PROGRAMS}, root_path: true, workers: 1}}
"""
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "edge.yaml").write_text(
        "security_headers: {x_frame_options: null, referrer_policy: no-referrer}\n"
        "middlewares: [{kind: headers, default: {x-frame-options: ALLOW, x-edge: 'yes'}}]\n"
    )
    with configured(tmp_path, "--config", "serve.simple.yaml", "--edge-config", "edge.yaml") as server:
        yield server


def test_below_a_path(site: Configured) -> None:
    answer = ask("h2", site.port, "/shop/json/Ada?q=1")
    assert json.loads(answer.body) == {"a": ["Ada", 1, None, 1.5, True], "q": "1 q=1"}
    assert answer["x-path"] == "/shop/json/Ada|localhost|https"
    assert ask("h2", site.port, "/shop/old/x")["location"] == "/new/x?q="
    assert bytes(ask("h2", site.port, "/shop/static/sub/a.txt").body) == b"a"
    assert ask("h2", site.port, "/shop/static")["location"] == "/shop/static/"
    assert bytes(ask("h2", site.port, "/shop/text").body).startswith(b"{{ as it is")
    assert bytes(send("h2", site.port, "/shop/text", b"posted").body) == b"posted"
    # Without a root path the application sees all of it, and so do its rules.
    assert bytes(ask("h2", site.port, "/mine/it/is").body) == b"a rule"
    assert bytes(ask("h2", site.port, "/mine/own").body) == b"a handler"
    assert ask("h2", site.port, "/mine/a/text").status == 404
    for path in ("/text", "/json/Ada", "/static/", "/robots.txt"):
        assert ask("h2", site.port, path).status == 404, "this is not where the application is"
    assert [path for path in seen(site.port, "/shop/seen") if path != "/shop/seen"] == [
        "/shop/text", "/mine/own", "/mine/a/text",
    ]  # fmt: skip


def test_within_what_holds_for_the_site(site: Configured) -> None:
    for path in ("/shop/text", "/shop/seen"):
        answer = ask("h2", site.port, path)
        said = [answer.get(name) for name in ("x-frame-options", "referrer-policy", "x-edge")]
        assert said == ["DENY", "strict-origin-when-cross-origin", "yes"], "the application says it first"
        assert [name for name, _ in answer.fields].count("x-frame-options") == 1


def test_two_routes_to_one_application_count_together(site: Configured) -> None:
    paths = ("/api/rule", "/api/v2/rule", "/api/v2/handler", "/api/rule", "/api/handler")
    assert [ask("h2", site.port, path).status for path in paths] == [200, 200, 200, 429, 429]


def test_a_changed_configuration_keeps_them(site: Configured) -> None:
    for path in ("/api/rule", "/api/handler"):
        assert ask("h2", site.port, path).status == 200
    file = site.folder / "serve.simple.yaml"
    text = file.read_text()
    file.write_text(text.replace("path: /shop,", "path: /store,"))
    site.said("reloaded")
    assert ask("h2", site.port, "/store/text").status == 203
    assert ask("h2", site.port, "/shop/text").status == 404
    assert [ask("h2", site.port, "/api/rule").status for _ in range(2)] == [200, 429], "what was counted is counted"
    file.write_text(text.replace("path: /mine,", "path: /mine, root_path: /elsewhere,"))
    assert "have no place in this configuration" in site.said("reload_failed")
    assert ask("h2", site.port, "/store/text").status == 203


# --- code that changes ---


def write_version(folder: Path, rules: str, kind: str = "EdgeApp()") -> None:
    (folder / "changes.py").write_text(
        "from velocity.edge import EdgeApp\n"
        f"app = {kind}\n"
        f"{rules}\n"
        "async def plain(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'plain'})\n"
        "app = app or plain\n"
    )


def test_rules_change_with_the_code(tmp_path: Path) -> None:
    write_version(tmp_path, "app.rules.text('/rule', 'one')")
    with serving(tmp_path, "changes:app", "--app-dir", tmp_path, "--reload") as server:
        assert bytes(ask("h2", server.port, "/rule").body) == b"one"
        for number, (rules, kind, path, body) in enumerate(
            [
                ("app.rules.text('/rule', 'two'); app.with_headers({'x-a': 'b'})", "EdgeApp()", "/rule", b"two"),
                ("app.with_waf(rules=['('])", "EdgeApp()", "/rule", b"two"),
                ("app.rules.text('/other', 'four')", "EdgeApp()", "/other", b"four"),
                ("", "None", "/other", b"plain"),
                ("app.rules.text('/rule', 'six'); app.with_rate_limit(2)", "EdgeApp()", "/rule", b"six"),
            ],
            1,
        ):
            said = server.stderr.count('"reloaded"') + server.stderr.count('"reload_kept"')
            write_version(tmp_path, rules, kind)
            while server.stderr.count('"reloaded"') + server.stderr.count('"reload_kept"') == said:
                server.process.poll()
                assert server.process.returncode is None, server.stderr
            assert bytes(ask("h2", server.port, path).body) == body, number
        assert "is not a regular expression" in server.line_with("reload_failed")
        assert [ask("h2", server.port, "/rule").status for _ in range(2)] == [200, 429]
