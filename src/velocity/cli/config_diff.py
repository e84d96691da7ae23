"""`velocity config diff`: what would change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from velocity.cli import authority, style

__all__ = ["EXAMPLES", "diff"]

EXAMPLES = """\b
Examples:
  velocity config diff /etc/velocity/serve.simple.yaml serve.simple.yaml
  velocity config diff old/edge.yaml edge.yaml --json
"""

_Old = Annotated[Path, typer.Argument(metavar="OLD", help="The configuration that runs.")]
_New = Annotated[Path, typer.Argument(metavar="NEW", help="The one that would.")]


def diff(
    old: _Old,
    new: _New,
    as_json: authority.JsonOption = False,
) -> int:
    """Show what a new configuration would change, and which connections it would touch.

    Exits with 1 if anything would.
    """
    from velocity.config.difference import compare, effects
    from velocity.config.lint import open_one

    changes = compare(open_one(old), open_one(new))
    touched = effects(changes)
    if as_json:
        print(json.dumps({"changes": [change._asdict() for change in changes], "touches": touched}, indent=2))
        return 1 if changes else 0
    for change in changes:
        if change.old is None:
            line = f"+ {change.key} = {_shown(change.new)}"
        elif change.new is None:
            line = f"- {change.key} = {_shown(change.old)}"
        else:
            line = f"~ {change.key} = {_shown(change.old)} -> {_shown(change.new)}"
        print(style.plain(line))
    for one in touched:
        style.note(f"touches {one}")
    if not changes:
        style.note("nothing would change")
    return 1 if changes else 0


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
