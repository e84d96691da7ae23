"""From a path to what answers it: a tree of segments.

Patterns are those of `edge.yaml`: `{name}` is one segment, `{*rest}` all that follow, and neither is ever empty. The
most exact pattern answers, whatever the order: at the first segment in which two differ, text comes before `{name}`,
and `{name}` before `{*rest}`. If that has no route for the method, the next one is tried.

`/users` and `/users/` are two paths. Where only one of them has a route, a request for the other is redirected.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from velocity.config.quantities import parse_pattern
from velocity.config.values import BadValueError
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WEBSOCKET", "Found", "RouteTree", "beats", "overlap", "pattern_segments"]

T = TypeVar("T")

WEBSOCKET = "WEBSOCKET"
"""Stands for the method of what is no request of HTTP."""
ANY = "*"
"""Stands for every method, as mounted applications take them, and for WebSockets."""
MAX_SEGMENTS = 256
"""Of a path; nothing is looked for below."""


class Found(NamedTuple, Generic[T]):
    """What a look-up found.

    Attributes:
        route: None if the path has routes, but none for the method, or none at all.
        params: parameters of the path.
        allowed: the methods that there are for this path, sorted; empty if there are none.
    """

    route: T | None
    params: dict[str, str]
    allowed: tuple[str, ...]


class _Leaf(NamedTuple, Generic[T]):
    route: T
    names: tuple[str, ...]
    place: str


class _Node(Generic[T]):
    __slots__ = ("here", "parameter", "rest", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.here: dict[str, _Leaf[T]] = {}
        self.rest: dict[str, _Leaf[T]] = {}


class RouteTree(Generic[T]):
    """Routes by path and method."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, methods: tuple[str, ...], route: T, place: str) -> None:
        """Add a route.

        Args:
            pattern: `/users/{id}`.
            methods: upper case; WEBSOCKET and ANY are some as well.
            route: what a look-up finds.
            place: file and line, for people.

        Raises:
            ConfigError: PATH_INVALID, or ROUTE_DUPLICATE, which names both places.
        """
        node, names = self._root, []
        rest = False
        for segment in pattern_segments(pattern):
            if segment.startswith("{*"):
                names.append(segment[2:-1])
                rest = True
            elif segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.texts.setdefault(segment, _Node())
        leaves = node.rest if rest else node.here
        for method in methods:
            if method in leaves:
                raise ConfigError(
                    "ROUTE_DUPLICATE",
                    f"{method} {pattern} is there twice: {leaves[method].place} and {place}",
                    "take one of the two out, or give it another path",
                )
            leaves[method] = _Leaf(route, tuple(names), place)

    def find(self, path: str, method: str) -> Found[T]:
        """The route for a request.

        Args:
            path: decoded, as ASGI has it.
            method: upper case; HEAD is answered by GET where it has no route of its own.
        """
        allowed: set[str] = set()
        for leaves, values in self._matches(path):
            leaf = leaves.get(method) or (leaves.get("GET") if method == "HEAD" else None) or leaves.get(ANY)
            if leaf is not None:
                return Found(leaf.route, dict(zip(leaf.names, values, strict=True)), ())
            allowed |= leaves.keys() - {WEBSOCKET}
        if "GET" in allowed:
            allowed.add("HEAD")
        return Found(None, {}, tuple(sorted(allowed | {"OPTIONS"} if allowed else allowed)))

    def other_slash(self, path: str, method: str) -> str | None:
        """The path that differs by its trailing slash only, if that has a route for the method."""
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        if other and other != path and self.find(other, method).route is not None:
            # Two slashes at the beginning would be another host.
            return f"/{other.lstrip('/')}"
        return None

    def _matches(self, path: str) -> Iterator[tuple[dict[str, _Leaf[T]], list[str]]]:
        """Leaves and the values of their parameters, the most exact first. Every node is looked at once at most."""
        segments = path.split("/", MAX_SEGMENTS + 1)[1:]
        if len(segments) <= MAX_SEGMENTS:
            yield from self._below(self._root, segments, 0, [])

    def _below(
        self, node: _Node[T], segments: list[str], at: int, values: list[str]
    ) -> Iterator[tuple[dict[str, _Leaf[T]], list[str]]]:
        if at == len(segments):
            if node.here:
                yield node.here, values
            return
        segment = segments[at]
        if segment in node.texts:
            yield from self._below(node.texts[segment], segments, at + 1, values)
        if segment and node.parameter is not None:
            yield from self._below(node.parameter, segments, at + 1, [*values, segment])
        if node.rest and (segment or at + 1 < len(segments)):
            yield node.rest, [*values, "/".join(segments[at:])]


@functools.lru_cache(maxsize=4096)
def pattern_segments(pattern: str) -> tuple[str, ...]:
    """The segments of a pattern, `("users", "{id}")`.

    Raises:
        ConfigError: PATH_INVALID.
    """
    try:
        kind, path = parse_pattern(pattern)
    except BadValueError as error:
        raise ConfigError("PATH_INVALID", str(error), error.hint) from None
    if kind == "prefix":
        path = f"{path.removesuffix('/')}/{{*rest}}"
    return tuple(path.split("/")[1:])


def beats(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether there are paths that match two different patterns and are answered by the first of them."""
    for mine, theirs in zip(one, other, strict=False):
        if theirs.startswith("{*"):
            return mine.startswith("{*") is False and _may_begin(one, other)
        if mine.startswith("{*"):
            return False
        if mine.startswith("{") != theirs.startswith("{"):
            exact = theirs.startswith("{")
            return exact and bool(mine) and overlap(one, other)
        if not mine.startswith("{") and mine != theirs:
            return False
    return False


def _may_begin(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return any(one[len(other) - 1 :])


def overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether any path matches both."""
    for at, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine.startswith("{*") or theirs.startswith("{*"):
            return any(one[at:]) and any(other[at:])  # which is not empty
        if not mine.startswith("{") and not theirs.startswith("{") and mine != theirs:
            return False
        if (mine == "") != (theirs == ""):
            return False
    return len(one) == len(other)
