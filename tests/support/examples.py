"""The examples, run as their documentation says."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from support.server import PYTHON, Server, check_talk, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = Path(__file__).parents[2] / "examples"


def serving(folder: Path, name: str, target: str, env: Mapping[str, str] | None = None) -> Server:
    """An application of an example; `folder` is where it runs and keeps what it keeps."""
    return Server(folder, target, "--app-dir", EXAMPLES / name, env=env, files=False)


def run(script: str, *args: str | Path, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A script of the examples, to its end, and whatever its end: no traceback."""
    done = subprocess.run(
        [PYTHON, EXAMPLES / script, *args],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    check_talk(done.stderr)
    return done
