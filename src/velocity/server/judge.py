"""What only the engine knows of a configuration, such as a broken template, with the place where it was said.

The engine sees a Plan, in which a text is the value of a route or filter. Where the files have that text is where it
is broken: so it is looked for there, in the block that became the route.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from velocity import _core
from velocity.config.problems import InvalidConfigError, Place, Problem
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from velocity.config.configuration import Configuration
    from velocity.config.problems import KeyPath
    from velocity.config.source import Tree
    from velocity.errors import VelocityError

__all__ = ["located", "problems"]

_MAX_PROBLEMS = 200
_OF_FILES = {"ROOT_UNREADABLE", "FILE_UNREADABLE", "TEMPLATES_UNREADABLE", "ERROR_PAGE_UNREADABLE", "TEMPLATE_MISSING"}
"""What is about files and folders, whether they are there and what they are."""
_FILTERS = {"headers", "middlewares", "rules", "security_headers"}
"""Blocks of which something becomes a filter."""
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class _Spot(NamedTuple):
    """Where a text stands in the files."""

    tree: Tree
    path: KeyPath
    key: bool
    """It is a key, not a value."""


def problems(configuration: Configuration, *, look: bool = True) -> list[Problem]:
    """Everything that the engine would refuse, certificates excepted: those may be on another machine.

    Args:
        configuration: checked as far as that goes without the engine.
        look: whether the files and folders that are named have to be there.
    """
    errors = _core.problems(configuration.draft().to_json())[:_MAX_PROBLEMS]
    codes = {error.code for error in errors}
    if "TEMPLATES_UNREADABLE" in codes:
        errors = [error for error in errors if error.code != "TEMPLATE_MISSING"]  # then all are
    if not look:
        errors = [error for error in errors if error.code not in _OF_FILES]
    return list(dict.fromkeys(_located(configuration, errors)))


def located(configuration: Configuration, error: VelocityError) -> VelocityError:
    """The same error with its place in the files, as far as it is about what they say."""
    if not isinstance(error, ConfigError) or not error.details.keys() & {"place", "file"}:
        return error
    return InvalidConfigError(list(_located(configuration, [error])))


def _located(configuration: Configuration, errors: list[VelocityError]) -> Iterator[Problem]:
    spots = _spots(configuration, {error.details["text"] for error in errors if error.details.get("text")})
    named = {str(path): (tree, at) for tree, at, path, _ in configuration.named()} if errors else {}
    for error in errors:
        details, hint = error.details, error.hint
        message = error.message.removeprefix(f"{details.get('place')}: ")
        if "reason" in details:
            message = f"the template is broken: {details['reason']}"
        file, text = details.get("file", ""), details.get("text", "")
        if "line" in details and file:
            place = _in_file(Path(file), int(details["line"]), int(details.get("column", 1)))
            yield Problem(message, hint, place)
        elif file in named:
            tree, at = named[file]
            yield tree.problem(at, message, hint)
        else:
            block = _block(configuration, details.get("place", ""))
            within = [spot for spot in spots.get(text, ()) if _belongs(spot, block)]
            for tree, path, key in within:
                problem = tree.problem(path, message, hint, key=key)
                yield _shifted(problem, text, details) if not key else problem
            if not within:
                tree, path = block or (configuration.tree, ())
                yield tree.problem(path, message, hint)


def _block(configuration: Configuration, place: str) -> tuple[Tree, KeyPath] | None:
    """The block that became a route; None for filters, of which several blocks may have become one."""
    path = tuple(int(number) if number else word for number, word in _PART.findall(place))
    if not path or path[0] == "filters":
        return None
    return (configuration.edge_tree, path[1:]) if path[0] == "edge" else (configuration.tree, path)


def _belongs(spot: _Spot, block: tuple[Tree, KeyPath] | None) -> bool:
    if block is None:
        return not _FILTERS.isdisjoint(spot.path)
    return spot.tree is block[0] and spot.path[: len(block[1])] == block[1]


def _spots(configuration: Configuration, texts: set[str]) -> dict[str, list[_Spot]]:
    """All places of some texts."""
    found: dict[str, list[_Spot]] = {}
    if not texts:
        return found
    for tree in (configuration.tree, configuration.edge_tree):
        stack: list[tuple[KeyPath, object]] = [((), tree.data)]
        while stack:
            path, value = stack.pop()
            if isinstance(value, dict):
                for name in reversed(value):
                    # Names of header fields are in lower case in the Plan.
                    if name.lower() in texts:
                        found.setdefault(name.lower(), []).append(_Spot(tree, (*path, name), key=True))
                    stack.append(((*path, name), value[name]))
            elif isinstance(value, list):
                stack += (((*path, index), value[index]) for index in reversed(range(len(value))))
            elif isinstance(value, str) and value in texts:
                found.setdefault(value, []).append(_Spot(tree, path, key=False))
    return found


def _shifted(problem: Problem, text: str, details: dict[str, str]) -> Problem:
    """At the very character, where the file has the text as it is."""
    place, offset = problem.place, int(details.get("offset", 0))
    if place is None or not offset:
        return problem
    start = place.text.find(text, max(place.column - 1, 0))
    if start < 0:
        return problem
    moved = Place(place.name, place.line, start + offset + 1, place.text)
    return Problem(problem.message, problem.hint, moved, problem.key)


def _in_file(path: Path, line: int, column: int) -> Place:
    """A place of a template, named from the current folder if it is below."""
    shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    try:
        lines: Iterable[str] = path.read_text("utf-8").split("\n")
    except (OSError, ValueError):
        lines = ()
    text = next((text for number, text in enumerate(lines, 1) if number == line), "")
    return Place(shown, line, column, text.rstrip("\r"))
