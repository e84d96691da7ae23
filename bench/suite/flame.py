"""Flame graphs: where the server spends its time while it is measured.

`perf` samples the running contestant, inferno draws. Symbols and frames are there if the core was built for it:

    RUSTFLAGS=-Cforce-frame-pointers=yes make build CORE_PROFILE=profiling
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from suite.contestants.base import Unavailable, find, output
from suite.material import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFERNO = "0.12.4"
SAMPLES_PER_SECOND = 499
# Narrower frames, in percent of the whole, would not be seen and are most of the file.
NARROWEST = 0.3


@dataclass
class Flames:
    """Which runs are drawn, and where to.

    Attributes:
        folder: for SVG files; None draws nothing.
        bench: the one that is measured now.
        contestant: the one that is drawn.
    """

    folder: Path | None = None
    bench: str = ""
    contestant: str = "velocity"
    drawn: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def recording(self, contestant: str, process: int) -> Iterator[None]:
        """Sample a process and its threads, and draw what was seen."""
        if self.folder is None or contestant != self.contestant:
            yield
            return
        samples = CACHE / "perf.data"
        words = ["record", "-F", str(SAMPLES_PER_SECOND), "--call-graph", "fp", "-p", str(process), "-o", str(samples)]
        perf = subprocess.Popen(
            [find("perf", "apt-get install linux-perf"), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
        number = self.drawn[self.bench] = self.drawn.get(self.bench, 0) + 1
        draw(samples, self.folder / f"{self.bench}-{number}.svg", self.bench)


FLAMES = Flames()
"""What `--flames` sets."""


def draw(samples: Path, picture: Path, title: str) -> None:
    """Samples of perf as a flame graph.

    Raises:
        Unavailable: a tool is missing, or was not content.
    """
    folder = inferno()
    stacks, folded = samples.with_suffix(".stacks"), samples.with_suffix(".folded")
    for command, source, target in (
        ([find("perf", "apt-get install linux-perf"), "script", "-i", str(samples)], None, stacks),
        ([str(folder / "inferno-collapse-perf")], stacks, folded),
        ([str(folder / "inferno-flamegraph"), "--title", title, "--minwidth", str(NARROWEST)], folded, picture),
    ):
        picture.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out, (source or samples).open("rb") as given:
            done = subprocess.run(command, stdin=given, stdout=out, stderr=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise Unavailable(f"{command[0]} failed")


@cache
def inferno() -> Path:
    """The folder of inferno's programs, which are built when they are not there."""
    root = CACHE / f"inferno-{INFERNO}"
    if not (root / "bin" / "inferno-flamegraph").exists():
        words = ["install", "inferno", "--version", INFERNO, "--locked", "--root", str(root)]
        output([find("cargo", "install Rust from https://rustup.rs"), *words])
    return root / "bin"
