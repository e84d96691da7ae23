"""A worker: a process for one application, which `velocity.server.crew` starts and hears of.

What it is to run comes as an argument, its requests through standard input, and orders through another socket, on which
it says that it is ready, and with which rules for the data plane, that its event loop turns, and that it has had
enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from velocity import _core
from velocity.asgi.bridge import Bridge
from velocity.asgi.interface import adapt
from velocity.asgi.lifespan import Lifespan
from velocity.asgi.loading import load, own_stack
from velocity.asgi.loops import loop_factory
from velocity.config.program import Program
from velocity.errors import ApplicationError, VelocityError
from velocity.server.rules import take
from velocity.telemetry import logs

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["BEAT", "Duty"]

BEAT = 1.0
"""Seconds between signs of life."""
_BLOCKED = 5.0
"""Seconds without a turn of the event loop that are worth a message."""
_TURN = 0.02
"""Seconds between looks at what is left to do."""
_PARTING = 1.0
"""Seconds for tasks that were cancelled."""


class Duty(NamedTuple):
    """What a worker is told when it is started."""

    program: Program
    parent: int
    """Its process."""
    rules: bool
    """Whether the data plane takes the rules of the application."""
    control: int
    """The descriptor of the socket for orders."""
    log_format: str | None
    verbosity: int

    def to_json(self) -> str:
        """As an argument."""
        return json.dumps({**self._asdict(), "program": self.program._asdict()})

    @classmethod
    def from_json(cls, text: str) -> Duty:
        """From the argument."""
        values = json.loads(text)
        return cls(**{**values, "program": Program(**values["program"])})


def main() -> int:
    """Run until told to stop.

    Returns:
        The exit code: 0 after an orderly end.
    """
    _core.die_with_parent()
    duty = Duty.from_json(sys.argv[1])
    if os.getppid() != duty.parent:
        return 1
    logs.configure(duty.log_format, duty.verbosity)  # type: ignore[arg-type]
    core = _core.Worker()
    with open(os.devnull) as nothing:  # noqa: PTH123 - what is standard input is not the application's
        os.dup2(nothing.fileno(), 0)
    control = socket.socket(fileno=duty.control)
    control.set_inheritable(False)
    worker = _Worker(duty, core, control)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.signalled)
    try:
        with asyncio.Runner(loop_factory=loop_factory(duty.program.loop)) as runner:
            return runner.run(worker.run())
    except VelocityError as error:
        lines = error.lines if isinstance(error, ApplicationError) else ()
        worker.tell("failed", code=error.code, message=error.message, hint=error.hint, lines=lines)
        return 1
    except Exception as error:  # a traceback would be of no use to whoever reads it
        what = f"internal error: {type(error).__name__}: {error}"
        logs.log("error", "worker_failed", what, worker=os.getpid())
        worker.tell("failed", code="INTERNAL", message=what, hint="please report it", lines=())
        return 1
    finally:
        logs.flush()


class _Worker:
    def __init__(self, duty: Duty, core: _core.Worker, control: socket.socket) -> None:
        self._program = duty.program
        self._accepted = duty.rules
        self._core = core
        self._control = control
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turned = time.monotonic()

    def signalled(self, _number: int, _frame: FrameType | None) -> None:
        """Somebody else than the server wants this worker to end: another one takes its place first."""
        if self._loop is None:
            raise SystemExit(1)
        self._loop.call_soon_threadsafe(self.tell, "retire")

    def tell(self, event: str, **facts: Any) -> None:
        """Say something to the server."""
        # It reads all the time: a socket that is full is one that nobody has.
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps({"event": event, **facts}).encode() + b"\n")

    async def run(self) -> int:
        program = self._program
        application, has_lifespan = adapt(load(program), program.interface, program.target)
        self._loop = asyncio.get_running_loop()
        lifespan = Lifespan(application, program.lifespan if has_lifespan else "off", program.target)
        await lifespan.startup()
        taken = take(application, program.target, accepted=self._accepted)
        bridge = Bridge(
            taken.application,
            program.target,
            state=lifespan.state if lifespan.supported else None,
            max_requests=program.most_requests(),
            enough=lambda: self.tell("retire"),
        )
        orders = asyncio.Queue[bytes]()
        os.set_blocking(self._control.fileno(), True)
        threading.Thread(target=self._listen, args=(orders,), name="orders", daemon=True).start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        self._beat()
        self._core.serve(bridge.core)
        self.tell("ready", rules=None if taken.rules is None else taken.rules.model_dump(mode="json"))
        try:
            order = await orders.get()
            while order == b"stop" and not (self._core.is_quiet and bridge.running == 0):
                with contextlib.suppress(TimeoutError):
                    order = await asyncio.wait_for(orders.get(), _TURN)
            if order != b"stop":
                await _cancel_rest()
        finally:
            self._core.close()
            bridge.close()
            await lifespan.shutdown()
        return 0

    def _beat(self) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        self._turned = time.monotonic()
        self.tell("beat")
        self._loop.call_later(BEAT, self._beat)

    def _listen(self, orders: asyncio.Queue[bytes]) -> None:
        """Hear the server's orders. Without it there is nothing to live for."""
        # A server that was killed with something unread leaves a reset; a loop that is closed hears nothing more.
        with contextlib.suppress(OSError, RuntimeError), self._control.makefile("rb") as lines:
            for line in lines:
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(orders.put_nowait, line.strip())
        os._exit(1)

    def _watch(self) -> None:
        """Tell where the application is when its event loop does not turn."""
        main = threading.main_thread().ident
        told = 0.0
        while True:
            time.sleep(BEAT)
            turned = self._turned
            if turned != told and time.monotonic() - turned >= _BLOCKED:
                told = turned
                frame = sys._current_frames().get(main or 0)
                what = f"{self._program.target} blocks its event loop: nothing else of this worker is answered"
                lines = own_stack(frame) if frame is not None else ()
                logs.log("warn", "app_blocked", what, worker=os.getpid(), traceback="\n".join(lines))


async def _cancel_rest() -> None:
    """Tasks of requests that nobody waits for any more."""
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    running = [task for task in rest if task.get_name() != "lifespan"]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=_PARTING)


if __name__ == "__main__":
    sys.exit(main())
