"""The one way a test may say that this machine cannot run it.

Elsewhere such a test is skipped and named in the summary; with `CI=true` it fails.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from pathlib import Path

IN_CI = os.environ.get("CI") == "true"


def skip(reason: str) -> NoReturn:
    """End this test because of `reason`, which says what is missing and how to get it."""
    if IN_CI:
        pytest.fail(f"skipped in CI, where every test must run: {reason}", pytrace=False)
    pytest.skip(reason)


def command(name: str, package: str) -> str:
    """The path of a program, or the end of this test.

    Args:
        name: the program.
        package: what to install to have it.
    """
    path = shutil.which(name)
    if path is None:
        skip(f"no {name} on this machine: install {package}")
    return path


def free_space(where: Path, size: int) -> None:
    """End this test unless `size` bytes are free under `where`."""
    if shutil.disk_usage(where).free < size:
        skip(f"less than {size >> 20} MiB free under the temporary folder: set TMPDIR to another")
