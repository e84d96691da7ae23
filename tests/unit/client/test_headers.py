"""Header fields: names without case, several of a name, and nothing that could split a message."""

from __future__ import annotations

import pytest

from velocity.client.exceptions import LocalProtocolError
from velocity.client.headers import Headers


def test_names_know_no_case() -> None:
    headers = Headers({"Content-Type": "text/plain", "X-A": "1"})
    assert headers["content-type"] == headers["CONTENT-TYPE"] == "text/plain"
    assert "x-a" in headers
    assert "x-b" not in headers
    assert 7 not in headers  # type: ignore[comparison-overlap]
    assert headers.get("x-b") is None
    assert headers.get("x-b", "z") == "z"
    with pytest.raises(KeyError):
        headers["x-b"]


def test_several_of_a_name() -> None:
    headers = Headers([("a", "1"), ("b", "2"), ("A", "3, 4")])
    assert headers["a"] == "1, 3, 4"
    assert headers.get_list("a") == ["1", "3, 4"]
    assert headers.get_list("a", split_commas=True) == ["1", "3", "4"]
    assert list(headers) == ["a", "b"]
    assert len(headers) == 2
    assert dict(headers.items()) == {"a": "1, 3, 4", "b": "2"}
    assert headers.multi_items() == [("a", "1"), ("b", "2"), ("a", "3, 4")]
    assert headers.raw == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3, 4")]


def test_changes() -> None:
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])
    headers["A"] = "4"
    assert headers.multi_items() == [("a", "4"), ("b", "2")]
    headers.add("a", "5")
    headers.update({"b": "6", "c": "7"})
    assert headers.multi_items() == [("a", "4"), ("a", "5"), ("b", "6"), ("c", "7")]
    del headers["a"]
    assert headers.multi_items() == [("b", "6"), ("c", "7")]
    with pytest.raises(KeyError):
        del headers["a"]
    assert headers.setdefault("b", "9") == "6"


def test_copies_are_independent() -> None:
    one = Headers({"a": "1"})
    two = one.copy()
    three = Headers(one)
    two["a"] = "2"
    three.add("b", "3")
    assert one.multi_items() == [("a", "1")]


def test_equality() -> None:
    assert Headers({"A": "1", "b": "2"}) == Headers([("b", "2"), ("a", "1")]) == {"a": "1", "B": "2"}
    assert Headers({"a": "1"}) != Headers({"a": "2"})
    assert Headers({"a": "1"}) != 7


def test_secrets_are_not_shown() -> None:
    shown = repr(Headers({"authorization": "Basic secret", "a": "b"}))
    assert "secret" not in shown.replace("[secure]", "")
    assert "'a': 'b'" in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("a b", "c"), ("", "c"), ("a:", "c"), ("ä", "c"), ("a", "b\r\nc: d"), ("a", "b\nc"), ("a", "\0"), ("a", "\u20ac")],
)
def test_what_is_no_field(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Headers({name: value})
    assert caught.value.code == "HEADERS_INVALID"


def test_bytes_and_latin1() -> None:
    headers = Headers({b"A": b"\xe4"})
    assert headers["a"] == "\xe4"
    assert headers.raw == [(b"a", b"\xe4")]
    with pytest.raises(TypeError):
        Headers({"a": 7})  # type: ignore[arg-type]
