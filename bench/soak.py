"""Mixed load on a Python application for an hour: `python bench/soak.py [--minutes N]`.

Every protocol at once, each with its part of half of what the server can do, and new connections in every turn. Fails
if a request is lost, if the application fails, or if memory grows by more than 2 % after the warm-up.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from suite import clients, material
from suite.contestants import Unavailable
from suite.contestants.applications import serving
from suite.contestants.base import built
from suite.server import CLIENT_CPU, Failed, Server, pinned, running

MAX_GROWTH = 0.02
WARM_UP = 0.15
"""Part of the time after which memory counts."""
IDLE = 75.0
"""Seconds, and no less: QUIC connections that a load generator leaves behind are kept for a minute."""


class Load(NamedTuple):
    """What is asked, and over what."""

    alpn: str
    path: str
    length: int
    connections: int


LOADS = (
    Load("http/1.1", "/small", 13, 32),
    Load("h2", "/10k", 10 << 10, 32),
    Load("h3", "/small", 13, 32),
    Load("h3", f"/pathsend/{material.MEDIUM[0]}", material.MEDIUM[1], 8),
    Load("websocket", "/ws", 64, 100),
)


def main() -> int:
    """0 when nothing was lost and nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="of load (60)")
    parser.add_argument("--turn", type=float, default=60.0, metavar="S", help="seconds that connections last (60)")
    arguments = parser.parse_args()
    try:
        setup = material.prepare()
        contestant = serving("velocity", setup)
        built("velocity-loader")
        with running(contestant) as server:
            loader = Loader(server, clients.options(server, setup, {}))
            rates = [loader.full(load) / len(LOADS) / 2 for load in LOADS]
            turns = max(4, round(arguments.minutes * 60 / arguments.turn))
            memory = [loader.turn(rates, arguments.minutes * 60 / turns) for _ in range(turns)]
    except (Unavailable, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    failures = (material.CACHE / "logs" / "velocity.log").read_text(errors="replace").count("app_failed")
    seconds = arguments.minutes * 60 / turns
    warm = memory[min(turns - 2, max(round(turns * WARM_UP), math.ceil(IDLE / seconds))) :]
    quarter = max(1, len(warm) // 4)
    growth = statistics.median(warm[-quarter:]) / statistics.median(warm[:quarter]) - 1
    print(f"{loader.answered:,} requests answered, none lost; the application failed {failures} times")
    print(f"memory {warm[0] / 1e6:.1f} MB after the warm-up, {warm[-1] / 1e6:.1f} MB at the end: {growth:+.1%}")
    return 0 if growth <= MAX_GROWTH and not failures else 1


class Loader:
    """Our load generator, several at once."""

    def __init__(self, server: Server, words: list[str]) -> None:
        self.answered = 0
        self._server = server
        self._words = words

    def full(self, load: Load) -> float:
        """Requests a second, as fast as they are answered."""
        rate: float = self._finish(self._start(load, 3.0, []))["rps"]
        print(f"{load.alpn} {load.path}: {rate:,.0f}/s", file=sys.stderr, flush=True)
        return rate

    def turn(self, rates: list[float], seconds: float) -> int:
        """All of them at their rates; bytes of memory at the end."""
        started = [self._start(load, seconds, ["--rate", str(rate)]) for load, rate in zip(LOADS, rates, strict=True)]
        self.answered += sum(round(self._finish(process)["rps"] * seconds) for process in started)
        memory = self._server.memory()
        print(f"{time.strftime('%H:%M:%S')} {memory / 1e6:.1f} MB", file=sys.stderr, flush=True)
        return memory

    def _start(self, load: Load, seconds: float, more: list[str]) -> subprocess.Popen[str]:
        wanted = {**load._asdict(), "seconds": seconds}
        words = [word for key, value in wanted.items() for word in (f"--{key}", str(value))]
        command = [built("velocity-loader"), "rps", *self._words, *words, *more]
        return subprocess.Popen(pinned(CLIENT_CPU, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _finish(self, process: subprocess.Popen[str]) -> clients.Numbers:
        said, error = process.communicate()
        if process.returncode:
            raise Failed(error.strip() or "the loader failed")
        numbers: clients.Numbers = json.loads(said)
        return numbers


if __name__ == "__main__":
    sys.exit(main())
