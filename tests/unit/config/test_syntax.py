"""Text to values and places: the quick way and the careful one agree, and nothing crashes either."""

from __future__ import annotations

import contextlib
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from velocity.config import syntax
from velocity.config.indentation import straighten
from velocity.config.syntax import NotReadableError, marks, parse

WORDS = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        ["no", "on", "~", "null", "12:30", "1_000", "0o17", "0x1f", "1e3", ".5", "2024-01-01", "- a", "a: b"]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


def careful(text: str) -> object:
    return syntax._Events(text).read()


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_what_was_written_is_read(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False), "json") == value
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse(text, "yaml") == careful(text)


@given(st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_no_text_crashes_it(text: str) -> None:
    kinds: tuple[syntax.Kind, ...] = ("yaml", "json", "toml")
    for kind in kinds:
        place = (1, 1)
        try:
            parse(text, kind)
        except NotReadableError as error:
            place = (error.line, error.column)
        assert min(place) >= 1
        marks(text, kind)


PIECES = st.lists(
    st.sampled_from(
        ["a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", "'", '"', "&a", "*a", "!t ", "|", "1", "#", "\t", "? "]
    ),
    max_size=25,
).map("".join)


@given(PIECES)
@settings(max_examples=1000, deadline=None)
def test_both_ways_agree_wherever_the_quick_one_is_taken(text: str) -> None:
    if syntax._needs_care(text) or not syntax._is_shallow(text):
        return
    try:
        quick = syntax._parse_quickly(text)
    except syntax._NotQuickError:
        return
    with contextlib.suppress(NotReadableError):  # libyaml is stricter here and there, about nothing that matters
        assert quick == careful(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: no", "no"),
        ("a: 012", 12),
        ("a: 0o14", 12),
        ("a: 0x1F", 31),
        ("a: 12:30", "12:30"),
        ("a: 12:30:45", "12:30:45"),
        ("a: 2024-01-01", "2024-01-01"),
        ("a: 1_000", "1_000"),
        ("a: .5", 0.5),
        ("a: 1e3", 1000.0),
        ("a: ~", None),
        ("a:", None),
        ("a: 'null'", "null"),
        ("a: TRUE", True),
        ("a: !!str 5", "5"),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: >-\n  x\n  y\n", "x y"),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    assert parse(text, "yaml") == {"a": value}
    assert careful(text) == {"a": value}


def test_keys_are_text() -> None:
    assert parse("404: a\n5xx: b", "yaml") == {"404": "a", "5xx": "b"}
    assert parse("{1: {2: [{3: a}]}}", "yaml") == {"1": {"2": [{"3": "a"}]}}


@pytest.mark.parametrize("text", ["a: 1\na: 2", "{a: 1, a: 2}", "404: 1\n'404': 2", "a:\n  b: 1\n  b: 2"])
def test_keys_are_there_once(text: str) -> None:
    with pytest.raises(NotReadableError, match="is there twice"):
        parse(text, "yaml")


@pytest.mark.parametrize("text", ["{a: b}: c", "[a]: c"])
def test_blocks_are_no_keys(text: str) -> None:
    with pytest.raises(NotReadableError, match="a key has to be text"):
        parse(text, "yaml")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 200_000,
        "- " * 500_000,
        "".join(f"{' ' * n}a:\n" for n in range(2_000)),
        "? " * 100_000,
    ],
    ids=["brackets", "braces", "dashes", "indent", "questions"],
)
def test_depth_is_bounded(text: str) -> None:
    with pytest.raises(NotReadableError):
        parse(text, "yaml")


@pytest.mark.parametrize("kind", ["json", "toml"])
def test_depth_is_bounded_in_others(kind: syntax.Kind) -> None:
    text = "[" * 100_000 if kind == "json" else "a = " + "[" * 100_000
    with pytest.raises(NotReadableError):
        parse(text, kind)
    shallow = "[" * 70 + "]" * 70
    with pytest.raises(NotReadableError, match="levels"):
        parse(shallow if kind == "json" else f"a = {shallow}", kind)


def test_aliases_are_followed_and_bounded() -> None:
    assert parse("a: &x {b: 1}\nc: [*x, *x]", "yaml") == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(NotReadableError, match="too large"):
        parse("\n".join(lines), "yaml")


def test_marks() -> None:
    found = marks("a: 1\nb:\n  - c: x\n    d: y\n", "yaml")
    assert found["b", 0, "d"] == ((4, 5), (4, 8))
    assert found["a",] == ((1, 1), (1, 4))
    assert marks('{"a": [1,\n 2]}', "json")["a", 1] == ((2, 2), (2, 2))
    toml = marks("[a.b]\nc = 1\n[[d]]\ne.f = 2\n[[d]]\ne = 3\n[d.g]\nh = 4\n", "toml")
    assert toml["a", "b", "c"] == ((2, 1), (2, 5))
    assert toml["d", 0, "e", "f"] == ((4, 1), (4, 7))
    assert toml["d", 1, "e"].key == (6, 1)
    assert toml["d", 1, "g", "h"].key == (8, 1)


RAGGED = """\
s:
   - name: a
      kind: b
      list:
         - x: 1
            y: 2
   - match:
         path: /
      act: 1
"""


def test_ragged_lists_are_read_as_they_look() -> None:
    assert parse(RAGGED, "yaml") == {
        "s": [{"name": "a", "kind": "b", "list": [{"x": 1, "y": 2}]}, {"match": {"path": "/"}, "act": 1}]
    }
    found = marks(RAGGED, "yaml")
    assert found["s", 0, "name"] == ((2, 6), (2, 12))
    assert found["s", 0, "kind"] == ((3, 7), (3, 13))
    assert found["s", 1, "match", "path"].key == (8, 10)


@pytest.mark.parametrize(
    "text",
    [
        "s:\n  - a: 1\n    b: 2\n",
        "s:\n  - a:\n      b: 1\n",
        "s:\n  - |\n    - a: 1\n       b: 2\n",
        "s:\n  - x\n  - y\n",
    ],
)
def test_lists_that_are_in_order_are_left_alone(text: str) -> None:
    assert straighten(text) == (text, {})
