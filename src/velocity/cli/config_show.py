"""`velocity config show`: what holds, and who said it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from velocity.cli import authority, layers, style

__all__ = ["EXAMPLES", "show"]

EXAMPLES = """\b
Examples:
  velocity config show
  velocity config show --effective --origin --config serve.simple.yaml
  velocity config show --origin -- --listen :443 --profile secure
"""

_Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file.  [default: where serve looks for it]"),
]
_EdgeConfig = Annotated[Path | None, typer.Option("--edge-config", metavar="FILE", help="Edge configuration.")]


def show(
    config: _Config = None,
    edge_config: _EdgeConfig = None,
    effective: Annotated[bool, typer.Option("--effective", help="Defaults too.")] = False,
    origin: Annotated[bool, typer.Option("--origin", help="Say for every value where it came from.")] = False,
    as_json: authority.JsonOption = False,
    flags: Annotated[list[str] | None, typer.Argument(metavar="[-- FLAGS]", help="Flags of velocity serve.")] = None,
) -> int:
    """Show a configuration as velocity serve would have it: files, variables and flags joined."""
    from velocity.config.configuration import open_configuration
    from velocity.config.effective import values

    named = [
        *(["--config", str(config)] if config else []),
        *(["--edge-config", str(edge_config)] if edge_config else []),
    ]
    context = _serve_context([*named, *(flags or [])])
    given = layers.given(context)
    files = layers.files(context.params["config"], context.params["edge_config"], given)
    found = values(open_configuration(*files, given), effective=effective)
    if as_json:
        rows = [one._asdict() if origin else {"key": one.key, "value": one.value} for one in found]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    lines = [f"{one.key} = {json.dumps(one.value, ensure_ascii=False)}" for one in found]
    width = min(max(map(len, lines), default=0), 72)
    for line, one in zip(lines, found, strict=True):
        print(style.plain(f"{line:<{width}}  # {one.origin}" if origin else line))
    return 0


def _serve_context(arguments: list[str]) -> typer.Context:
    """The flags and variables of a `velocity serve` that is not run."""
    from velocity.cli.app import build

    command = typer.main.get_command(build(("serve",)))
    serve = command.get_command(typer.Context(command), "serve")  # type: ignore[attr-defined]
    context: typer.Context = serve.make_context("serve", list(arguments))
    return context
