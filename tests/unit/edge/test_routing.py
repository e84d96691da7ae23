"""Paths to routes: what the tree finds is what the patterns say, in the order of exactness."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from velocity.edge.routing import ANY, WEBSOCKET, RouteTree, beats, pattern_segments
from velocity.errors import ConfigError


def tree(*patterns: str) -> RouteTree[str]:
    made: RouteTree[str] = RouteTree()
    for pattern in patterns:
        made.add(pattern, ("GET",), pattern, pattern)
    return made


@pytest.mark.parametrize(
    ("path", "expected", "params"),
    [
        ("/", "/", {}),
        ("/users", "/users", {}),
        ("/users/me", "/users/me", {}),
        ("/users/7", "/users/{id}", {"id": "7"}),
        ("/users/me/posts", "/users/{id}/posts", {"id": "me"}),
        ("/users/7/photos/1/2", "/users/{id}/{*rest}", {"id": "7", "rest": "photos/1/2"}),
        ("/users/7/posts/", "/users/{id}/{*rest}", {"id": "7", "rest": "posts/"}),
        ("/users/", None, {}),
        ("/users//posts", None, {}),
        ("/nothing", None, {}),
        ("/Users", None, {}),
        ("/files/ä b", "/files/{name}", {"name": "ä b"}),
    ],
)
def test_the_most_exact_answers(path: str, expected: str | None, params: dict[str, str]) -> None:
    patterns = ["/users/{id}/{*rest}", "/users/{id}/posts", "/", "/users/{id}", "/users/me", "/users", "/files/{name}"]
    for order in (patterns, patterns[::-1]):
        found = tree(*order).find(path, "GET")
        assert (found.route, found.params) == (expected, params)


def test_methods() -> None:
    made: RouteTree[int] = RouteTree()
    made.add("/a/{x}", ("GET",), 1, "one")
    made.add("/a/b", ("POST",), 2, "two")
    made.add("/ws", (WEBSOCKET,), 3, "three")
    made.add("/any/{*rest}", (ANY,), 4, "four")
    assert made.find("/a/b", "POST").route == 2
    assert made.find("/a/b", "GET").params == {"x": "b"}  # the more exact one has no GET
    assert made.find("/a/b", "HEAD").route == 1
    assert made.find("/a/b", "PUT").allowed == ("GET", "HEAD", "OPTIONS", "POST")
    assert made.find("/ws", "GET") == (None, {}, ())
    assert made.find("/any/x", "PURGE").route == 4


def test_two_routes_for_the_same_requests_are_told_apart_by_their_places() -> None:
    made = tree("/a/{x}")
    with pytest.raises(ConfigError, match=r"GET /a/\{y\} is there twice: /a/\{x\} and here\.py:3") as caught:
        made.add("/a/{y}", ("GET",), "", "here.py:3")
    assert caught.value.code == "ROUTE_DUPLICATE"


@pytest.mark.parametrize("pattern", ["a", "/a b", "/{a}{b}", "/{*rest}/a", "/{a}/{a}", "/a/../b", "/{1a}", ""])
def test_no_patterns(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pattern_segments(pattern)
    assert caught.value.code == "PATH_INVALID"


@pytest.mark.parametrize(
    ("path", "other"),
    [("/a/", "/a"), ("/b", "/b/"), ("//evil.example/", None), ("/", None), ("/none/", None)],
)
def test_the_other_slash(path: str, other: str | None) -> None:
    assert tree("/a", "/b/", "/{x}/{y}/{z}").other_slash(path, "GET") == other


def test_the_other_slash_never_leads_to_another_host() -> None:
    assert tree("/{*rest}").other_slash("//evil.example/", "GET") in (None, "/evil.example")


def test_endless_paths_are_not_looked_at() -> None:
    assert tree("/{*rest}").find("/a" * 300, "GET").route is None
    assert tree("/{*rest}").find("/a" * 200, "GET").route == "/{*rest}"


# --- against a definition by regular expressions ---

SEGMENTS = st.sampled_from(["a", "b", "{x}"])
PATTERNS = st.builds(
    lambda parts, end: "/" + "/".join([*(f"{{x{at}}}" if one == "{x}" else one for at, one in enumerate(parts)), *end]),
    st.lists(SEGMENTS, max_size=3),
    st.sampled_from([[], [""], ["{*rest}"]]),
).filter(lambda pattern: "//" not in pattern)
PATHS = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def regex(pattern: str) -> re.Pattern[str]:
    text = re.sub(r"\{\*\w+\}", "(?!$).+", pattern)
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", text))


def rank(pattern: str) -> list[int]:
    return [2 if one.startswith("{*") else 1 if one.startswith("{") else 0 for one in pattern_segments(pattern)]


@given(st.lists(PATTERNS, max_size=6, unique_by=lambda pattern: re.sub(r"\{(\*?)\w+\}", r"{\1}", pattern)), PATHS)
def test_it_finds_what_the_patterns_say(patterns: list[str], path: str) -> None:
    matching = [pattern for pattern in patterns if regex(pattern).fullmatch(path)]
    expected = min(matching, key=rank) if matching else None
    assert tree(*patterns).find(path, "GET").route == expected


EVERY_PATH = [
    "/" + "/".join(parts) for size in (1, 2, 3, 4) for parts in itertools.product(["a", "b", "c", ""], repeat=size)
]


@example("/a/", "/{x0}/{*rest}")
@given(PATTERNS, PATTERNS)
def test_who_beats_whom(one: str, other: str) -> None:
    """A pattern beats another if there is a path that it takes from it."""
    if rank(one) == rank(other) and regex(one) == regex(other):
        return
    taken = any(
        regex(one).fullmatch(path) and regex(other).fullmatch(path) and tree(one, other).find(path, "GET").route == one
        for path in EVERY_PATH
    )
    assert beats(pattern_segments(one), pattern_segments(other)) == taken
