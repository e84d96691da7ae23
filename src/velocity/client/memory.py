"""Which hosts have spoken `velocity/1`: a later downgrade of one of them is worth a warning.

One JSON file under `~/.local/state/velocity` (XDG Base Directory Specification), private to the user. It is a
memory and no policy: whoever must not be downgraded says so with --require-velocity.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

__all__ = ["folder", "last_spoke", "remember"]

_KEPT = 1000
"""Hosts; beyond it those that spoke longest ago go."""
_DAYS = 180
"""After which a host is forgotten."""


def folder() -> Path:
    """Where the user's programs keep what outlives them."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "velocity"


def _file() -> Path:
    return folder() / "hosts.json"


def _load() -> dict[str, str]:
    try:
        known = json.loads(_file().read_text("utf-8"))
        return {str(name): str(day) for name, day in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def last_spoke(host: str, port: int) -> dt.date | None:
    """The day on which a host was last seen to speak `velocity/1`; None if it never was, or long ago."""
    try:
        day = dt.date.fromisoformat(_load()[f"{host.lower()}:{port}"])
    except (KeyError, ValueError):
        return None
    return day if dt.datetime.now(dt.UTC).date() - day <= dt.timedelta(days=_DAYS) else None


def remember(host: str, port: int) -> None:
    """A host speaks `velocity/1` today. A memory that cannot be written is no reason to fail."""
    from velocity.pki.storage import locked, private_directory, write_private

    today = dt.datetime.now(dt.UTC).date()
    if last_spoke(host, port) == today:
        return
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        private_directory(file.parent)
        with locked(file.parent):
            known = {**_load(), f"{host.lower()}:{port}": today.isoformat()}
            latest = sorted(known.items(), key=lambda item: item[1])[-_KEPT:]
            write_private(file, json.dumps(dict(latest), indent=1).encode())
    except OSError:
        pass
