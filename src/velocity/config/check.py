"""A tree against a model: everything that is wrong, each with its place and what to write instead."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from velocity.config.action import SHORT
from velocity.config.problems import InvalidConfigError, KeyPath, Problem, dotted
from velocity.config.values import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from velocity.config.source import Tree

__all__ = ["validate"]

M = TypeVar("M", bound=BaseModel)

_MAX_PROBLEMS = 200
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a block of keys and values",
    "model_type": "a block of keys and values",
    "model_attributes_type": "a block of keys and values",
    "union_tag_not_found": "a block with a kind",
}
_WITHIN = ("match", "action")
"""Blocks of a route whose keys the model has one level higher."""
_RENAMED = {"kind": "type"}
_TAGGED = ("routes", "middlewares")
"""Lists of blocks that differ by their kind."""


def validate(model: type[M], tree: Tree) -> M:
    """The model of a tree.

    Raises:
        InvalidConfigError: with every problem there is.
    """
    try:
        return model.model_validate(tree.data)
    except ValidationError as error:
        found = list(_problems(model, tree, error))
    problems = sorted(found, key=_order)[:_MAX_PROBLEMS]
    raise InvalidConfigError(problems)


def _order(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return (place.name, place.line, place.column) if place else ("", 0, 0)


def _problems(model: type[BaseModel], tree: Tree, error: ValidationError) -> Iterator[Problem]:
    details = [(_path(tree, one), one) for one in error.errors(include_url=False)[: 4 * _MAX_PROBLEMS]]
    paths = {path for path, _ in details}
    said: set[KeyPath] = set()
    for path, one in details:
        kind = one["type"]
        value = tree.get(path)
        if kind in _WANTED:
            # A choice of a block or a value: only the branch that was meant is of interest.
            if isinstance(value, dict) and any(other[: len(path)] == path and other != path for other in paths):
                continue
            rivals = [other for other_path, other in details if other_path == path and other is not one]
            if "block" in _WANTED[kind] and rivals and not isinstance(value, dict):
                continue
        if path in said:
            continue
        said.add(path)
        yield _problem(model, tree, path, one)


def _path(tree: Tree, one: ErrorDetails) -> KeyPath:
    """Where pydantic found it, without what is not in the file: names of branches, and our own rearrangements."""
    found: list[str | int] = []
    value = tree.data
    location = one["loc"]
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            found.append(part)
            value = value[part]
        elif isinstance(value, dict) and isinstance(part, str):
            if not last and number > 1 and location[number - 2] in _TAGGED and isinstance(location[number - 1], int):
                continue  # the kind that was chosen
            short = (key for key, (_, meant) in SHORT.items() if meant == part)
            for name in (part, _RENAMED.get(part, part), *short):
                within = next(
                    (block for block in _WITHIN if isinstance(value.get(block), dict) and name in value[block]), None
                )
                if name in value:
                    found.append(name)
                    value = value[name]
                    break
                if within is not None:
                    found += (within, name)
                    value = value[within][name]
                    break
            else:
                if last and one["type"] == "missing":
                    found.append(part)
    return tuple(found)


def _problem(model: type[BaseModel], tree: Tree, path: KeyPath, one: ErrorDetails) -> Problem:
    kind, name = one["type"], str(path[-1]) if path else "the file"
    cause = one.get("ctx", {}).get("error")
    if kind == "extra_forbidden":
        known = sorted(set(_known_keys(model, one["loc"][:-1])))
        return tree.problem(path, f"unknown key {name}", _did_you_mean(name, known), key=True)
    if kind == "missing":
        return Problem(f"{name} is missing", _example(name), tree.place(path[:-1], key=True), dotted(path))
    if isinstance(cause, BadValueError):
        return tree.problem(path, str(cause), cause.hint)
    if kind in _WANTED:
        return tree.problem(path, f"{name} has to be {_WANTED[kind]}, not {_shown(one['input'])}")
    if kind == "literal_error":
        expected = str(one.get("ctx", {}).get("expected", "")).replace(" or ", ", ").replace("'", "")
        words = [word for word in expected.split(", ") if word]
        return tree.problem(path, f"unknown value {_shown(one['input'])}", _did_you_mean(str(one["input"]), words))
    if kind in ("greater_than_equal", "less_than_equal"):
        context = one.get("ctx", {})
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return tree.problem(path, f"{name} has to be {bound}, not {_shown(one['input'])}")
    if kind == "too_short":
        return tree.problem(path, f"{name} is empty", "name at least one")
    message = one["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return tree.problem(path, f"{name}: {message[:1].lower()}{message[1:]}, not {_shown(one['input'])}")


def _example(name: str) -> str:
    examples = {
        "path": "for example path: /api",
        "root": "name the folder: root: DIR",
        "upstream": "for example upstream: http://127.0.0.1:3000",
        "limit": "for example limit: 120",
        "window": "for example window: 1m",
        "issuer": "for example issuer: https://auth.example.com",
    }
    return examples.get(name, f"add {name}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a block"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:100].replace("-", "_"), known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}" if known else ""


def _known_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> Iterator[str]:
    """The keys of a block, by following pydantic's path through the annotations."""
    models: list[type[BaseModel]] = [model]
    for part in location:
        if isinstance(part, int):
            continue
        branch = [one for one in models if one.__name__ == part or _is_kind(one, part)]
        if branch:
            models = branch
            continue
        models = [
            inner
            for one in models
            for name, field in one.model_fields.items()
            if part in (name, field.alias)
            for inner in _models(field.annotation)
        ]
    for one in models:
        yield from (field.alias or name for name, field in one.model_fields.items())


def _is_kind(model: type[BaseModel], word: str) -> bool:
    field = model.model_fields.get("kind")
    return field is not None and get_origin(field.annotation) is Literal and word in get_args(field.annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        if not isinstance(inner, str):
            yield from _models(inner)
