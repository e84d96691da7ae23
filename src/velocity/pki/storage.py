"""Files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_private", "locked", "private_directory", "write_private"]


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
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
