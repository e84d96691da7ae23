"""`velocity serve MODULE:ATTRIBUTE --reload`: the server in a process of its own, which is replaced when code changes.

A module that was imported cannot be taken back, so another process takes the place of the one that has it. For as long
as the new code does not start, its error is there to be read, and the next change is waited for.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

from velocity.telemetry import logs

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["run"]

_PATIENCE = 2.0
"""Seconds for requests in flight when the code has changed."""
_LOOK = 250
"""Milliseconds between looks at the process."""


def run(arguments: list[str], folders: tuple[Path, ...]) -> int:
    """Serve, and serve anew whenever a Python file changes, until a signal says otherwise.

    Args:
        arguments: of `velocity`, without `--reload`.
        folders: what is watched, with all that is below.

    Returns:
        The exit code of the last process.
    """
    return _Replacing(arguments).run(folders)


class _Replacing:
    def __init__(self, arguments: list[str]) -> None:
        self._command = [sys.executable, "-m", "velocity", *arguments]
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self, folders: tuple[Path, ...]) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        self._start()
        changes = watchfiles.watch(
            *folders,
            watch_filter=_Code(),
            stop_event=self._stop,
            rust_timeout=_LOOK,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        told = False
        for found in changes:
            if found:
                names = ", ".join(sorted({Path(name).name for _, name in found})[:3])
                logs.log("info", "code_changed", "starting anew", files=names)
                self._replace()
                told = False
            elif not told and self._process is not None and self._process.poll() is not None:
                logs.log("warn", "waiting", "the server has ended: waiting for the next change of its code")
                told = True
        assert self._process is not None  # noqa: S101 - it was started
        return abs(self._process.wait())

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._stop.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _start(self) -> None:
        if not self._stopping:
            # In a group of its own: what a terminal sends to everybody is handed on by us, and once.
            self._process = subprocess.Popen(self._command, process_group=0)

    def _replace(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.terminate()  # the second time, at once
                process.wait()
        self._start()


class _Code(watchfiles.PythonFilter):
    """Python files, and files of variables."""

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        return super().__call__(change, path) or Path(path).name.startswith(".env")
