"""What the data plane does with a rule just as Python does; whatever else rules may say stays in Python.

Both fill in templates alike that name variables and do nothing with them. Filters, tests and statements are those of
two template engines, which are not the same.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from velocity.config import action
from velocity.edge.routing import pattern_segments

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pydantic import JsonValue

    from velocity.edge.rules import RuleRoute

__all__ = ["is_native", "is_native_text"]

_VARIABLE = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*){0,2}) *\}\}")
_MARKS = ("{{", "{%", "{#")
_KNOWN = frozenset({"method", "path", "host", "scheme", "client", "identity"})
"""What is known of every request by a name of its own."""
_WORDS = frozenset({
    "true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else", "self", "loop",
    "super", "caller", "request", "query", "form", "claims",
})  # fmt: skip
_OF_MAPPINGS = frozenset(dir(dict))
"""What Jinja takes for something else than a name in the mapping."""
_NO_CONTENT = frozenset({204, 205, 304})


def is_native(rule: RuleRoute) -> bool:
    """Whether the data plane gives the answers that Python gives."""
    if isinstance(rule, action.JsonRoute):
        return rule.status not in _NO_CONTENT and _is_native_json(rule.body, _parameters(rule))
    if isinstance(rule, action.RedirectRoute):
        return is_native_text(rule.to, _parameters(rule))
    if isinstance(rule, action.TextRoute):
        return rule.status != 205
    # What is not there yet is found by Python when it is; the data plane opens it when the server starts.
    if isinstance(rule, action.StaticFileRoute):
        return Path(rule.file).is_file()
    if isinstance(rule, action.FilesRoute):
        return Path(rule.root).is_dir() and not any("/" in name or name.startswith(".") for name in rule.index)
    return False


def is_native_text(text: str, parameters: AbstractSet[str] = frozenset()) -> bool:
    """The same for a text that may be a template.

    Args:
        text: of a rule.
        parameters: of the path.
    """
    if not any(mark in text for mark in _MARKS):
        return True
    rest = _VARIABLE.sub("\0", text)
    if any(mark in rest for mark in (*_MARKS, "{\0")) or "\r" in text or text.endswith("\n"):
        return False
    return all(_is_native_name(*name.split("."), parameters=parameters) for name in _VARIABLE.findall(text))


def _is_native_name(first: str, *members: str, parameters: AbstractSet[str]) -> bool:
    if not members:
        return first not in _WORDS and (first in parameters or first in _KNOWN)
    if first in parameters or not _OF_MAPPINGS.isdisjoint(members):
        return False
    match (first, *members):
        case ("query", _):
            return True
        case ("request", name):
            return name in _KNOWN or name == "query"
        case ("request", "headers", name):
            # Over HTTP/2 and later the one is no field, and there may be several of the other.
            return name.lower() not in ("host", "cookie")
        case _:
            return False


def _is_native_json(value: JsonValue, parameters: AbstractSet[str]) -> bool:
    if isinstance(value, str):
        return is_native_text(value, parameters)
    if isinstance(value, list):
        return all(_is_native_json(one, parameters) for one in value)
    if isinstance(value, dict):
        return all(_is_native_json(one, parameters) for one in value.values())
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 64


def _parameters(rule: RuleRoute) -> frozenset[str]:
    return frozenset(one.strip("{*}") for one in pattern_segments(rule.path[1]) if one.startswith("{"))
