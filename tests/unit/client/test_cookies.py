"""Cookies: whose they are, where they go, and where not."""

from __future__ import annotations

import pytest

from velocity.client.cookies import Cookies
from velocity.client.exceptions import CookieConflict
from velocity.client.requests import Request
from velocity.client.responses import Response


def after(url: str, *lines: str) -> Cookies:
    """What is kept of an answer."""
    cookies = Cookies()
    cookies.extract_cookies(
        Response(200, headers=[("set-cookie", line) for line in lines], request=Request("GET", url))
    )
    return cookies


def sent(cookies: Cookies, url: str) -> str | None:
    request = Request("GET", url)
    cookies.set_cookie_header(request)
    return request.headers.get("cookie")


def test_they_go_back_to_their_host() -> None:
    cookies = after("https://example.com/", "a=1", "b=2; Path=/x")
    assert sent(cookies, "https://example.com/") == "a=1"
    assert sent(cookies, "https://example.com/x/y") == "b=2; a=1"
    assert sent(cookies, "https://other.example/") is None
    assert sent(cookies, "https://sub.example.com/") is None


def test_domains() -> None:
    cookies = after("https://www.example.com/", "a=1; Domain=example.com")
    assert sent(cookies, "https://other.example.com/") == "a=1"
    assert sent(cookies, "https://notexample.com/") is None


@pytest.mark.parametrize(
    ("host", "domain"),
    [("a.co.uk", "co.uk"), ("a.github.io", "github.io"), ("a.com", "com"), ("a.example.com", "b.example.com")],
)
def test_not_for_everybody_below(host: str, domain: str) -> None:
    assert not after(f"https://{host}/", f"a=1; Domain={domain}")


def test_secure_ones() -> None:
    cookies = after("https://example.com/", "a=1; Secure")
    assert sent(cookies, "https://example.com/") == "a=1"
    assert sent(cookies, "http://example.com/") is None
    assert not after("http://example.com/", "a=1; Secure")


def test_they_end() -> None:
    assert not after("https://h.example/", "a=1; Max-Age=0")
    assert not after("https://h.example/", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert after("https://h.example/", "a=1; Max-Age=60")["a"] == "1"


def test_floods_are_bounded() -> None:
    assert not after("https://h.example/", f"a={'x' * 10_000}")
    assert len(after("https://h.example/", *(f"c{number}=1" for number in range(500)))) <= 50


def test_as_a_mapping() -> None:
    cookies = Cookies({"a": "1"})
    cookies["b"] = "2"
    cookies.set("c", "3", domain="example.com", path="/p")
    assert dict(cookies) == {"a": "1", "b": "2", "c": "3"}
    assert cookies.get("c", domain="other") is None
    cookies.set("c", "4", domain="example.org")
    with pytest.raises(CookieConflict):
        cookies["c"]
    assert cookies.get("c", domain="example.org") == "4"
    del cookies["a"]
    with pytest.raises(KeyError):
        del cookies["a"]
    cookies.update({"d": "5"})
    assert len(cookies) == 4
    cookies.clear("example.org")
    assert cookies["c"] == "3"
    cookies.clear()
    assert not cookies
