"""Rules of applications in the Plan: at the place of the application, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from velocity.config.embedding import AppRules, compile_rules, embed, homeless
from velocity.config.plan import Plan
from velocity.edge import EdgeApp

if TYPE_CHECKING:
    from pathlib import Path

APP = "main:app"


def plan(*routes: dict[str, Any], **more: Any) -> Plan:
    return Plan.model_validate(
        {
            "listeners": [{"address": "127.0.0.1:0", "alpn": ["h2"]}],
            "tls": {"certificates": [{"chain_file": "c", "key_file": "k"}]},
            "sites": [{"routes": routes}],
            **more,
        }
    )


def mount(path: str = "/", root: str = "", app: str = APP, kind: str = "prefix", **more: Any) -> dict[str, Any]:
    handler = {"kind": "python", "app": app, "root_path": root, **more.pop("handler", {})}
    return {"name": f"at {path}", "match": {"kind": kind, "value": path}, "handler": handler, **more}


def rules(*paths: str, methods: list[str] | None = None) -> AppRules:
    app = EdgeApp().with_rate_limit(5).with_headers({"x-a": "b"})
    for path in paths:
        app.rules.text(path, path, methods=methods or ["GET"])
    return compile_rules(app.plan_rules())


def places(made: Plan) -> list[str]:
    """Of everything that is answered, in order."""
    return [f"{route.match.kind} {route.match.value}" for route in made.sites[0].routes]


def test_in_front_of_the_application() -> None:
    made = embed(plan(mount()), {APP: rules("/a", "/b/{x}", "/c/*", "/")})
    assert places(made) == ["exact /a", "exact /", "pattern /b/{x}", "prefix /c", "prefix /"]
    assert [route.filters for route in made.sites[0].routes] == [(0, 1, 2)] * 5
    assert [one.kind for one in made.filters] == ["headers", "headers", "rate_limit"]
    assert made.sites[0].routes[1].name == "at /.rules[1]"


def test_below_a_root_path() -> None:
    made = embed(plan(mount("/x", "/x"), mount()), {APP: rules("/a", "/", "/c/*")})
    assert places(made)[:5] == ["exact /x/a", "exact /x", "exact /x/", "prefix /x/c", "prefix /x"]
    only = embed(plan(mount("/x", "/x")), {APP: rules("/*")})
    assert places(only) == ["prefix /x", "prefix /x"]
    deeper = embed(plan(mount("/x/y", "/x")), {APP: rules("/y/a", "/y", "/a", "/yes", "/{z}/a", "/*")})
    assert places(deeper) == ["exact /x/y", "exact /x/y/a", "prefix /x/y"]


def test_without_a_root_path_only_what_is_there() -> None:
    made = embed(plan(mount("/x")), {APP: rules("/a", "/x", "/x/{y}", "/xx", "/{*rest}")})
    assert places(made) == ["exact /x", "pattern /x/{y}", "prefix /x"]


def test_files_lie_below_the_root_path(tmp_path: Path) -> None:
    app = EdgeApp()
    app.rules.files("/static", tmp_path)
    made = embed(plan(mount("/x", "/x")), {APP: compile_rules(app.plan_rules())})
    handler: Any = made.sites[0].routes[0].handler
    assert (places(made)[0], handler.strip_prefix) == ("prefix /x/static", "/x/static")


def test_methods() -> None:
    def methods(of: list[str], rule: list[str]) -> list[tuple[str, ...]]:
        made = embed(plan(mount(methods=of)), {APP: rules("/a", methods=rule)})
        return [route.methods for route in made.sites[0].routes[:-1]]

    assert methods([], ["GET"]) == [("GET",)]
    assert methods(["POST"], ["GET"]) == []
    assert methods(["GET", "POST"], ["POST", "PUT"]) == [("POST",)]
    assert methods(["HEAD"], ["GET"]) == [("HEAD",)]
    assert methods(["GET"], ["HEAD"]) == [("HEAD",)]
    assert methods(["GET"], ["GET"]) == [("GET", "HEAD")]


def test_filters_come_after_those_of_the_site() -> None:
    made = embed(
        plan(
            mount("/x", filters=[0]),
            mount("/y", app="other:app"),
            mount("/z"),
            filters=[{"kind": "request_size", "max_bytes": 1}],
        ),
        {APP: rules(), "absent:app": rules()},
    )
    assert [route.filters for route in made.sites[0].routes] == [(0, 1, 2, 3), (), (1, 2, 3)]


def test_a_pattern_has_filters_only() -> None:
    made = embed(plan(mount("/x/{y}", kind="pattern")), {APP: rules("/x/a")})
    assert [(route.match.kind, route.filters) for route in made.sites[0].routes] == [("pattern", (0, 1, 2))]


@pytest.mark.parametrize(
    ("one", "has_room"),
    [
        (mount(), True),
        (mount("/x", "/x"), True),
        (mount("/x/y", "/x"), True),
        (mount("/", "/x"), False),
        (mount("/xy", "/x"), False),
        (mount(handler={"files": {"kind": "files", "root": "/f"}}), False),
    ],
)
def test_where_they_have_no_place(one: dict[str, Any], has_room: bool) -> None:
    assert homeless(plan(mount("/z"), one)) == (frozenset() if has_room else {APP})


def test_what_a_worker_tells_is_what_it_has(tmp_path: Path) -> None:
    app = EdgeApp().with_rate_limit(5, per="1500ms", key="header:X-Key").with_waf(rules=["a"]).with_headers({"x": "y"})
    app.rules.json("/j/{x}", {"a": [1, None, "{{ x }}"]})
    app.rules.files("/f", tmp_path)
    app.rules.redirect("/r", "/{{ path }}")
    made = compile_rules(app.plan_rules())
    assert AppRules.model_validate(made.model_dump(mode="json")) == made
    assert len(made) == 7


def test_rules_of_nothing() -> None:
    made = compile_rules(EdgeApp().with_security_headers(False).plan_rules())
    assert len(made) == 0
    assert embed(plan(mount()), {APP: made}) == plan(mount())
