"""How the command line talks."""

from __future__ import annotations

import pytest

from velocity.cli import style


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("größe 大", "größe 大"),
        ("\x1b[2J\r\n\t", "\\x1b[2J\\r\\n\\t"),
        ("\x9b31m\u202e", "\\x9b31m\\u202e"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_moves_the_cursor(text: str, expected: str) -> None:
    assert style.plain(text) == expected


def test_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    style.error("two\nlines", "and \x07")
    assert capsys.readouterr().err == "error: two lines\nhint: and \\x07\n"


@pytest.mark.parametrize(
    ("terminal", "no_color", "painted"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_color_only_where_wanted(monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str, painted: bool) -> None:
    monkeypatch.setattr("os.isatty", lambda _: terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b" in style.bold("x")) is painted
