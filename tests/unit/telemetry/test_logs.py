"""From flags to the logger of the core."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from velocity import _core
from velocity.telemetry import logs


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(_core, "configure_logging", lambda *call: calls.append(call))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return calls


@pytest.mark.parametrize(
    ("terminal", "wanted", "expected"),
    [
        (True, None, ("text", 1, True)),
        (False, None, ("json", 1, False)),
        (True, "json", ("json", 1, True)),
        (False, "text", ("text", 1, False)),
    ],
)
def test_format(
    configured: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    wanted: Literal["json", "text"] | None,
    expected: tuple[Any, ...],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    logs.configure(wanted, 0)
    assert configured == [expected]


def test_no_color(configured: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    logs.configure("text", 3)
    assert configured == [("text", 4, False)]


def test_log(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(_core, "log", lambda *call: calls.append(call))
    logs.log("warn", "aborted", "a sentence", requests=3)
    assert calls == [("warn", "velocity::server", "aborted", "a sentence", {"requests": 3})]
