"""Files that change: edited in place, replaced by a rename, or swapped with the link that leads to them.

What is watched are folders, because an editor's new file is another file than the one before, and a volume of
Kubernetes changes by its link `..data`. What counts is whether a file then is another one, has another size or another
time: every event, and every few seconds, is only a reason to look.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Stamps", "Watcher", "below", "stamps"]

Stamps = dict[str, tuple[int, ...]]

_DEBOUNCE = 200
"""Milliseconds within which changes are one."""
_TURN = 5_000
"""Milliseconds between looks when there is no event."""
_POLL = 1.0
"""Seconds between looks where there are no events to be had."""
_PATIENCE = 10.0
"""Seconds for the end of the thread. Python ends badly under one that is in native code."""
_MAX_ENTRIES = 10_000
"""Files of a folder that are looked at."""


def stamps(paths: Iterable[Path]) -> Stamps:
    """What changes whenever a file does, or what a folder has."""
    return {str(path): _stamp(path) for path in paths}


def below(folder: Path) -> set[Path]:
    """A folder, and all that is in it."""
    found = {folder}
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.update(Path(path, name) for name in (*folders, *names))
        if len(found) > _MAX_ENTRIES:
            break
    return found


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


class Watcher:
    """A thread that calls back whenever one of its files has changed."""

    def __init__(self, files: set[Path], changed: Callable[[], None]) -> None:
        self.files = files
        self._changed = changed
        self._stamps = stamps(files)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._folders: set[Path] = set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end, unless it is the watcher itself that asks."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def follow(self, files: set[Path]) -> None:
        """Watch these from now on. What changes between here and the next look is not lost."""
        for path in files - self.files:
            self._stamps.update(stamps([path]))
        self.files = files

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except (ImportError, OSError, RuntimeError) as error:  # the first of them also without descriptors
                logs.log("warn", "watch_failed", "no events for changed files: looking every second", reason=str(error))
                while not self._stop.wait(_POLL):
                    self._look()

    def _watch(self) -> None:
        """Look at each event, until other folders are to be watched."""
        import watchfiles

        self._folders = _folders(self.files)
        events = watchfiles.watch(
            *self._folders,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=50,
            stop_event=self._stop,
            rust_timeout=_TURN,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        self._look()  # at what changed before there were events
        for _ in events:
            self._look()
            if _folders(self.files) != self._folders:
                return

    def _look(self) -> None:
        found = stamps(self.files)
        if found != self._stamps and not self._stop.is_set():
            self._stamps = found
            self._changed()


def _folders(files: set[Path]) -> set[Path]:
    """The folders in which a change of these files, or of a link on the way to them, is seen."""
    found: set[Path] = set()
    for path in files:
        absolute = path.absolute()
        for one in (absolute, absolute.resolve()):
            found.update((one, one.parent))
    return {folder for folder in found if folder.is_dir()}
