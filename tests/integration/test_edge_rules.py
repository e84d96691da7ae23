"""What `EdgeApp.plan_rules` gives the engine: it answers as Python does where there is no engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.clients import ask
from support.engine import Engine, certificate, make
from velocity.config.plan import Plan
from velocity.config.routing import compile_sites
from velocity.config.simple import SimpleConfig
from velocity.config.source import Tree
from velocity.edge import EdgeApp
from velocity.edge.testing import TestClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASKED = [
    ("GET", "/json/Ada?q=1"),
    ("GET", "/json/%22%3C%C3%A4?q=a%20b&q=c"),
    ("HEAD", "/json/Ada"),
    ("GET", "/text"),
    ("GET", "/robots.txt"),
    ("GET", "/static/"),
    ("GET", "/static/sub/a.txt"),
    ("GET", "/static/.hidden"),
    ("GET", "/static/none"),
    ("GET", "/static/out/secret"),
    ("GET", "/old/x%20y?q=1"),
    ("GET", "/go//evil.example"),
    ("GET", "/exact/me"),
]
COMPARED = ("content-type", "location", "cache-control", "x-path", "x-frame-options", "strict-transport-security",
            "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "etag", "last-modified")  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> EdgeApp:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "secret").write_text("secret")
    (folder / "public" / "sub").mkdir(parents=True)
    (folder / "public" / "index.html").write_text("home")
    (folder / "public" / "sub" / "a.txt").write_text("a")
    (folder / "public" / ".hidden").write_text("h")
    (folder / "public" / "out").symlink_to(folder)
    app = EdgeApp()
    app.with_rate_limit(100, per=60).with_headers({"x-path": "{{ path }}"}).with_security_headers(
        x_frame_options="DENY"
    )
    app.rules.json("/json/{name}", {"z": ["{{ name }}", 1, None, 1.5], "a": "{{ query.q }} {{ method }}"})
    app.rules.text("/text", "{{ as it is }} ä", status=203)
    app.rules.file("/robots.txt", folder / "public" / "sub" / "a.txt")
    app.rules.files("/static", folder / "public", cache_control="max-age=60")
    app.rules.redirect("/old/{name}", "/new/{{ name }}?q={{ query.q }}")
    app.rules.redirect("/go/{*rest}", "/{{ rest }}", status=302)
    app.rules.text("/exact/{name}", "less exact")
    app.rules.text("/exact/me", "exact")
    return app


@pytest.fixture(scope="module")
def engine(app: EdgeApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("certificate")
    tree = Tree({})
    routing = compile_sites(SimpleConfig(), tree, app.plan_rules(), tree)
    plan = Plan.model_validate(
        {
            "listeners": [{"address": "127.0.0.1:0", "alpn": ["h3", "h2", "http/1.1"]}],
            "tls": {"certificates": [certificate(make(folder))]},
            "sites": routing.sites,
            "filters": routing.filters.filters,
            "workers": 1,
        }
    )
    with Engine(plan.to_json()) as running:
        yield running


def test_the_engine_answers_as_python_does(app: EdgeApp, engine: Engine) -> None:
    client = TestClient(app, base_url="https://localhost")
    for method, target in ASKED:
        native = ask("http/1.1", engine.port, target, method)
        python = client.request(method, target)
        assert native.status == python.status, target
        if native.status in (404, 302, 308):
            names = tuple(
                name for name in COMPARED if name not in ("content-type", "etag", "last-modified", "cache-control")
            )
        else:
            names = COMPARED
            is_json = python.headers["content-type"] == "application/json" and method == "GET"
            left, right = native.body, python.content
            assert (json.loads(left), left[-1:]) == (json.loads(right), right[-1:]) if is_json else left == right, (
                target
            )
        said = dict(native.fields)
        assert {name: said.get(name) for name in names} == {name: python.headers.get(name) for name in names}, target


def test_the_limit_is_the_same(app: EdgeApp, engine: Engine) -> None:
    left = int(dict(ask("http/1.1", engine.port, "/text").fields)["ratelimit-remaining"])
    for _ in range(left):
        assert ask("http/1.1", engine.port, "/text").status == 203
    native = ask("http/1.1", engine.port, "/text")
    client = TestClient(app, client=("192.0.2.9", 1))
    for _ in range(100):
        assert client.get("/text").status == 203
    python = client.get("/text")
    assert (native.status, native.body) == (python.status, python.content) == (429, python.content)
    assert {name for name, _ in native.fields} - {"date", "server", "alt-svc", "velocity-fallback"} >= {"retry-after"}
    assert "retry-after" in python.headers
