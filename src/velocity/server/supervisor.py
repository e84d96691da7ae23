"""Running the engine from start to exit.

SIGTERM and SIGINT are blocked before the first worker thread exists, so that every thread inherits
the mask and the signals wait here, where they are taken one at a time: the first drains, the second
ends at once. Where there are configuration files, SIGHUP has them read again. Nothing polls while the
server runs.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from velocity import _core
from velocity.server.stopping import SIGNALS, TURN, Draining, aborted
from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.server.reload import Reloader

__all__ = ["serve"]


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
    awaited = SIGNALS if reloader is None else SIGNALS | {signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
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


def _drain(engine: _core.Engine, grace: float | None) -> int:
    draining = Draining(engine, grace)
    while not engine.wait(TURN):
        second = signal.sigtimedwait(SIGNALS, 0)
        if second is not None:
            aborted(engine)
            return 128 + second.si_signo
        if draining.is_over():
            return 0
    draining.finish()
    return 0
