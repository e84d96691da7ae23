"""Running the engine from start to exit.

SIGTERM and SIGINT are blocked before the first worker thread exists, so that every thread inherits
the mask and the signals wait here, where they are taken one at a time: the first drains, the second
ends at once. Where there are configuration files, SIGHUP has them read again. Nothing polls while the
server runs.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from typing import TYPE_CHECKING

from velocity import _core
from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.server.reload import Reloader

__all__ = ["serve"]

_STOP = {signal.SIGTERM, signal.SIGINT}
_TURN = 0.05
"""Seconds between looks at a draining engine."""


def serve(
    plan: str, grace: float | None, on_start: Callable[[list[str]], None], reloader: Reloader | None = None
) -> int:
    """Serve a Plan until a signal says otherwise.

    Args:
        plan: canonical JSON.
        grace: seconds that requests in flight may take after the first signal; None is for ever.
        on_start: called with the bound addresses once the server accepts connections.
        reloader: follows the configuration files, where there are any.

    Returns:
        The exit code: 0 after a graceful stop, 128 plus the signal's number after a second one.

    Raises:
        ConfigError: the Plan is not valid.
        StartError: the server could not start.
    """
    awaited = _STOP if reloader is None else _STOP | {signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    _raise_descriptor_limit()
    engine = _core.Engine(plan)
    try:
        on_start(engine.addresses)
        if reloader is not None:
            reloader.start(engine)
        while signal.sigwait(awaited) == signal.SIGHUP:
            if reloader is not None:
                reloader.hangup()
        if reloader is not None:
            reloader.stop()
        return _drain(engine, grace)
    finally:
        if reloader is not None:
            reloader.stop()
        engine.abort()
        logs.flush()


def _raise_descriptor_limit() -> None:
    """Each connection, site and open file takes a descriptor: use as many as the administrator allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _drain(engine: _core.Engine, grace: float | None) -> int:
    engine.stop()
    in_flight = engine.counters()["requests_in_flight"]
    logs.log("info", "draining", "finishing what is in flight; a second signal ends at once", requests=in_flight)
    deadline = None if grace is None else time.monotonic() + grace
    while not engine.wait(_TURN):
        second = signal.sigtimedwait(_STOP, 0)
        if second is not None:
            left = engine.counters()["requests_in_flight"]
            logs.log("warn", "aborted", "a second signal: ending at once", requests=left)
            return 128 + second.si_signo
        if deadline is not None and time.monotonic() >= deadline:
            left = engine.counters()["requests_in_flight"]
            logs.log("warn", "grace_over", "the grace period is over: ending what is left", requests=left)
            return 0
    logs.log("info", "stopped", "everything in flight was finished")
    return 0
