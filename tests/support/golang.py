"""Programs in Go that tests talk to, built at the versions that their go.sum names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support import needs

CLIENT = Path(__file__).parents[1] / "interop" / "goclient"
"""A client of every protocol."""


def build(source: Path, folder: Path) -> Path:
    """Build the program of the module in `source` into `folder`; its path."""
    compiler = needs.command("go", "Go 1.26 or later")
    program = folder / source.name
    environment = os.environ | {
        "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }
    built = subprocess.run(
        [compiler, "build", "-o", program], cwd=source, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return program
