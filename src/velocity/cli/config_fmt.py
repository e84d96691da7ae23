"""`velocity config fmt`: one way to write it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from velocity.cli import style

__all__ = ["EXAMPLES", "fmt"]

EXAMPLES = """\b
Examples:
  velocity config fmt serve.simple.yaml edge.yaml
  velocity config fmt --check serve.simple.yaml
"""

_Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML or JSON.")]


def fmt(
    files: _Files,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 if something would be.")] = False,
) -> int:
    """Put configuration files in order: two spaces a level; comments stay."""
    from velocity.config.layout import canonical
    from velocity.config.source import read

    would = 0
    for path in files:
        source = read(path)
        text = canonical(source)
        if text == source.text:
            continue
        would += 1
        if check:
            print(style.plain(str(path)))
        else:
            _replace(path, text)
            style.note(f"Put {path} in order")
    return 1 if check and would else 0


def _replace(path: Path, text: str) -> None:
    """Write a file at once, with the mode that it had: whoever reads it sees the old or the new one."""
    from velocity.errors import ConfigError

    target = path.resolve()
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - a descriptor
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(stat.S_IMODE(target.stat().st_mode))
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ConfigError("CONFIG_UNWRITABLE", f"cannot write {path}: {error.strerror}") from error
