"""What of a rule is the data plane's: no more than it does as Python does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from velocity.edge import EdgeApp
from velocity.edge.guard import enforced
from velocity.edge.native import is_native_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "{ } }} %}",
        "{{ name }}",
        "a{{name}}b{{  path  }}\nc",
        "{{ method }} {{ host }} {{ scheme }} {{ client }} {{ identity }}",
        "{{ query.page }}{{ request.query }}{{ request.path }}",
        "{{ request.headers.user_agent }}",
    ],
)
def test_variables(text: str) -> None:
    assert is_native_text(text, {"name"})


@pytest.mark.parametrize(
    "text",
    [
        "{{ name | upper }}",
        "{{ name.upper() }}",
        "{{- name }}",
        "{{ name }}\n",
        "\r\n{{ name }}",
        "{% if name %}{% endif %}",
        "{# a comment #}",
        "{{{ name }}",
        "{{ other }}",
        "{{ name",
        "{{ name.x }}",
        "{{ 'text' }}",
        "{{ true }}",
        "{{ range }}",
        "{{ request }}",
        "{{ query }}",
        "{{ query.items }}",
        "{{ query.a.b }}",
        "{{ request.headers }}",
        "{{ request.headers.host }}",
        "{{ request.headers.Cookie }}",
        "{{ request.headers.get }}",
        "{{ request.other }}",
        "{{ claims.email }}",
        "{{ form.a }}",
    ],
)
def test_more_than_variables(text: str) -> None:
    assert not is_native_text(text, {"name"})


def test_parameters_that_are_called_like_something_else() -> None:
    assert not is_native_text("{{ query.a }}", {"query"})
    assert not is_native_text("{{ true }}", {"true"})
    assert is_native_text("{{ path }}", {"path"})


def rule_paths(app: EdgeApp) -> list[str]:
    return [route.path[1] for route in app.plan_rules().routes]


@pytest.mark.parametrize(
    ("body", "native"),
    [
        ({"a": [1, 1.5, None, True, "{{ x }}"]}, True),
        ([{"a": "{{ x | upper }}"}], False),
        (1 << 64, False),
        (-(1 << 63), True),
        ((1 << 64) - 1, True),
    ],
)
def test_json(body: Any, native: bool) -> None:
    app = EdgeApp()
    app.rules.json("/{x}", body)
    assert bool(rule_paths(app)) is native


def test_answers_without_content() -> None:
    app = EdgeApp()
    app.rules.json("/json", {}, status=204)
    app.rules.text("/text", "", status=204)
    app.rules.text("/reset", "", status=205)
    assert rule_paths(app) == ["/text"]


def test_files_that_are_not_there_yet(tmp_path: Path) -> None:
    app = EdgeApp()
    app.rules.file("/file", tmp_path / "file")
    app.rules.files("/folder", tmp_path / "folder")
    app.rules.files("/other", tmp_path, index=["sub/index.html"])
    assert rule_paths(app) == []
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert rule_paths(app) == ["/file", "/folder"]


def test_pages_are_python_s(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ path }}")
    app = EdgeApp(templates_dir=tmp_path)
    app.rules.template("/page", "page.html")
    assert rule_paths(app) == []


def test_fields() -> None:
    app = EdgeApp().with_headers({"x-path": "{{ path }}"})
    assert app.rules.only_in_python == ""
    app.with_headers({"x-upper": "{{ path | upper }}"})
    assert app.rules.only_in_python.startswith("'{{ path | upper }}' of a header field")


def test_a_scope_that_says_so_is_a_scope_of_its_own() -> None:
    """What is said of a connection is shared by applications of which the server does not know the rules."""
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(scope)

    facts = {"group": "X25519MLKEM768"}
    scope = {"type": "http", "extensions": {"velocity": facts, "tls": {}}}
    nothing: Any = None

    async def ask() -> None:
        await enforced(app)(scope, nothing, nothing)
        await enforced(app)({"type": "http"}, nothing, nothing)

    asyncio.run(ask())
    assert heard[0]["extensions"] == {"velocity": {"group": "X25519MLKEM768", "rules": True}, "tls": {}}
    assert heard[1]["extensions"] == {"velocity": {"rules": True}}
    assert facts == {"group": "X25519MLKEM768"}
