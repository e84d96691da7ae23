"""Where a cache of answers keeps them: in memory, or in a folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Protocol

__all__ = ["DirectoryStore", "MemoryStore", "Store"]


class Store(Protocol):
    """Bytes by key; threads may share it. What is lost is asked for again.

    Attributes:
        waits: whether it may wait for a disk or a network, so that an event loop must not ask it.
    """

    waits: bool

    def get(self, key: str) -> bytes | None:
        """What was put there, if it still is."""

    def put(self, key: str, value: bytes) -> None:
        """Keep something."""

    def delete(self, key: str) -> None:
        """Keep it no longer."""


class MemoryStore:
    """In memory; what was not used for longest goes first.

    Args:
        max_size: bytes, all together.
    """

    waits = False

    def __init__(self, max_size: int = 64 << 20) -> None:
        self._max_size = max_size
        self._size = 0
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> bytes | None:
        """What was put there, if it still is."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: str, value: bytes) -> None:
        """Keep something."""
        with self._lock:
            self._size += len(value) - len(self._values.pop(key, b""))
            self._values[key] = value
            while self._size > self._max_size:
                _, gone = self._values.popitem(last=False)
                self._size -= len(gone)

    def delete(self, key: str) -> None:
        """Keep it no longer."""
        with self._lock:
            self._size -= len(self._values.pop(key, b""))


class DirectoryStore:
    """In a folder that is private to the user; processes may share it. A disk that fails is a cache that is empty.

    Args:
        folder: made if it is missing.
        max_size: bytes, all together; now and then what was written longest ago goes.
    """

    waits = True

    def __init__(self, folder: str | os.PathLike[str], max_size: int = 256 << 20) -> None:
        self._folder = Path(folder)
        self._max_size = max_size
        self._written = 0
        self._lock = Lock()

    def get(self, key: str) -> bytes | None:
        """What was put there, if it still is."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def put(self, key: str, value: bytes) -> None:
        """Keep something."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(value)
                Path(temporary).replace(self._path(key))
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        with self._lock:
            self._written += len(value)
            full = self._written > self._max_size // 8
            if full:
                self._written = 0
        if full:
            self._shrink()

    def delete(self, key: str) -> None:
        """Keep it no longer."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._folder / key

    def _shrink(self) -> None:
        with contextlib.suppress(OSError):
            files = []
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    found = path.stat()
                    files.append((found.st_mtime, found.st_size, path))
            size = sum(one[1] for one in files)
            for _, length, path in sorted(files):
                if size <= self._max_size:
                    return
                with contextlib.suppress(OSError):
                    path.unlink()
                    size -= length
