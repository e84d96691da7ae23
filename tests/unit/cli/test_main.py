"""The very outside: no way of ending shows a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from velocity.cli import guarded

if TYPE_CHECKING:
    import pytest

INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer": os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["velocity", "version"]
from velocity.cli import main
main()
"""


def test_interrupted_while_importing() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_full_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "velocity", "version"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: cannot write: No space left")


def test_reader_gone() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "velocity", "version"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_last_resort(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> int:
        raise RuntimeError("never mind")

    monkeypatch.delenv("VELOCITY_DEBUG", raising=False)
    assert guarded(broken) == 1
    assert capsys.readouterr().err.startswith("error: internal error: RuntimeError: never mind\nhint: ")
