"""Files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["is_private", "locked", "private_directory", "write_all", "write_private"]


def private_directory(path: Path) -> None:
    """Create `path` and its parents; `path` itself is for its owner only (0700).

    Raises:
        OSError: it cannot be created, or is a symlink or no directory.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def is_private(path: Path) -> bool:
    """Whether `path` itself (no symlink) is a file or directory of ours that nobody else may open."""
    try:
        status = path.lstat()
    except OSError:
        return False
    plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return plain and status.st_uid == os.geteuid() and not status.st_mode & 0o077


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a private directory, waiting for whoever else holds it.

    Raises:
        OSError: the directory is not writable.
    """
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write `content` to `path` with mode 0600, atomically: readers see the old file or the new one.

    The name is replaced, never followed, so a planted symlink cannot redirect the write.

    Raises:
        OSError: the directory is not writable or the disk is full; the old file is untouched.
    """
    write_all({path: content})


def write_all(private: Mapping[Path, bytes], public: Mapping[Path, bytes] | None = None) -> None:
    """Write files that belong together, each atomically: `private` with mode 0600, `public` with 0644.

    Everything is on the disk under temporary names before the first old file is replaced, so a full disk or an
    interruption leaves all old files as they were. Only a crash between two renames can leave a mixture.

    Args:
        private: contents by path, replaced first and in this order.
        public: the same for what everybody may read.

    Raises:
        OSError: a directory is not writable or the disk is full; the old files are untouched.
    """
    written: dict[Path, Path] = {}
    try:
        for files, mode in ((private, 0o600), (public or {}, 0o644)):
            for path, content in files.items():
                written[path] = _write_beside(path, content, mode)
        for path, temporary in written.items():
            temporary.replace(path)
    except BaseException:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
        raise
    for directory in {path.parent for path in written}:
        _sync(directory)


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    """Write `content` to the disk under a name of its own beside `path`."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
