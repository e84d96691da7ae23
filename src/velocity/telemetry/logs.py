"""The one logger, which is the native core's: this module sets it up and speaks through it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Literal

from velocity import _core

__all__ = ["configure", "flush", "log", "settings"]

Format = Literal["json", "text"]

_settings: tuple[Format | None, int] = (None, 0)


def configure(log_format: Format | None, verbosity: int) -> None:
    """Set format and level.

    Args:
        log_format: None means text on a terminal and JSON otherwise.
        verbosity: how many `-v` there were: 0 info, 1 debug, 2 trace, 3 trace including libraries.
    """
    global _settings
    _settings = (log_format, verbosity)
    terminal = sys.stderr.isatty()
    chosen = log_format or ("text" if terminal else "json")
    # The thread that writes begins here. A signal that it took would not reach those who wait for signals.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        _core.configure_logging(chosen, 1 + verbosity, terminal and "NO_COLOR" not in os.environ)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settings() -> tuple[Format | None, int]:
    """What `configure` was called with, for processes that are to log in the same way."""
    return _settings


def log(level: Literal["error", "warn", "info", "debug", "trace"], event: str, message: str, **fields: Any) -> None:
    """Write one record with the target `velocity::server`."""
    _core.log(level, "velocity::server", event, message, fields)


def flush() -> None:
    """Wait until everything logged so far is written."""
    _core.flush_logs()
