"""`velocity config schema`: what editors need to help."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["EXAMPLES", "schema"]

EXAMPLES = """\b
Examples:
  velocity config schema > serve.simple.schema.json
  velocity config schema edge
"""


def schema(
    name: Annotated[str, typer.Argument(metavar="[simple|edge]", help="Which of the two files.")] = "simple",
) -> int:
    """Print the JSON Schema of a configuration file."""
    from velocity.config.schema import NAMES, shipped
    from velocity.errors import ConfigError

    for known in NAMES:
        if name == known:
            print(shipped(known), end="")
            return 0
    raise ConfigError("OPTION_INVALID", f"there is no schema {name!r}", f"known are {', '.join(NAMES)}")
