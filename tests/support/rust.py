"""Programs in Rust that tests talk to, built at the versions that their Cargo.lock names."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support import needs

_TARGET = Path(__file__).parents[2] / "target" / "interop"


def build(source: Path) -> Path:
    """Build the package in `source`, or find it built; the path of its program, which has the package's name."""
    cargo = needs.command("cargo", "a Rust toolchain")
    words = [cargo, "build", "--locked", "--quiet", "--target-dir", str(_TARGET)]
    built = subprocess.run([*words, "--manifest-path", str(source / "Cargo.toml")], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return _TARGET / "debug" / f"{source.name}-peer"
