"""A start that is repeated skips what it has computed before.

Checking options and compiling the Plan costs 100 to 200 ms, nearly all of it importing typer and
pydantic; the engine is up in 3. So what `velocity serve` makes of its options is kept, as Python
keeps bytecode: under `~/.cache/velocity`, private to the user, keyed by everything the outcome depends on
(arguments, `VELOCITY_*`, working directory, version), and forgotten when any file it was made from has changed.
What the engine checks, it checks again every time: roots, certificates, ports.

This module is on the path of every start and imports next to nothing, which is why it uses `marshal`.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
import zlib
from typing import Any

import velocity
from velocity.server.launch import Launch, Runtime

__all__ = ["recall", "remember"]

_MAX_SIZE = 1 << 20
_MAX_KEPT = 64
"""Remembered starts; beyond it the oldest go."""


def _directory() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return os.path.join(base, "velocity", "starts")  # noqa: PTH118


def _key(arguments: list[str]) -> tuple[Any, ...]:
    environment = sorted((name, value) for name, value in os.environ.items() if name.startswith("VELOCITY_"))
    return (velocity.__version__, sys.version, tuple(arguments), tuple(environment), os.getcwd())  # noqa: PTH109


def _path(key: tuple[Any, ...]) -> str:
    # Version 2 has no back references, whose use depends on who else holds the objects.
    return os.path.join(_directory(), f"{zlib.crc32(marshal.dumps(key, 2)):08x}")  # noqa: PTH118


def _stamp(path: str) -> tuple[int, ...]:
    """What changes whenever a file does."""
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode)


def _sources(launch: Launch) -> dict[str, tuple[int, ...]]:
    """Every file the outcome was made from: the certificate and its keys, and the code that made the rest."""
    package = os.path.dirname(velocity.__file__)  # noqa: PTH120
    code = [
        entry.path
        for part in ("cli", "config", "pki", "server")
        for entry in os.scandir(os.path.join(package, part))  # noqa: PTH118
        if entry.name.endswith(".py")
    ]
    # A configuration that appears where one is looked for takes the place of what flags alone say.
    found = ("serve.simple.yaml", "/etc/velocity/serve.simple.yaml")
    return {path: _stamp(path) for path in (*code, *found, *launch.certificate_files)}


def _sealed(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big") + content


def _opened(sealed: bytes) -> bytes:
    """What was sealed: `marshal` must not be given bytes that a failing disk has changed."""
    checksum, content = sealed[:4], sealed[4:]
    if zlib.crc32(content).to_bytes(4, "big") != checksum:
        raise ValueError("the checksum does not match")
    return content


def recall(arguments: list[str]) -> Launch | None:
    """The outcome of an earlier start with these arguments, if nothing has changed since."""
    try:
        key = _key(arguments)
        descriptor = os.open(_path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123
            stat = os.fstat(descriptor)
            if stat.st_uid != os.geteuid() or stat.st_mode & 0o077 or stat.st_size > _MAX_SIZE:
                return None
            saved_key, values, runtime, sources, good_until = marshal.loads(_opened(file.read()))  # noqa: S302 - ours
        if saved_key != key or time.time() > good_until:
            return None
        launch = Launch._make((*values, Runtime._make(runtime)))
        return launch if sources == _sources(launch) else None
    except (OSError, EOFError, ValueError, TypeError):
        return None


def remember(arguments: list[str], launch: Launch) -> None:
    """Keep the outcome of a start. A cache that cannot be written is no reason to fail."""
    from pathlib import Path

    from velocity.pki.storage import private_directory, write_private

    *values, runtime = launch
    key = _key(arguments)
    entry: tuple[Any, ...] = (key, tuple(values), tuple(runtime), _sources(launch), launch.good_until)
    try:
        private_directory(Path(_directory()))
        write_private(Path(_path(key)), _sealed(marshal.dumps(entry)))
        kept = sorted(Path(_directory()).iterdir(), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_MAX_KEPT]:
            path.unlink(missing_ok=True)
    except (OSError, ValueError):
        pass
