"""The lifespan protocol of ASGI: an application is told when the server starts and stops.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from velocity.asgi.loading import describe, own_lines
from velocity.errors import ApplicationError
from velocity.telemetry import logs

if TYPE_CHECKING:
    from velocity.config.program import Lifespan as Mode

__all__ = ["Lifespan"]


class Lifespan:
    """One application's, from `startup` to `shutdown`, in a task of its own."""

    def __init__(self, application: Any, mode: Mode, target: str) -> None:
        self.state: dict[str, Any] = {}
        """What the application leaves for its requests."""
        self.supported = False
        self._application = application
        self._mode = mode
        self._target = target
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failure: ApplicationError | None = None

    async def startup(self) -> None:
        """Wait until the application is ready.

        Raises:
            ApplicationError: it is not, and will not be.
        """
        if self._mode == "off":
            return
        self._task = asyncio.create_task(self._run(), name="lifespan")
        self._messages.put_nowait({"type": "lifespan.startup"})
        waiting = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._failure is not None:
            raise self._failure

    async def shutdown(self) -> None:
        """Tell the application that it is over, and wait until it has put things away."""
        if not self.supported or self._task is None or self._task.done():
            return
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        waiting = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await asyncio.wait({self._task}, timeout=5)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._application(scope, self._messages.get, self._send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if self._failure is not None:
                return
            if self._started.is_set():
                logs.log(
                    "error",
                    "app_shutdown_failed",
                    f"the lifespan of {self._target} failed: {describe(error)}",
                    traceback="\n".join(own_lines(error)),
                )
            elif self._mode == "on" or not isinstance(error, Exception):
                what = f"the startup of {self._target} failed: {describe(error)}"
                self._failure = ApplicationError("APPLICATION_STARTUP_FAILED", what, lines=own_lines(error))
            else:
                logs.log("debug", "lifespan_unsupported", f"{self._target} has no lifespan: {describe(error)}")
        else:
            if not self._started.is_set() and self._mode == "on" and self._failure is None:
                what = f"the lifespan of {self._target} ended before its startup was complete"
                self._failure = ApplicationError("APPLICATION_STARTUP_FAILED", what)

    async def _send(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "lifespan.startup.complete" if not self._started.is_set():
                self.supported = True
                self._started.set()
            case "lifespan.startup.failed" if not self._started.is_set():
                said = " ".join(str(message.get("message", "")).split()[-40:])
                what = f"the startup of {self._target} failed" + (f": {said}" if said else "")
                self._failure = ApplicationError("APPLICATION_STARTUP_FAILED", what)
                self._started.set()
            case "lifespan.shutdown.complete" if self._started.is_set():
                self._stopped.set()
            case "lifespan.shutdown.failed" if self._started.is_set():
                said = " ".join(str(message.get("message", "")).split())
                logs.log("error", "app_shutdown_failed", f"the shutdown of {self._target} failed", reason=said)
                self._stopped.set()
            case other:
                raise RuntimeError(f"{other!r} cannot be sent here")
