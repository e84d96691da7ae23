"""`--reload`: which changes of files are changes of an application's code."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from watchfiles import Change

    from velocity.config.program import Program

__all__ = ["changes", "forget_bytecode", "names"]

_MAX_NAMED = 3


async def changes(program: Program) -> AsyncIterator[frozenset[Path]]:
    """Files of an application's code that have changed together, for as long as anybody asks."""
    import watchfiles  # a tenth of a second, for those who watch

    python, anything = watchfiles.PythonFilter(), watchfiles.DefaultFilter()

    def is_code(change: Change, name: str) -> bool:
        path = Path(name)
        if any(_is_meant(path, pattern) for pattern in program.unwatched):
            return False
        if python(change, name) or path.name.startswith(".env"):
            return True
        return anything(change, name) and any(_is_meant(path, pattern) for pattern in program.watched_too)

    async for found in watchfiles.awatch(*map(Path, program.watched), watch_filter=is_code):
        yield frozenset(Path(name) for _, name in found)


def _is_meant(path: Path, pattern: str) -> bool:
    """Whether a pattern, `*.html` or `made`, is for this file, or for a folder that it is in."""
    return any(one.match(pattern) for one in (path, *path.parents))


def names(files: frozenset[Path]) -> str:
    """What to call them: the first few."""
    return ", ".join(sorted({file.name for file in files})[:_MAX_NAMED])


def forget_bytecode(files: frozenset[Path]) -> None:
    """Have Python compile these again.

    It takes bytecode for that of a source file when size and time agree (PEP 552), and counts time in whole seconds:
    of two changes within one, the second would not be seen.
    """
    for file in files:
        with contextlib.suppress(OSError, NotImplementedError):  # the latter where Python keeps no bytecode
            Path(importlib.util.cache_from_source(str(file))).unlink()
