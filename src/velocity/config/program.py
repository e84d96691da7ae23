"""An application as it is named, before it is loaded."""

from __future__ import annotations

from typing import Literal, NamedTuple

from velocity.errors import ConfigError

__all__ = ["Interface", "Lifespan", "Program", "parse_target"]

Lifespan = Literal["auto", "on", "off"]
Interface = Literal["auto", "asgi", "wsgi"]


class Program(NamedTuple):
    """An application, and how it is to be run."""

    target: str
    """`module:attribute`."""
    factory: bool = False
    """Whether the attribute makes the application when it is called."""
    app_dir: str = "."
    """Where modules are looked for first."""
    lifespan: Lifespan = "auto"
    interface: Interface = "auto"
    env_file: str | None = None
    max_requests: int | None = None
    """After so many the server stops; None is never."""

    @property
    def name(self) -> str:
        """What the Plan calls it."""
        return f"{self.target}()" if self.factory else self.target


def parse_target(text: str) -> str:
    """The `module:attribute` of an argument, checked for form only.

    Raises:
        ConfigError: it has another form.
    """
    module, colon, attribute = text.partition(":")
    words = [*module.split("."), *attribute.split(".")]
    if colon and all(word.isidentifier() for word in words):
        return text
    hint = "for example: main:app, for the variable app of main.py"
    if text.endswith(".py") or "/" in text:
        stem = text.removesuffix(".py").strip("./").replace("/", ".")
        hint = f"write {stem}:app, without .py; --app-dir names the folder"
    elif not colon and text.isidentifier():
        hint = f"write {text}:app; for a folder of files, --root {text}"
    raise ConfigError("APPLICATION_INVALID", f"{text!r} is no MODULE:ATTRIBUTE", hint)
