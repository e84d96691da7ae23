"""Velocity, as it stands in the environment of the interpreter that runs the benches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from suite.contestants.base import Contestant, Setup, Unavailable, output


class Velocity(Contestant):
    """`velocity serve` with one worker. `VELOCITY_BENCH_COMMAND` names another executable."""

    name = "velocity"
    protocols = frozenset({"velocity/1", "h3", "h2", "http/1.1"})

    def __init__(self, setup: Setup, profile: str = "balanced") -> None:
        super().__init__(setup)
        self.profile = profile

    @property
    def executable(self) -> str:
        return os.environ.get("VELOCITY_BENCH_COMMAND") or str(Path(sys.executable).parent / "velocity")

    def version(self) -> str:
        if not Path(self.executable).exists():
            raise Unavailable("velocity is not built\nhint: run `make build`, then `make bench`")
        how = "built by profile" if self.is_optimized() else "ordinary release build"
        return f"{output([self.executable, '--version']).split()[-1]} ({how})"

    def is_optimized(self) -> bool:
        """Whether the core in use is what `make optimized` has built, which leaves a stamp behind."""
        environment = Path(self.executable).absolute().parents[1]
        core, stamp = environment.parent / "src" / "velocity" / "_core.abi3.so", environment / ".optimized"
        return core.exists() and stamp.exists() and core.stat().st_mtime <= stamp.stat().st_mtime

    def command(self, port: int) -> list[str]:
        return [
            self.executable,
            "serve",
            *self.what(),
            *("--listen", f"127.0.0.1:{port}"),
            *("--cert", str(self.setup.certificate)),
            *("--key", str(self.setup.key)),
            *("--alpn", "velocity/1,h3,h2,http/1.1"),
            *("--profile", self.profile),
            *("--workers", "1"),
            "--no-access-log",
        ]

    def what(self) -> list[str]:
        """The flags that say what is served."""
        return ["--root", str(self.setup.root)]

    def environment(self) -> dict[str, str]:
        # Nothing that is set for everyday use may change what is measured.
        return {key: value for key, value in super().environment().items() if not key.startswith("VELOCITY_")}
