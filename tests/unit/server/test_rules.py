"""The Plan with the rules of applications, while both change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from velocity.config.embedding import AppRules
from velocity.config.plan import Plan
from velocity.edge import EdgeApp
from velocity.errors import ConfigError
from velocity.server.rules import RuleBook, take
from velocity.telemetry import logs


class FakeEngine:
    def __init__(self) -> None:
        self.filters: list[list[str]] = []
        self.refuses = False

    def reload(self, plan: str) -> None:
        if self.refuses:
            raise ConfigError("REFUSED", "no")
        self.filters.append([one["kind"] for one in json.loads(plan)["filters"]])


def plan(root: str = "", size: int = 1) -> str:
    handler = {"kind": "python", "app": "main:app", "root_path": root}
    return Plan.model_validate(
        {
            "listeners": [{"address": "127.0.0.1:0", "alpn": ["h2"]}],
            "tls": {"certificates": [{"chain_file": "c", "key_file": "k"}]},
            "sites": [{"routes": [{"name": "r", "match": {"kind": "prefix", "value": "/"}, "handler": handler}]}],
            "filters": [{"kind": "request_size", "max_bytes": size}],
        }
    ).to_json()


LIMIT = AppRules.model_validate({"filters": [{"kind": "rate_limit", "limit": 1, "window_ms": 1}]})


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def book(engine: Any) -> RuleBook:
    made = RuleBook(plan())
    made.put("main:app", LIMIT)
    assert made.start(lambda _: engine) is engine
    return made


def test_without_rules_the_plan_is_as_it_was() -> None:
    text = plan()
    assert RuleBook(text).plan is text


def test_rules_change(book: RuleBook, engine: FakeEngine) -> None:
    assert [one["kind"] for one in json.loads(book.plan)["filters"]] == ["request_size", "rate_limit"]
    book.put("main:app", LIMIT)
    assert engine.filters == [], "nothing has changed"
    book.put("main:app", None)
    book.put("main:app", LIMIT)
    assert engine.filters == [["request_size"], ["request_size", "rate_limit"]]


def test_the_plan_changes_and_the_rules_stay(book: RuleBook, engine: FakeEngine) -> None:
    book.reload(plan(size=2))
    assert engine.filters == [["request_size", "rate_limit"]]
    assert json.loads(book.plan)["filters"][0]["max_bytes"] == 2


def test_what_is_refused_has_no_effect(book: RuleBook, engine: FakeEngine) -> None:
    engine.refuses = True
    before = book.plan
    with pytest.raises(ConfigError, match="no"):
        book.reload(plan(size=2))
    with pytest.raises(ConfigError, match="no"):
        book.put("main:app", None)
    assert book.plan == before


def test_a_plan_without_a_place_for_them(book: RuleBook, engine: FakeEngine) -> None:
    with pytest.raises(ConfigError) as caught:
        book.reload(plan(root="/x"))
    assert (caught.value.code, engine.filters) == ("RULES_MOVED", [])
    assert book.accepts("main:app")
    assert not RuleBook(plan(root="/x")).accepts("main:app")


def test_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logs, "log", lambda level, event, text, **_: said.append(text))

    class Own(EdgeApp):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def plain(scope: Any, receive: Any, send: Any) -> None: ...

    for other in (plain, Own()):
        assert take(other, "main:app", accepted=True) == (other, None)
    assert said == []
    app = EdgeApp().with_rate_limit(5)
    assert take(app, "main:app", accepted=False) == (app, None)
    assert "run in Python: files or a root path" in said.pop()
    taken = take(app, "main:app", accepted=True)
    assert taken.rules is not None
    assert [one.kind for one in taken.rules.filters] == ["headers", "rate_limit"]
    assert taken.application is not app
