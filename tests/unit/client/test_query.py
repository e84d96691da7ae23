"""Queries as names and values."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.client.query import QueryParams

PAIRS = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5)


def test_values() -> None:
    params = QueryParams([("a", "1"), ("b", 2), ("a", True)])
    assert params["a"] == "1"
    assert params.get_list("a") == ["1", "true"]
    assert params.multi_items() == [("a", "1"), ("a", "true"), ("b", "2")]
    assert str(params) == "a=1&a=true&b=2"
    assert dict(params) == {"a": "1", "b": "2"}
    assert params.get("z") is None
    assert len(params) == 2
    assert "a" in params
    with pytest.raises(KeyError):
        params["z"]


def test_new_ones() -> None:
    params = QueryParams("a=1&b=2")
    assert str(params.set("a", 3)) == "a=3&b=2"
    assert str(params.add("a", 3)) == "a=1&a=3&b=2"
    assert str(params.remove("a")) == "b=2"
    assert str(params.merge({"b": "x y", "c": "&"})) == "a=1&b=x+y&c=%26"
    assert str(params) == "a=1&b=2"
    assert params == QueryParams("b=2&a=1")
    assert params != "a=1&b=2"


@given(PAIRS)
def test_there_and_back(pairs: list[tuple[str, str]]) -> None:
    params = QueryParams(pairs)
    assert sorted(QueryParams(str(params)).multi_items()) == sorted(pairs)


@given(PAIRS)
def test_as_httpx_reads_it(pairs: list[tuple[str, str]]) -> None:
    assert sorted(httpx.QueryParams(str(QueryParams(pairs))).multi_items()) == sorted(pairs)
