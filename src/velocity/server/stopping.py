"""What is said on the way down, whoever it is that waits: the first signal drains, the second ends at once."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from velocity.telemetry import logs

if TYPE_CHECKING:
    from velocity import _core

__all__ = ["SIGNALS", "TURN", "Draining", "aborted"]

SIGNALS = {signal.SIGTERM, signal.SIGINT}
TURN = 0.05
"""Seconds between looks at a draining engine."""


class Draining:
    """An engine that finishes what is in flight, for as long as it may.

    Args:
        engine: is stopped with this.
        grace: seconds; None is for ever.
    """

    def __init__(self, engine: _core.Engine, grace: float | None) -> None:
        self._engine = engine
        engine.stop()
        in_flight = engine.counters()["requests_in_flight"]
        logs.log("info", "draining", "finishing what is in flight; a second signal ends at once", requests=in_flight)
        self._deadline = None if grace is None else time.monotonic() + grace

    def is_over(self) -> bool:
        """Whether the grace period is, which is said."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        left = self._engine.counters()["requests_in_flight"]
        logs.log("warn", "grace_over", "the grace period is over: ending what is left", requests=left)
        return True

    @staticmethod
    def finish() -> None:
        """Nothing is left."""
        logs.log("info", "stopped", "everything in flight was finished")


def aborted(engine: _core.Engine) -> None:
    """A second signal has come."""
    left = engine.counters()["requests_in_flight"]
    logs.log("warn", "aborted", "a second signal: ending at once", requests=left)
