"""`--reload`: which changes of files are changes of an application's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["changes"]

_MAX_NAMED = 3


async def changes(folders: tuple[Path, ...]) -> AsyncIterator[str]:
    """The names of files that have changed together, for as long as anybody asks.

    Args:
        folders: what is watched, with all that is below.
    """
    async for found in watchfiles.awatch(*folders, watch_filter=_Code()):
        yield ", ".join(sorted({Path(name).name for _, name in found})[:_MAX_NAMED])


class _Code(watchfiles.PythonFilter):
    """Python files, and files of variables."""

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        return super().__call__(change, path) or Path(path).name.startswith(".env")
