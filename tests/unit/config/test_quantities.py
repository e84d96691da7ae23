"""Durations, sizes, networks, paths and their like: what they are, and what is wrong with others."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.config import quantities as q
from velocity.config.values import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("5s", 5_000), ("250ms", 250), ("2m", 120_000), ("24h", 86_400_000), ("7d", 604_800_000), ("1w", 604_800_000),
     ("1h30m", 5_400_000), ("0.5s", 500), (" 5 S ", 5_000), ("0s", 0), (0, 0)],
)  # fmt: skip
def test_durations(text: Any, milliseconds: int) -> None:
    assert q.parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", 5, 1.5, True, None, [], "s", "5x", "-5s", "5s5", "11000w", "9" * 20 + "s", "5s " * 9 + "!"]
)
def test_no_durations(text: Any) -> None:
    with pytest.raises(BadValueError) as caught:
        q.parse_duration(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), (1024, 1024), ("64k", 65_536), ("10MiB", 10 << 20), ("10MB", 10 << 20), ("1G", 1 << 30), ("12 b", 12)],
)
def test_sizes(text: Any, size: int) -> None:
    assert q.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5M", "1X", True, None, "9" * 15 + "T", 1.5])
def test_no_sizes(text: Any) -> None:
    with pytest.raises(BadValueError):
        q.parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/", (None, "/")),
        ("/a/b", (None, "/a/b")),
        ("/a/*", ("prefix", "/a")),
        ("/*", ("prefix", "/")),
        ("/a/{id}", ("pattern", "/a/{id}")),
        ("/a/{id}/*", ("pattern", "/a/{id}/{*rest}")),
        ("/{*all}", ("pattern", "/{*all}")),
    ],
)
def test_patterns(text: str, expected: tuple[str | None, str]) -> None:
    assert q.parse_pattern(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/a?b",
        "/a#b",
        "/a b",
        "/a//b",
        "/a/../b",
        "/x{id}",
        "/{id",
        "/{*a}/b",
        "/{a}/{a}",
        "/*/a",
        "/a\\b",
        "/a\n",
    ],
)
def test_no_patterns(text: str) -> None:
    with pytest.raises(BadValueError) as caught:
        q.parse_pattern(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("https://Backend.Example/", "https://backend.example"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_upstreams(text: str, expected: str) -> None:
    assert q.parse_upstream(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:80",
        "ftp://a",
        "http://",
        "http://a/b",
        "http://a?b",
        "http://u:p@a",
        "http://a:99999",
        "http://[::1",
        "http://a b",
    ],
)
def test_no_upstreams(text: str) -> None:
    with pytest.raises(BadValueError):
        q.parse_upstream(text)


def test_networks() -> None:
    assert q.parse_network("10.1.2.3/8") == "10.0.0.0/8"
    assert q.parse_network("::1") == "::1/128"
    for text in ("", "10.0.0.0/33", "a", "10.0.0"):
        with pytest.raises(BadValueError):
            q.parse_network(text)


PARSERS: list[Callable[[str], Any]] = [
    *(q.parse_duration, q.parse_size, q.parse_network, q.parse_pattern, q.parse_upstream, q.parse_origin),
    *(
        q.parse_host,
        q.parse_method,
        q.parse_resolver,
        q.parse_field_name,
        q.parse_cookie_name,
        q.parse_field_value,
        q.parse_file_name,
    ),
]


@given(st.text(max_size=40))
def test_nothing_else_is_raised(text: str) -> None:
    for parse in PARSERS:
        with contextlib.suppress(BadValueError):
            parse(text)
