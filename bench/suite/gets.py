"""HTTP libraries of Python beside each other: the same GETs to the same server, a process for each library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

from suite.clients import CLIENT_TIMEOUT
from suite.contestants.base import find, output
from suite.material import BENCH, CACHE, SMALL
from suite.server import CLIENT_CPU, Failed, pinned, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from suite.benches import Knobs
    from suite.clients import Numbers
    from suite.contestants import Contestant

COUNT = 10_000
PACKAGES = {"httpx2": "httpx2[http2]==2.16.2", "niquests": "niquests[http3]==3.21.2"}
PROGRAM = BENCH / "python" / "gets.py"

Turn = dict[str, "Numbers"]


def compare(protocol: str, other: str) -> Callable[[Contestant, Knobs], Turn]:
    """One turn of Velocity's client and of another library, against Velocity's server."""

    def measure(contestant: Contestant, knobs: Knobs) -> Turn:
        count = COUNT if knobs.rounds > 1 else COUNT // 5
        turn: Turn = {}
        for library in ("velocity", other):
            with running(contestant) as server:
                url = f"https://localhost:{server.port}/{SMALL[0]}"
                turn[f"{library} {protocol}"] = ask(library, protocol, url, contestant.setup.ca, count)
        return turn

    return measure


def ask(library: str, protocol: str, url: str, ca: Path, count: int) -> Numbers:
    """Requests a second, and CPU of the client for each.

    Raises:
        Failed: a request failed, or another protocol was spoken.
    """
    python = sys.executable if library == "velocity" else interpreter(library)
    command = [python, str(PROGRAM), library, protocol, url, str(ca), str(count)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        pinned(CLIENT_CPU, command),
        capture_output=True,
        text=True,
        timeout=CLIENT_TIMEOUT,
        env=environment,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"{library}: {last}")
    said = json.loads(done.stdout)
    return {"rps": round(count / said["seconds"]), "client_us_per_request": round(said["cpu"] / count * 1e6, 1)}


@cache
def interpreter(library: str) -> str:
    """Python with a library at a fixed version, in an environment of its own.

    Raises:
        Unavailable: it cannot be made.
    """
    package = PACKAGES[library]
    folder = CACHE / f"client-{library}-{package.rpartition('=')[2]}"
    python = folder / "bin" / "python"
    if not python.exists():
        uv = find("uv", "pip install uv")
        output([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        output([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), package])
    return str(python)
