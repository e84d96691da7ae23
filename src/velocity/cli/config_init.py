"""`velocity config init`: something to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from velocity.cli import style

__all__ = ["EXAMPLES", "init"]

EXAMPLES = """\b
Examples:
  velocity config init
  velocity config init site/serve.simple.yaml
"""


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("serve.simple.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> int:
    """Write a commented configuration, and the folder that it serves, if there is none."""
    from velocity.config.starter import PAGE, STARTER
    from velocity.errors import ConfigError

    if file.exists() and not force:
        raise ConfigError("CONFIG_EXISTS", f"{file} is there already", "add --force to replace it")
    public = file.parent / "public"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not public.exists():
            public.mkdir()
            (public / "index.html").write_text(PAGE, "utf-8")
        file.write_text(STARTER, "utf-8")
    except OSError as error:
        raise ConfigError("CONFIG_UNWRITABLE", f"cannot write {error.filename or file}: {error.strerror}") from error
    style.note(f"Wrote {file}")
    style.note(f"  serve it     velocity serve --config {file}")
    return 0
