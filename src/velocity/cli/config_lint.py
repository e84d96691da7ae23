"""`velocity config lint`: everything that is wrong, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from velocity.cli import authority, style

__all__ = ["EXAMPLES", "lint"]

EXAMPLES = """\b
Examples:
  velocity config lint serve.simple.yaml
  velocity config lint serve.simple.yaml edge.yaml --json
"""

_Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="serve.simple.yaml, edge.yaml, or both.")]


def lint(
    files: _Files,
    look: Annotated[
        bool, typer.Option("--files/--no-files", help="Whether the files and folders it names have to be there.")
    ] = True,
    as_json: authority.JsonOption = False,
) -> int:
    """Say everything that is wrong with configuration files, and where.

    Exits with 1 if there is an error; warnings alone are none.
    """
    from velocity.config.lint import lint as find
    from velocity.server import judge

    problems = find(files, look=look, judge=judge.problems)
    errors = sum(one.severity == "error" for one in problems)
    if as_json:
        print(json.dumps({"ok": not errors, "problems": [one.to_json() for one in problems]}, indent=2))
        return 1 if errors else 0
    for one in problems:
        where = f"{one.place}: " if one.place else ""
        print(style.plain(f"{where}{one.severity}: {one.message}"))
        excerpt = one.place.excerpt() if one.place else ""
        for line in excerpt.split("\n") if excerpt else ():
            print(f"  {style.plain(line)}")
        if one.hint:
            print(f"  hint: {style.plain(one.hint)}")
    names = ", ".join(str(path) for path in files)
    warnings = len(problems) - errors
    style.note(f"{names}: {_count(errors, 'error')}, {_count(warnings, 'warning')}" if problems else f"{names}: fine")
    return 1 if errors else 0


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
