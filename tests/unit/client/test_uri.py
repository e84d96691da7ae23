"""URLs: taken apart, put together, joined as RFC 3986 has it."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.client.exceptions import InvalidURL
from velocity.client.query import QueryParams
from velocity.client.uri import URL


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/a?b=c#d", "https://example.com/a?b=c"),
        ("https://user:p%40ss@h:8443/", "https://h:8443/"),
        ("https://[::1]:4433/x", "https://[::1]:4433/x"),
        ("https://h/a b?c d", "https://h/a%20b?c%20d"),
        ("https://h/%20%zz", "https://h/%20%25zz"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://h/a/../b/./c", "https://h/b/c"),
        ("https://h?", "https://h/?"),
        ("http://my_host/", "http://my_host/"),
    ],
)
def test_as_it_is_sent(text: str, wire: str) -> None:
    assert URL(text).wire == wire


def test_parts() -> None:
    url = URL("https://us%65r:pa%3Ass@Example.com:8443/a%2Fb/c?x=1&y=%20#frag%20ment")
    assert (url.scheme, url.host, url.port, url.netloc) == ("https", "example.com", 8443, b"example.com:8443")
    assert (url.username, url.password, url.path) == ("user", "pa:ss", "/a/b/c")
    assert url.raw_path == b"/a%2Fb/c?x=1&y=%20"
    assert (url.query, url.fragment) == (b"x=1&y=%20", "frag ment")
    assert url.params == QueryParams({"x": "1", "y": " "})
    assert "pa" not in repr(url).replace("[secure]", "").replace("frag", "")
    assert url.is_absolute_url
    assert not url.is_relative_url


@pytest.mark.parametrize(
    "text",
    ["https://h:99999/", "https://h:x/", "https://[::1/", "https://h\n/", "https://" + "a" * 70_000, "https://u@/"],
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        URL(text)
    assert caught.value.code == "URL_INVALID"


@pytest.mark.parametrize(
    "text", ["https://u:secret@h:x/", "https://u:secret@/", "https://u:secret@h\n/", "//u:secret@a b/"]
)
def test_passwords_are_not_told(text: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        URL(text)
    assert "secret" not in str(caught.value).replace("[secure]", "")


# RFC 3986 section 5.4, the normal and the abnormal examples that concern hierarchical schemes.
JOINS = {
    "g": "http://a/b/c/g", "./g": "http://a/b/c/g", "g/": "http://a/b/c/g/", "/g": "http://a/g", "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y", "g?y": "http://a/b/c/g?y", "#s": "http://a/b/c/d;p?q#s", "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s", ";x": "http://a/b/c/;x", "": "http://a/b/c/d;p?q", ".": "http://a/b/c/",
    "./": "http://a/b/c/", "..": "http://a/b/", "../g": "http://a/b/g", "../..": "http://a/", "../../g": "http://a/g",
    "../../../g": "http://a/g", "/./g": "http://a/g", "/../g": "http://a/g", "g.": "http://a/b/c/g.",
    "..g": "http://a/b/c/..g", "./../g": "http://a/b/g", "./g/.": "http://a/b/c/g/", "g/../h": "http://a/b/c/h",
}  # fmt: skip


@pytest.mark.parametrize(("reference", "expected"), JOINS.items())
def test_join(reference: str, expected: str) -> None:
    assert str(URL("http://a/b/c/d;p?q").join(reference)) == expected


def test_copies() -> None:
    url = URL("https://h/a?b=1")
    assert str(url.copy_with(path="/x y")) == "https://h/x%20y?b=1"
    assert str(url.copy_with(query=None)) == "https://h/a"
    assert str(url.copy_with(port=8443, scheme="http")) == "http://h:8443/a?b=1"
    assert str(url.copy_with(username="u", password="p@")) == "https://u:p%40@h/a?b=1"
    assert str(url.copy_merge_params({"b": "2", "c": "3"})) == "https://h/a?b=2&c=3"
    assert str(url.copy_add_param("b", "2")) == "https://h/a?b=1&b=2"
    assert str(url.copy_set_param("b", "2")) == "https://h/a?b=2"
    assert str(url.copy_remove_param("b")) == "https://h/a"
    assert str(URL("https://h/", params={"a": [1, None], "b": True})) == "https://h/?a=1&a=&b=true"
    assert url == "https://h/a?b=1"
    assert hash(url) == hash(URL("https://h/a?b=1"))
    with pytest.raises(TypeError, match="nothing"):
        url.copy_with(nothing=1)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_an_error(text: str) -> None:
    try:
        url = URL(f"https://h/{text}")
    except InvalidURL:
        return
    assert url.wire.isascii()
    assert not set(url.wire) & set(' \r\n\t"<>')
    assert URL(url.wire).wire == url.wire


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a/b?c=d&e=f#g", "http://h:8080/", "https://u:p@h/",
        "/relative?x=1", "https://h/a%2Fb", "//h/x",
        "https://h/?q=a+b", "https://h/ü?ü=ü",
    ],
)  # fmt: skip
def test_as_httpx_has_it(text: str) -> None:
    ours, theirs = URL(text), httpx.URL(text)
    for name in ("scheme", "host", "port", "netloc", "path", "raw_path", "query", "fragment", "username", "password"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert str(ours) == str(theirs)
