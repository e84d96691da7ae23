"""An application as it is named, before it is loaded."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from velocity.errors import ConfigError

__all__ = ["Interface", "Lifespan", "Loop", "Program", "parse_target"]

Lifespan = Literal["auto", "on", "off"]
Interface = Literal["auto", "asgi", "asgi2", "wsgi"]
Loop = Literal["auto", "asyncio", "uvloop"]


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
    """After so many the server stops, or the worker is replaced; None is never."""
    max_requests_jitter: int = 0
    """Up to so many more, by chance, so that not all workers are replaced at once."""
    workers: int | None = None
    """Processes of its own; None is the server's process."""
    healthcheck: float = 30.0
    """Seconds that the event loop of a worker may be blocked before it is killed."""
    watched: tuple[str, ...] = ()
    """Folders: when Python files there change, the workers are replaced."""
    watched_too: tuple[str, ...] = ()
    """Patterns of other files that count as code."""
    unwatched: tuple[str, ...] = ()
    """Patterns of files, or folders, that do not."""
    loop: Loop = "auto"
    """The event loop; `auto` is uvloop where it is installed."""
    log_config: str | None = None
    """A file for `logging.config`, read before the application is imported."""

    @property
    def name(self) -> str:
        """What the Plan calls it."""
        return f"{self.target}()" if self.factory else self.target

    def most_requests(self) -> int | None:
        """`max_requests`, with as much jitter as chance has it."""
        if self.max_requests is None:
            return None
        return self.max_requests + random.randint(0, self.max_requests_jitter)  # noqa: S311 - nothing is secret here


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
