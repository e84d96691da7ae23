"""What is wrong with a configuration, and where: every problem has a file, a line, a column and a hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from velocity.errors import ConfigError

__all__ = ["InvalidConfigError", "KeyPath", "Place", "Problem", "dotted"]

KeyPath = tuple[str | int, ...]
"""The way to a value: `("content", "sites", 0, "root")`."""


def dotted(path: KeyPath) -> str:
    """A path as people write it: `content.sites[0].root`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said: in a file, or by a flag or a variable, which have neither line nor column."""

    name: str
    """The file as it was named, `--listen`, or `VELOCITY_LISTEN`."""
    line: int = 0
    """From 1; 0 where there is none."""
    column: int = 0
    """From 1, in characters."""
    text: str = ""
    """The line itself."""

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name

    def excerpt(self) -> str:
        """The line with a caret below the place; empty where there is no line."""
        if not self.text.strip():
            return ""
        # A window, so that a line of a megabyte does not fill the terminal.
        start = max(0, self.column - 80)
        shown = self.text[start : start + 120].expandtabs(1)
        number = str(self.line)
        return f"{number} | {shown}\n{' ' * len(number)} | {' ' * (self.column - 1 - start)}^"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or that is worth a warning."""

    message: str
    hint: str = ""
    place: Place | None = None
    key: str = ""
    """`content.sites[0].root`; empty where it is about a whole file."""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    def to_json(self) -> dict[str, Any]:
        """For machines: every key is always there."""
        place = self.place or Place("")
        return {
            "severity": self.severity,
            "file": place.name,
            "line": place.line,
            "column": place.column,
            "key": self.key,
            "message": self.message,
            "hint": self.hint,
        }


class InvalidConfigError(ConfigError):
    """A configuration that cannot be: all of what is wrong with it, of which the message tells the first.

    Attributes:
        problems: at least one.
    """

    def __init__(self, problems: list[Problem]) -> None:
        first, more = problems[0], len(problems) - 1
        hint = first.hint
        if more:
            rest = f"{more} more {'problem' if more == 1 else 'problems'}: velocity config lint shows all"
            hint = f"{hint}; {rest}" if hint else rest
        super().__init__("CONFIG_INVALID", str(first), hint)
        self.problems = tuple(problems)
