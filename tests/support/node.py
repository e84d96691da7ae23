"""Programs for Node that tests talk to, with the packages that their lock file names."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from support import needs

CACHE = Path(__file__).parents[1] / ".cache"
WS = Path(__file__).parents[1] / "interop" / "nodews"
"""A server and a client of `ws`."""


def installed(source: Path, package: str) -> tuple[str, Path]:
    """Node, and a folder with the programs of `source` and what they import.

    The first test that needs it installs it into `tests/.cache`.
    """
    program, npm = needs.command("node", "Node 20 or later"), needs.command("npm", "Node 20 or later")
    locked = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{source.name}-{locked}"
    if not (folder / "node_modules" / package).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    for script in (*source.glob("*.js"), *source.glob("*.mjs")):
        shutil.copy(script, folder)
    return program, folder
