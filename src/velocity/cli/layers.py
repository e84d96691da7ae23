"""Which of its parameters a `velocity serve` was given, and by what: a flag or a variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from velocity.config.source import Given

__all__ = ["discoverable", "files", "given"]

_NOT_VALUES = {"config", "edge_config", "verbose", "log_level"}


def discoverable() -> bool:
    """Whether there is a configuration at one of the places where it is looked for; imports nothing."""
    return any(map(os.path.isfile, ("serve.simple.yaml", "/etc/velocity/serve.simple.yaml")))


def given(context: typer.Context) -> dict[str, Given]:
    """What flags and variables say, by parameter."""
    from velocity.config.source import Given

    found: dict[str, Given] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        source = context.get_parameter_source(name)
        if name in _NOT_VALUES or source is None or value in (None, [], ()):
            continue
        if source.name == "COMMANDLINE":
            found[name] = Given(parameter.opts[0], value)
        elif source.name == "ENVIRONMENT" and parameter.envvar is not None:
            found[name] = Given(str(parameter.envvar), value)
    return found


def files(config: str | None, edge: str | None, given: dict[str, Given]) -> tuple[Path | None, Path | None]:
    """The configuration files: those that are named, else those that are found; without any, the current folder."""
    from pathlib import Path

    from velocity.config.configuration import discover
    from velocity.config.source import Given

    found = Path(config) if config is not None else discover() if "root" not in given else None
    if found is None and "root" not in given and "proxy" not in given:
        given["root"] = Given("--root", ".")
    return found, Path(edge) if edge is not None else None
