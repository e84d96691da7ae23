"""From start to exit: which signal does what, in a process of its own because the mask is the process's."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
import sys, time
from velocity import _core
from velocity.server import supervisor

class Engine:
    addresses = ["127.0.0.1:1"]
    stopped = None
    def __init__(self, plan):
        print("plan", plan, flush=True)
        time.sleep({start})
    def stop(self):
        Engine.stopped = time.monotonic()
        print("stop", flush=True)
    def wait(self, timeout):
        time.sleep(timeout)
        return time.monotonic() - Engine.stopped >= {drain}
    def abort(self):
        print("abort", flush=True)
    def counters(self):
        return {{"requests_in_flight": 7}}

_core.Engine = Engine
sys.exit(supervisor.serve("P", {grace}, lambda addresses: print("up", *addresses, flush=True)))
"""


class Child:
    def __init__(self, *, start: float = 0.0, drain: float = 0.0, grace: float | None = None) -> None:
        code = textwrap.dedent(PROGRAM).format(start=start, drain=drain, grace=grace)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []

    def until(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith(word):
                return
        raise AssertionError(f"{word!r} was not said: {self.said}")

    def end(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=10)
        self.said += out.split("\n")
        assert "Traceback" not in err
        return self.process.returncode, err


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_graceful(which: signal.Signals) -> None:
    child = Child(drain=0.1)
    child.until("up")
    assert child.said == ["plan P", "up 127.0.0.1:1"]
    child.process.send_signal(which)
    code, err = child.end()
    assert code == 0
    assert child.said.index("stop") < child.said.index("abort")
    assert "draining" in err
    assert "requests=7" in err


@pytest.mark.parametrize(("which", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_at_once(which: signal.Signals, expected: int) -> None:
    child = Child(drain=60)
    child.until("up")
    child.process.send_signal(signal.SIGTERM)
    child.until("stop")
    began = time.monotonic()
    child.process.send_signal(which)
    code, err = child.end()
    assert code == expected
    assert time.monotonic() - began < 5
    assert "aborted" in err


def test_the_grace_period_is_an_end() -> None:
    child = Child(drain=60, grace=0.2)
    child.until("up")
    child.process.send_signal(signal.SIGTERM)
    code, err = child.end()
    assert code == 0
    assert "grace_over" in err


def test_a_signal_during_the_start_is_not_lost() -> None:
    child = Child(start=0.5)
    child.until("plan")
    child.process.send_signal(signal.SIGTERM)
    code, _ = child.end()
    assert code == 0
    assert "stop" in child.said
