"""Configuration files: read, with their variables filled in and their includes joined, into one tree.

    include: [sites/*.yaml]            # relative to the file that says it
    server: {listen: "${ADDRESS:-0.0.0.0}:4433"}

Every value of the tree knows where it came from: the file, line and column, or the flag or variable that put
something else in its place.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from velocity.config.problems import InvalidConfigError, KeyPath, Place, Problem, dotted
from velocity.config.syntax import Kind, Marks, NotReadableError, marks, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_FILES", "MAX_INCLUDE_DEPTH", "MAX_SIZE", "Given", "Source", "Tree", "load", "read"]

MAX_SIZE = 4 << 20
"""Bytes of one file."""
MAX_FILES = 1_000
"""Files that one configuration may include."""
MAX_INCLUDE_DEPTH = 8

_KINDS: dict[str, Kind] = {".toml": "toml", ".json": "json"}
_VARIABLE = re.compile(r"\$(\$\{)|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class Source:
    """One file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.name = str(path)
        self.text = text
        self.kind: Kind = _KINDS.get(path.suffix.lower(), "yaml")

    @functools.cached_property
    def folder(self) -> Path:
        """What the names in it are relative to."""
        return self.path.absolute().parent

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Where a value (or its key) stands, or the nearest thing around it that can be told."""
        for end in range(len(path), -1, -1):
            found = self._marks.get(path[:end])
            if found is not None:
                return self.at(*(found.key if key and end == len(path) else found.value))
        return self.at(1, 1)

    def at(self, line: int, column: int) -> Place:
        """A place of this file."""
        return Place(self.name, line, column, self._lines[line - 1].rstrip("\r") if line <= len(self._lines) else "")

    @functools.cached_property
    def _marks(self) -> dict[KeyPath, Marks]:
        return marks(self.text, self.kind)

    @functools.cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")


class Given(NamedTuple):
    """What a flag or a variable says in place of a file."""

    name: str
    """`--listen` or `VELOCITY_LISTEN`."""
    value: Any


class Tree:
    """The values of a configuration, and where each came from."""

    def __init__(self, data: Any, source: Source | None = None) -> None:
        self.data = data
        self.sources: list[Source] = [source] if source else []
        self.files: list[Path] = [source.path] if source else []
        """Every file and folder that a change of would change the configuration."""
        self.given: dict[KeyPath, Given] = {}
        self.pinned: dict[KeyPath, Any] = {}
        """What files say where something stronger speaks."""
        self._origins: dict[KeyPath, tuple[Source, KeyPath]] = {(): (source, ())} if source else {}

    @property
    def name(self) -> str:
        """The file, as it was named; empty without one."""
        return self.sources[0].name if self.sources else ""

    def origin(self, path: KeyPath) -> tuple[Source, KeyPath] | Given | None:
        """The file a value is from and its path there, or the flag or variable; None for what nobody said."""
        for end in range(len(path), -1, -1):
            given = self.given.get(path[:end])
            if given is not None:
                return given
            found = self._origins.get(path[:end])
            if found is not None:
                return found[0], found[1] + path[end:]
        return None

    def place(self, path: KeyPath, *, key: bool = False) -> Place | None:
        """Where a value, or its key, was said."""
        origin = self.origin(path)
        if isinstance(origin, Given):
            return Place(origin.name)
        return origin[0].place(origin[1], key=key) if origin else None

    def folder(self, path: KeyPath) -> Path:
        """What relative file names at a path are relative to: the folder of the file, or the current one."""
        if len(self.sources) == 1 and not self.given:
            return self.sources[0].folder
        origin = self.origin(path)
        return Path.cwd() if origin is None or isinstance(origin, Given) else origin[0].folder

    def problem(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """An error at a place of the tree."""
        return Problem(message, hint, self.place(path, key=key), dotted(path))

    def warning(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """Something that is no error, at a place of the tree."""
        return Problem(message, hint, self.place(path, key=True), dotted(path), "warning")

    def get(self, path: KeyPath) -> Any:
        """The value at a path; None where there is none."""
        value = self.data
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def put(self, path: KeyPath, given: Given) -> None:
        """Let a flag or variable speak, whatever a file says, for a key of a block that is there."""
        block = self.get(path[:-1])
        if path[-1] in block:
            self.pinned[path] = block[path[-1]]
        block[path[-1]] = given.value
        self.given[path] = given

    def drop(self, path: KeyPath) -> None:
        """Forget what files say, because something stronger excludes it."""
        parent = self.get(path[:-1])
        if isinstance(parent, dict) and path[-1] in parent:
            self.pinned[path] = parent.pop(path[-1])

    def join(self, other: Tree) -> None:
        """Add what another file says: lists grow, and what is here already stays."""
        self.files += other.files
        self.sources += other.sources
        self._join((), self.data, other, (), other.data)

    def _join(self, at: KeyPath, mine: dict[str, Any], other: Tree, there: KeyPath, theirs: dict[str, Any]) -> None:
        for key, value in theirs.items():
            here, source = (*at, key), (*there, key)
            if key not in mine:
                mine[key] = value
                self._adopt(here, other, source)
            elif isinstance(mine[key], dict) and isinstance(value, dict):
                self._join(here, mine[key], other, source, value)
            elif isinstance(mine[key], list) and isinstance(value, list):
                mine[key] = list(mine[key])
                for index, item in enumerate(value):
                    self._adopt((*here, len(mine[key])), other, (*source, index))
                    mine[key].append(item)

    def _adopt(self, here: KeyPath, other: Tree, there: KeyPath) -> None:
        origin = other.origin(there)
        if isinstance(origin, tuple) and not isinstance(origin, Given):
            self._origins[here] = origin
        for path, found in other._origins.items():
            if path[: len(there)] == there and len(path) > len(there):
                self._origins[here + path[len(there) :]] = found


@functools.lru_cache(maxsize=65_536)
def within(folder: Path, name: str) -> Path:
    """A file name from the folder it is relative to. Each is asked for more than once, and there may be many."""
    return folder / name


def load(path: Path, environment: Mapping[str, str] | None = None) -> Tree:
    """The tree of a file and of all that it includes.

    Args:
        path: as the person named it, which is how errors name it.
        environment: for `${NAME}`; that of the process when None.

    Raises:
        InvalidConfigError: a file that cannot be read, a variable that is not set, an include that goes in circles.
    """
    return _Loader(os.environ if environment is None else environment).load(path, ())


class _Loader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._count = 0

    def load(self, path: Path, within: tuple[Path, ...]) -> Tree:
        source = read(path)
        try:
            data = parse(source.text, source.kind)
        except NotReadableError as error:
            raise InvalidConfigError([Problem(str(error), error.hint, source.at(error.line, error.column))]) from None
        if data is None:
            data = {}
        if not isinstance(data, dict):
            found = "a list" if isinstance(data, list) else "one value"
            problem = Problem(
                f"not a configuration: {found}", "write keys and values, for example server:", source.place(())
            )
            raise InvalidConfigError([problem])
        tree = Tree(data, source)
        if "$" in source.text:
            self._fill(tree)
        self._check_unicode(tree)
        self._include(tree, (*within, path.resolve()))
        return tree

    def _fill(self, tree: Tree) -> None:
        """Put variables into every text; keys stay as they are."""
        problems: list[Problem] = []
        stack: list[tuple[KeyPath, Any]] = [((), tree.data)]
        seen: set[int] = set()  # an alias is the same object again
        while stack:
            path, value = stack.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
                if isinstance(item, dict | list):
                    stack.append(((*path, key), item))
                elif isinstance(item, str) and "${" in item:
                    try:
                        value[key] = _VARIABLE.sub(self._variable, item)
                    except _VariableError as error:
                        problems.append(tree.problem((*path, key), str(error), error.hint))
        if problems:
            raise InvalidConfigError(problems)

    def _variable(self, found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        if found[2] is None:
            raise _VariableError(
                "${ without the name of a variable", "write ${NAME} or ${NAME:-default}, or $${ for ${"
            )
        value = self._environment.get(found[2], "")
        if not value and found[3] is not None:
            return found[3]
        if found[2] not in self._environment:
            raise _VariableError(
                f"the variable {found[2]} is not set", f"set it, or give a default: ${{{found[2]}:-value}}"
            )
        return value

    def _check_unicode(self, tree: Tree) -> None:
        """Halves of surrogate pairs, which JSON escapes and variables can smuggle in, are no text."""
        source = tree.sources[0]
        if "$" not in source.text and "\\" not in source.text:
            return
        stack: list[tuple[KeyPath, Any]] = [((), tree.data)]
        seen: set[int] = set()
        while stack:
            path, value = stack.pop()
            if isinstance(value, dict | list):
                if id(value) not in seen:
                    seen.add(id(value))
                    stack += (((*path, key), item) for key, item in _items(value))
                    stack += (((*path, key), key) for key, _ in _items(value) if isinstance(key, str))
            elif isinstance(value, str) and not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError:
                    problem = tree.problem(path, "text that is not Unicode", "it has half of a surrogate pair")
                    raise InvalidConfigError([problem]) from None

    def _include(self, tree: Tree, within: tuple[Path, ...]) -> None:
        if "include" not in tree.data:
            return
        wanted = tree.data.pop("include")
        names = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise InvalidConfigError(
                [tree.problem(("include",), "include is a list of files", "include: [sites.yaml]")]
            )
        for index, name in enumerate(names):
            at: KeyPath = ("include", index) if isinstance(wanted, list) else ("include",)
            for path in self._named(tree, at, name):
                if path.resolve() in within:
                    raise InvalidConfigError([tree.problem(at, f"{name} includes itself in the end", "take it out")])
                if len(within) >= MAX_INCLUDE_DEPTH:
                    message = f"files include each other more than {MAX_INCLUDE_DEPTH} levels deep"
                    raise InvalidConfigError([tree.problem(at, message)])
                self._count += 1
                if self._count > MAX_FILES:
                    raise InvalidConfigError([tree.problem(at, f"more than {MAX_FILES} files are included")])
                tree.join(self.load(path, within))

    def _named(self, tree: Tree, at: KeyPath, name: str) -> list[Path]:
        """The files of one entry; a pattern may name none."""
        source = tree.sources[0]
        path = Path(name)
        if not path.is_absolute():
            path = source.path.parent / path
        if "\0" in name:
            raise InvalidConfigError([tree.problem(at, f"{name!r} is no file name")])
        if not any(sign in name for sign in "*?["):
            if not path.exists():
                raise InvalidConfigError([tree.problem(at, f"there is no file {path}")])
            return [path]
        tree.files.append(path.parent)
        return sorted(Path(found) for found in glob(str(path)) if Path(found).is_file())  # noqa: PTH207 - from anywhere


class _VariableError(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _items(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else enumerate(value)


def read(path: Path) -> Source:
    """The text of a file.

    Raises:
        InvalidConfigError: there is none, it is no file, it is larger than `MAX_SIZE`, or not UTF-8.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise _unreadable(f"{path} is {what}")
        if found.st_size > MAX_SIZE:
            message = f"{path} has {found.st_size:,} bytes, and {MAX_SIZE:,} are allowed"
            raise _unreadable(message, "split it: include: [FILE...]")
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_SIZE:
        raise _unreadable(f"{path} has more than {MAX_SIZE:,} bytes", "split it: include: [FILE...]")
    try:
        str(path).encode()
        return Source(path, content.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
        column = len(before[start:].decode(errors="replace")) + 1
        hint = "save it as UTF-8" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "save the file as UTF-8"
        place = Place(str(path), line, column)
        raise InvalidConfigError(
            [Problem(f"a byte that is not UTF-8: 0x{content[error.start]:02x}", hint, place)]
        ) from None
    except UnicodeEncodeError:
        raise _unreadable(f"the name of {path} is not UTF-8", "rename it, or link to it") from None


def _unreadable(message: str, hint: str = "") -> InvalidConfigError:
    return InvalidConfigError([Problem(message, hint)])
