"""Values as people type them: what is understood, and what is refused with which hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.config import values
from velocity.config.values import BadValueError
from velocity.errors import ConfigError

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:4433", "127.0.0.1:4433"),
        (":443", "0.0.0.0:443"),
        ("[::]:443", "[::]:443"),
        ("[0:0:0:0:0:0:0:1]:0", "[::1]:0"),
        (" localhost:08080 ", "localhost:8080"),
        ("Bücher.example:1", "xn--bcher-kva.example:1"),
    ],
)
def test_listen(text: str, expected: str) -> None:
    assert values.parse_listen(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "443", "localhost", "localhost:", "localhost:x", "h:65536", "::1:443", "[::1]", "[zz]:1", "1.2.3:4", "h:-1",
     "h:²", "a b:1", "*.a.example:1", "h:٣", "h:" + "9" * 5000],
)  # fmt: skip
def test_listen_refuses(text: str) -> None:
    with pytest.raises(BadValueError) as caught:
        values.parse_listen(text)
    assert caught.value.hint


@given(st.ip_addresses(), st.integers(0, 65535))
def test_listen_round_trip(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    text = f"[{address}]:{port}" if address.version == 6 and "%" not in str(address) else f"{address}:{port}"
    assert values.parse_listen(text) == text
    assert values.parse_listen(values.parse_listen(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("velocity/1,h3", ("velocity/1", "h3")),
        (" H2 , h1 ", ("h2", "http/1.1")),
        ("http/1.1", ("http/1.1",)),
        (["h3", "h2,h1"], ("h3", "h2", "http/1.1")),
    ],
)
def test_alpn(text: str | list[str], expected: tuple[str, ...]) -> None:
    assert values.parse_alpn(text) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "known are"),
        (",", "known are"),
        ("velocty/1", "did you mean velocity/1?"),
        ("spdy/3", "known are velocity/1, h3, h2, http/1.1"),
        ("h1,http/1.1", "once"),
    ],
)
def test_alpn_refuses(text: str, hint: str) -> None:
    with pytest.raises(BadValueError) as caught:
        values.parse_alpn(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [("light", "light"), ("Turbo", "light"), ("balanced", "balanced"), ("secure", "secure"), ("fortress", "secure")],
)
def test_profile(text: str, expected: str) -> None:
    assert values.parse_profile(text) == expected


def test_profile_refuses() -> None:
    with pytest.raises(BadValueError) as caught:
        values.parse_profile("balnced")
    assert caught.value.hint == "did you mean balanced?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.COM.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.example.com", "*.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("localhost", "localhost"),
        ("under_score.example", "under_score.example"),
    ],
)
def test_domain(text: str, expected: str) -> None:
    assert values.parse_domain(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "-a.example", "a b", "https://example.com", "example.com/x", "*", "*.com", "a" * 64, "a." * 130,
     "1.2.3.4.5", "127.0.0.256", "fe80::1%eth0", "a\nb", "example.com.."],
)  # fmt: skip
def test_domain_refuses(text: str) -> None:
    with pytest.raises(BadValueError):
        values.parse_domain(text)


ANYTHING = st.text(st.characters(exclude_categories=()))
"""Lone surrogates too: Python makes them of command lines that are not UTF-8."""
LIKELY = st.text("0123456789abcx.:[]*-_%, /\udc80ü", max_size=20)


@pytest.mark.parametrize(
    "parse",
    [values.parse_listen, values.parse_alpn, values.parse_profile, values.parse_domain],
    ids=lambda f: f.__name__,
)
@given(text=ANYTHING | LIKELY)
def test_understood_or_refused_and_nothing_else(parse: Callable[[str], object], text: str) -> None:
    try:
        found = parse(text)
    except BadValueError:
        return
    if isinstance(found, str):
        found.encode()  # fit for a Plan
        assert parse(found) == found


def test_usage_names_the_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        values.usage("--profile", values.parse_profile, "paranoid")
    assert caught.value.message.startswith("--profile: ")
    assert caught.value.exit_code == 2
    assert caught.value.hint
