"""Everything that is wrong with configuration files, without serving them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from velocity.config.configuration import Configuration, open_configuration
from velocity.config.edge import EdgeConfig
from velocity.config.problems import InvalidConfigError, Problem
from velocity.config.simple import SimpleConfig
from velocity.config.source import Given, load

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Judge", "kind_of", "lint", "open_one"]

Kind = Literal["simple", "edge"]


class Judge(Protocol):
    """`velocity.server.judge.problems`."""

    def __call__(self, configuration: Configuration, *, look: bool) -> list[Problem]:
        """What only the engine knows."""
        ...


def kind_of(path: Path) -> Kind:
    """Which of the two files this is, by its keys, or by its name where those do not tell.

    Raises:
        InvalidConfigError: it cannot be read.
    """
    keys = set(load(path).data)
    simple, edge = (len(keys & set(model.model_fields)) for model in (SimpleConfig, EdgeConfig))
    if simple != edge:
        return "simple" if simple > edge else "edge"
    return "edge" if "edge" in path.name else "simple"


def open_one(path: Path) -> Configuration:
    """A file of either kind by itself.

    Raises:
        InvalidConfigError: what is wrong with it.
    """
    if kind_of(path) == "edge":
        # Something has to be served behind it; the current folder always is there.
        return open_configuration(None, path, {"root": Given("--root", ".")})
    return open_configuration(path)


def lint(files: list[Path], *, look: bool = True, judge: Judge | None = None) -> list[Problem]:
    """Every error and warning of some files; a `serve.simple.yaml` and an `edge.yaml` are judged together.

    Args:
        files: of either kind.
        look: whether the files and folders that they name have to be there.
        judge: finds what only the engine knows of a configuration, given the same `look`.
    """
    problems: list[Problem] = []
    kinds: list[tuple[Path, Kind]] = []
    for path in files:
        try:
            kinds.append((path, kind_of(path)))
        except InvalidConfigError as error:
            problems += error.problems
    jobs: list[tuple[Path | None, Path | None]] = [
        (path, None) if kind == "simple" else (None, path) for path, kind in kinds
    ]
    if sorted(kind for _, kind in kinds) == ["edge", "simple"]:
        together = {kind: path for path, kind in kinds}
        jobs = [(together["simple"], together["edge"])]
    for simple, edge in jobs:
        try:
            given = {"root": Given("--root", ".")} if simple is None else {}
            found = open_configuration(simple, edge, given)
        except InvalidConfigError as error:
            problems += error.problems
            continue
        problems += found.warnings
        if look:
            problems += found.missing()
        if judge is not None:
            said = {one.place for one in problems if one.severity == "error"}
            problems += (one for one in judge(found, look=look) if one.place not in said)
    return sorted(
        problems, key=lambda one: (one.place.name, one.place.line, one.place.column) if one.place else ("", 0, 0)
    )
