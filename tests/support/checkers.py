"""Type checkers as users run them, on a program of theirs."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from support import needs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAMES = ("mypy", "pyright")


def said(name: str, program: str, folder: Path) -> str:
    """What a checker says of a program in which nothing is wrong."""
    status, text = _check(name, program, folder)
    assert status == 0, text
    return text


def finds(name: str, program: str, wrong: Iterable[str], folder: Path) -> None:
    """A checker finds every one of these lines wrong at the end of a program, and nothing else."""
    whole = program + "\n".join(wrong) + "\n"
    status, text = _check(name, whole, folder)
    lines = whole.splitlines()
    found = {lines[int(line) - 1] for line in re.findall(r"\.py:(\d+):?\S* (?:- )?error", text)}
    assert status == 1
    assert found == set(wrong), text


def _check(name: str, program: str, folder: Path) -> tuple[int, str]:
    path = folder / "program.py"
    path.write_text(program)
    if name == "mypy":
        tool = [sys.executable, "-m", "mypy", "--strict", "--config-file="]
    else:
        needs.command("node", "nodejs")
        tool = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run([*tool, str(path)], capture_output=True, text=True, cwd=folder, timeout=280)
    return done.returncode, done.stdout
