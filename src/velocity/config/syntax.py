"""Text to a tree of plain values, and back to the line and column of each: YAML 1.2, TOML and JSON.

A file is read twice at most. The first time gives values only, as fast as a native parser can. Only when something
has to be pointed at, or when the text holds what that parser must not judge (anchors, tags, odd numbers, deep
nesting), is it read again event by event, with every bound and every position.

YAML is the core schema (YAML 1.2.2 section 10.3): `no` and `on` are text, and so is `12:30`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from velocity.config.indentation import straighten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from velocity.config.problems import KeyPath

__all__ = ["MAX_DEPTH", "MAX_NODES", "Kind", "Marks", "NotReadableError", "marks", "parse"]

Kind = Literal["yaml", "toml", "json"]

MAX_DEPTH = 64
"""Levels of nesting."""
MAX_NODES = 2_000_000
"""Values in a file once its aliases are followed."""


class NotReadableError(Exception):
    """Text that is not what it should be.

    Attributes:
        line, column: from 1.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, line: int, column: int, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.hint = hint


class Marks(NamedTuple):
    """Where a value stands, as (line, column) from 1."""

    key: tuple[int, int]
    """Of the key, or of the value where it is an item of a list."""
    value: tuple[int, int]


def parse(text: str, kind: Kind) -> Any:
    """The values of a text: dictionaries with text as keys, lists, text, numbers, booleans and None.

    Raises:
        NotReadableError: the first thing that is wrong.
    """
    if kind == "json":
        return _parse_json(text)
    if kind == "toml":
        return _parse_toml(text)
    separator = None if text.isascii() else _SEPARATOR.search(text)
    if separator:
        before = text[: separator.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise NotReadableError("a line separator that is no line feed", line, column, "take it out, or write \\u2028")
    if not _needs_care(text) and _is_shallow(text):
        try:
            return _parse_quickly(text)
        except _NotQuickError:
            pass
    return _Events(text).read()


def marks(text: str, kind: Kind) -> dict[KeyPath, Marks]:
    """Where each value of a text stands; as much as can be told if the text is not readable."""
    if kind == "toml":
        return _toml_marks(text)
    events = _Events(text)
    with contextlib.suppress(NotReadableError):
        events.read()
    return events.marks


# --- YAML, quickly ---------------------------------------------------------------------------------

_SEPARATOR = re.compile("[\x85\u2028\u2029]")
"""Versions of YAML disagree about what these end."""
_CARE = (
    ("&*!%", re.compile(r"[&*!%](?:(?<=[\s\[{,].)|(?<=\A.))")),  # anchors, aliases, tags, directives
    ("0123456789", re.compile(r"\d(?:\d{15}|[eE][-+\d]|_\d|[xob])")),  # read in more than one way, or too large
    ("|>", re.compile(r"[|>][-+0-9]*[ ]*(?:#.*)?$", re.MULTILINE)),  # blocks of text
    ((".inf", ".nan", ".Inf", ".NaN", ".INF", ".NAN"), re.compile(r"\.(?:inf|nan|Inf|NaN|INF|NAN)\b")),
)
"""What needs care, after signs without which it cannot be there: to find that there are none takes no time."""
_CONTROLS = bytes([*range(9), *range(0x0B, 0x20), 0x09, 0x7F])
_WIDE_CONTROLS = re.compile("[\x80-\x9f\ufeff]")
_CARE_WORDS = ("\n---", "\n...", "? ", "?\n", "<<", "- " * 16, "\n" + " " * 256)
"""Several documents, keys that are not text, merge keys, and what is nested deeply."""


def _needs_care(text: str) -> bool:
    if text.startswith(("---", " " * 256)) or any(word in text for word in _CARE_WORDS):
        return True
    if len((encoded := text.encode(errors="surrogatepass")).translate(None, _CONTROLS)) < len(encoded):
        return True
    if not text.isascii() and _WIDE_CONTROLS.search(text):
        return True
    return any(any(sign in text for sign in signs) and pattern.search(text) for signs, pattern in _CARE)


_BRACKET = re.compile(r"[\[\]{}]")


class _NotQuickError(Exception):
    pass


def _is_shallow(text: str) -> bool:
    depth = 0
    for bracket in _BRACKET.findall(text):
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return False
        elif depth:
            depth -= 1
    return True


def _parse_quickly(text: str) -> Any:
    import yaml_rs

    try:
        tree = yaml_rs.loads(text)
    except (ValueError, TypeError) as error:  # TypeError: a key that is a mapping
        raise _NotQuickError from error
    return _with_text_keys(tree, MAX_DEPTH)


def _with_text_keys(value: Any, depth: int) -> Any:
    """The same tree, as long as it holds nothing unusual; keys such as 404 become text."""
    kind = type(value)
    if kind is dict:
        if not depth:
            raise _NotQuickError
        for key, item in value.items():
            if type(key) is not str:
                keyed = {_key(key): _with_text_keys(item, depth - 1) for key, item in value.items()}
                if len(keyed) != len(value):
                    raise _NotQuickError
                return keyed
            if type(item) not in _TEXT_LIKE:
                value[key] = _with_text_keys(item, depth - 1)
    elif kind is list:
        if not depth:
            raise _NotQuickError
        for index, item in enumerate(value):
            if type(item) not in _TEXT_LIKE:
                value[index] = _with_text_keys(item, depth - 1)
    elif kind not in _SCALARS:
        raise _NotQuickError
    return value


_SCALARS = {str, int, float, bool, type(None)}
_TEXT_LIKE = {str, int}


def _key(key: Any) -> str:
    if type(key) in (str, int):
        return str(key)
    raise _NotQuickError


# --- YAML, with care -------------------------------------------------------------------------------

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = {"0o": (re.compile(r"0o[0-7]+"), 8), "0x": (re.compile(r"0x[0-9a-fA-F]+"), 16)}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TAGS = {"tag:yaml.org,2002:str", "!"}
_CORE = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}


class _Frame:
    """A list or mapping that is being read."""

    __slots__ = ("anchor", "at", "items", "key", "key_at", "nodes")

    def __init__(self, items: Any, at: KeyPath, anchor: str | None) -> None:
        self.items = items
        self.at = at
        self.anchor = anchor
        self.key: str | None = None
        self.key_at = (0, 0)
        self.nodes = 1


class _Events:
    """Reads a text event by event, keeping the place of each value in `marks`."""

    def __init__(self, text: str) -> None:
        self.marks: dict[KeyPath, Marks] = {}
        self._text = text
        self._shift: dict[int, tuple[int, int]] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def read(self) -> Any:
        try:
            return self._read(self._text)
        except NotReadableError as error:
            straight, shift = straighten(self._text)
            if not shift:
                raise
            self.marks, self._anchors, self._nodes, self._shift = {}, {}, 0, shift
            try:
                return self._read(straight)
            except NotReadableError:
                raise error from None

    def _read(self, text: str) -> Any:
        root: Any = None
        documents = 0
        stack: list[_Frame] = []
        for event in _events(text):
            name = type(event).__name__
            if name == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise self._wrong("a second document", event, "a configuration is one: take --- out")
            elif name in ("MappingStartEvent", "SequenceStartEvent"):
                mapping = name == "MappingStartEvent"
                self._check_tag(event)
                if len(stack) >= MAX_DEPTH:
                    raise self._wrong(f"nested more than {MAX_DEPTH} levels deep", event)
                items: Any = {} if mapping else []
                if not stack:
                    root = items
                stack.append(_Frame(items, self._put(stack, items, event), event.anchor))
            elif name in ("MappingEndEvent", "SequenceEndEvent"):
                frame = stack.pop()
                if frame.anchor:
                    self._anchors[frame.anchor] = (frame.items, frame.nodes)
                if stack:
                    stack[-1].nodes += frame.nodes
            elif name == "ScalarEvent":
                self._scalar(stack, event)
                if not stack:
                    root = self._value(event)
            elif name == "AliasEvent":
                self._alias(stack, event)
        return root

    def _scalar(self, stack: list[_Frame], event: Any) -> None:
        if stack and isinstance(stack[-1].items, dict) and stack[-1].key is None:
            frame = stack[-1]
            if event.value == "<<" and event.implicit[0]:
                raise self._wrong("merge keys (<<) are not supported", event, "write an alias as a value: key: *name")
            if event.value in frame.items:
                first = self.marks[(*frame.at, event.value)].key
                raise self._wrong(f"{event.value} is there twice", event, f"the first is in line {first[0]}")
            frame.key, frame.key_at = event.value, self._at(event)
            return
        value = self._value(event)
        if stack:
            self._put(stack, value, event)
            stack[-1].nodes += 1
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)

    def _alias(self, stack: list[_Frame], event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._wrong(f"there is no anchor &{event.anchor} before this", event)
        value, nodes = self._anchors[event.anchor]
        if stack and isinstance(stack[-1].items, dict) and stack[-1].key is None:
            raise self._wrong("an alias cannot be a key", event)
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._wrong("aliases make this file too large", event, f"at most {MAX_NODES:,} values")
        if stack:
            self._put(stack, value, event)
            stack[-1].nodes += nodes

    def _put(self, stack: list[_Frame], value: Any, event: Any) -> KeyPath:
        """Into the innermost container; where it went."""
        here = self._at(event)
        if not stack:
            self.marks[()] = Marks(here, here)
            return ()
        frame = stack[-1]
        if isinstance(frame.items, list):
            at: KeyPath = (*frame.at, len(frame.items))
            frame.items.append(value)
            self.marks[at] = Marks(here, here)
            return at
        if frame.key is None:
            raise self._wrong("a key has to be text", event)
        at = (*frame.at, frame.key)
        frame.items[frame.key] = value
        self.marks[at] = Marks(frame.key_at, here)
        frame.key = None
        return at

    def _value(self, event: Any) -> Any:
        self._check_tag(event)
        text: str = event.value
        if event.tag in _TAGS or not event.implicit[0]:
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if _INTEGER.fullmatch(text):
            return self._integer(text, 10, event)
        based = _BASED.get(text[:2])
        if based and based[0].fullmatch(text):
            return self._integer(text[2:], based[1], event)
        if _NO_NUMBER.fullmatch(text):
            raise self._wrong(f"{text} is no number that JSON could hold", event, "quote it if it is text")
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isinf(number):
                raise self._wrong(f"{text} is too large", event, "quote it if it is text")
            return number
        return text

    def _integer(self, digits: str, base: int, event: Any) -> int:
        if len(digits) < 72 and -(2**63) <= (number := int(digits, base)) < 2**64:
            return number
        raise self._wrong(f"{digits[:40]} is too large", event, "quote it if it is text")

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _CORE and event.tag != "!":
            raise self._wrong(f"the tag {event.tag} is not supported", event, "take it out: values are plain")

    def _at(self, event: Any) -> tuple[int, int]:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        return self._unshifted(line, column)

    def _unshifted(self, line: int, column: int) -> tuple[int, int]:
        after, by = self._shift.get(line, (0, 0))
        return (line, column - by if column > after else column)

    def _wrong(self, message: str, event: Any, hint: str = "") -> NotReadableError:
        return NotReadableError(message, *self._at(event), hint)


def _events(text: str) -> Iterator[Any]:
    import yaml

    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise _explain(text, error) from None


_EXPLAINED = (
    (
        "mapping values are not allowed",
        "a key and its value where none can be",
        "indent it like its neighbours; quote a text that has a colon and a space in it",
    ),
    (
        "did not find expected key",
        "this does not continue what stands before it",
        "indent it like its neighbours; quote texts that begin or go on after a quote",
    ),
    ("did not find expected '-' indicator", "this is no item of the list before it", "indent it like its neighbours"),
    ("could not find expected ':'", "a key without a colon", "write key: value"),
    ("did not find expected ',' or", "a bracket that is not closed, or a comma that is missing", ""),
    ("did not find expected node content", "a bracket that is not closed, or a value that is missing", ""),
    ("found unexpected end of stream", "the end of the file within a quoted text", "close the quote"),
    ("found character that cannot start any token", "a text that begins with this character", "quote it"),
    (
        "found unknown escape character",
        "an escape that YAML does not know",
        "in double quotes write \\\\ for a backslash, or use single quotes",
    ),
    ("control characters are not allowed", "a control character", "take it out"),
    ("found incompatible YAML document", "a document of another version of YAML", "take the %YAML line out"),
)


def _explain(text: str, error: Any) -> NotReadableError:
    """What libyaml says, in words for people who do not write parsers."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML")
    if mark is None:
        position = getattr(error, "position", 0)
        before = text[: position if isinstance(position, int) else 0]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    else:
        line, column = mark.line + 1, mark.column + 1
    lines = text.split("\n")
    for number in (line, line - 1):
        words = lines[number - 1] if 0 < number <= len(lines) else ""
        indent = words[: len(words) - len(words.lstrip(" \t"))]
        if "\t" in indent:
            return NotReadableError("a tab", number, indent.index("\t") + 1, "YAML is indented with spaces only")
    for known, message, hint in _EXPLAINED:
        if known in problem:
            return NotReadableError(message, line, column, hint)
    return NotReadableError(problem, line, column)


# --- JSON and TOML ---------------------------------------------------------------------------------


def _parse_json(text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            keys = [key for key, _ in items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise _TwiceError(twice)
        return found

    def integer(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
            raise _NumberError(digits[:40])
        return number

    def constant(name: str) -> float:
        raise _NumberError(name)

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            raise _NumberError(digits[:40])
        return value

    try:
        tree = json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=number, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise NotReadableError(error.msg[:1].lower() + error.msg[1:], error.lineno, error.colno) from None
    except _TwiceError as error:
        raise _found(text, json.dumps(error.what), f"{error.what} is there twice") from None
    except _NumberError as error:
        raise _found(text, error.what, f"{error.what} is no number that can be kept") from None
    except RecursionError:
        raise NotReadableError(f"nested more than {MAX_DEPTH} levels deep", 1, 1) from None
    return _bounded(tree)


class _WordError(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class _TwiceError(_WordError):
    pass


class _NumberError(_WordError):
    pass


def _found(text: str, word: str, message: str) -> NotReadableError:
    """An error at the last place of a word, which the parser did not tell."""
    at = max(text.rfind(word), 0)
    return NotReadableError(message, text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1)


_TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _parse_toml(text: str) -> Any:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.fullmatch(str(error))
        message = place[1] if place else str(error)
        line, column = (int(place[2]), int(place[3])) if place and place[2] else (text.count("\n") + 1, 1)
        raise NotReadableError(message[:1].lower() + message[1:], line, column) from None
    except (RecursionError, ValueError):
        raise NotReadableError("nested too deeply, or a number too large", 1, 1) from None
    return _bounded(tree)


def _bounded(tree: Any) -> Any:
    """The tree, if it is not deeper than it may be and holds nothing that JSON could not."""
    stack: list[tuple[Any, int]] = [(tree, 0)]
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise NotReadableError(f"nested more than {MAX_DEPTH} levels deep", 1, 1)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            if isinstance(item, dict | list):
                stack.append((item, depth + 1))
            elif isinstance(item, dt.date | dt.time):
                value[key] = item.isoformat()
            elif isinstance(item, float) and not math.isfinite(item):
                raise NotReadableError(f"{key}: {item} is no number that JSON could hold", 1, 1)
            elif isinstance(item, int) and not -(2**63) <= item < 2**64:
                raise NotReadableError(f"{key}: the number is too large", 1, 1)
    return tree


_TOML_HEADER = re.compile(r"[ \t]*(\[\[?)[ \t]*([^\]]+?)[ \t]*\]\]?")
_TOML_PAIR = re.compile(
    r"[ \t]*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:[ \t]*\.[ \t]*[A-Za-z0-9_\"'-]+)*)[ \t]*=[ \t]*"
)
_TOML_NAME = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")


def _toml_marks(text: str) -> dict[KeyPath, Marks]:
    """Tables and their keys by line; what stands within an inline table is found with the table."""
    found: dict[KeyPath, Marks] = {(): Marks((1, 1), (1, 1))}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()

    def names(dotted_key: str) -> list[str]:
        return [name.strip("\"'") for name in _TOML_NAME.findall(dotted_key)]

    def into(path: KeyPath, keys: list[str]) -> KeyPath:
        for key in keys:
            path = (*path, key)
            if path in counts:
                path = (*path, counts[path])
        return path

    for number, line in enumerate(text.split("\n"), 1):
        if header := _TOML_HEADER.match(line):
            *parents, last = names(header[2]) or [""]
            table = (*into((), parents), last)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            at = (number, header.start(2) + 1)
            found[table] = Marks(at, at)
        elif pair := _TOML_PAIR.match(line):
            path = (*table, *names(pair[1]))
            found.setdefault(path, Marks((number, pair.start(1) + 1), (number, pair.end() + 1)))
    return found
