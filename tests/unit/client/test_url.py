"""Where a URL leads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.client.url import parse_authority, parse_url
from velocity.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com", ("example.com", 443, "/")),
        ("https://example.com:4433/a/b?c=d&e", ("example.com", 4433, "/a/b?c=d&e")),
        ("HTTPS://[::1]:8443/", ("::1", 8443, "/")),
        ("example.com/x", ("example.com", 443, "/x")),
        ("https://h/a b?c d", ("h", 443, "/a%20b?c%20d")),
        ("https://h/%20%zz", ("h", 443, "/%20%zz")),
        ("https://h/ü#part", ("h", 443, "/%C3%BC")),
        ("https://bücher.example/", ("xn--bcher-kva.example", 443, "/")),
    ],
)
def test_url(text: str, expected: tuple[str, int, str]) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "http://h/",
        "ftp://h/",
        "https://h:99999/",
        "https://h:x/",
        "https://[::1/",
        "https://u@h/",
        "not a url",
        "https://a b/",
        "https://*.example.com/x",
        "https://1.2.3.4.5/",
    ],
)
def test_url_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(text)
    assert caught.value.code == "URL_INVALID"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", ("localhost", 443)),
        ("localhost:4433", ("localhost", 4433)),
        ("[::1]:4433", ("::1", 4433)),
        ("::1", ("::1", 443)),
        ("https://example.com:1/", ("example.com", 1)),
    ],
)
def test_authority(text: str, expected: tuple[str, int]) -> None:
    assert parse_authority(text) == expected


def test_bytes_that_are_no_utf8_stay_what_they_are() -> None:
    assert parse_url("https://h/\udcff?\udc80").path == "/%FF?%80"


@given(
    st.text(st.characters(exclude_categories=()))
    | st.text("htps:/[]@?#%.*x1\udc80\ud800ü \r\n").map("https://h".__add__)
)
def test_nothing_but_config_errors(text: str) -> None:
    try:
        target = parse_url(text)
    except ConfigError:
        return
    assert target.path.startswith("/")
    assert target.path.isascii()
    assert not any(c in target.path for c in " \r\n\t\0")
