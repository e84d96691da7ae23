"""`--reload`: which changes of files are changes of an application's code."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from watchfiles import Change

__all__ = ["changes", "forget_bytecode", "names"]

_MAX_NAMED = 3


async def changes(folders: tuple[Path, ...]) -> AsyncIterator[frozenset[Path]]:
    """Files that have changed together, for as long as anybody asks.

    Args:
        folders: what is watched, with all that is below.
    """
    import watchfiles  # a tenth of a second, for those who watch

    python = watchfiles.PythonFilter()

    def is_code(change: Change, path: str) -> bool:
        return python(change, path) or Path(path).name.startswith(".env")

    async for found in watchfiles.awatch(*folders, watch_filter=is_code):
        yield frozenset(Path(name) for _, name in found)


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
