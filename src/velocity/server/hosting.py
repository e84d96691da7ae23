"""Running the engine together with applications: their event loop has the main thread, and the signals.

The engine's threads are started while SIGTERM and SIGINT are blocked, so that these come to the main thread alone,
where the first drains and the second ends at once. Whatever an application starts inherits no blocked signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from velocity import _core
from velocity.asgi.bridge import Bridge
from velocity.asgi.interface import adapt
from velocity.asgi.lifespan import Lifespan
from velocity.asgi.loading import load
from velocity.asgi.loops import loop_factory
from velocity.server.rules import RuleBook, take
from velocity.server.stopping import SIGNALS, TURN, Draining, aborted
from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from velocity.config.program import Program
    from velocity.server.crew import Crew
    from velocity.server.reload import Reloader

__all__ = ["serve"]

_RESIZES: dict[int, int] = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}
"""So many workers more or less."""


def serve(
    plan: str,
    programs: tuple[Program, ...],
    grace: float | None,
    on_start: Callable[[list[str]], None],
    reloader: Reloader | None = None,
    loaded: Mapping[str, Any] | None = None,
) -> int:
    """Serve a Plan and its applications until a signal says otherwise.

    Args:
        plan: canonical JSON.
        programs: every application that it names.
        grace: seconds that requests in flight may take after the first signal; None is for ever.
        on_start: called with the bound addresses once the server accepts connections.
        reloader: follows the configuration files, where there are any.
        loaded: applications that are there already, by the name of their program.

    Returns:
        The exit code: 0 after a graceful stop.

    Raises:
        ApplicationError: an application cannot be loaded, or does not start.
        ConfigError: the Plan is not valid.
        StartError: the server could not start.
    """
    applications = []
    for program in programs:
        found = (loaded or {}).get(program.name)
        if program.workers is not None and found is None:
            applications.append((program, None, False))
            continue
        application, has_lifespan = adapt(found or load(program), program.interface, program.target)
        applications.append((program, application, has_lifespan))
    hosting = _Hosting(plan, applications, grace, on_start, reloader)
    # Before the runner, which would install a handler of its own.
    handlers = {number: signal.signal(number, hosting.signalled) for number in hosting.awaited}
    try:
        with asyncio.Runner(loop_factory=loop_factory(programs[0].loop)) as runner:
            return runner.run(hosting.run())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        logs.flush()


class _Hosting:
    def __init__(
        self,
        plan: str,
        applications: list[tuple[Program, Any, bool]],
        grace: float | None,
        on_start: Callable[[list[str]], None],
        reloader: Reloader | None,
    ) -> None:
        self.awaited = SIGNALS if reloader is None else SIGNALS | {signal.SIGHUP}
        if any(application is None for _, application, _ in applications):
            self.awaited = self.awaited | {signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU}
        self._rules = RuleBook(plan)
        self._applications = applications
        self._grace = grace
        self._on_start = on_start
        self._reloader = reloader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = False
        self._engine: _core.Engine | None = None
        self._crews: list[Crew] = []

    def signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._hangup)
        elif number in _RESIZES:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._resize, _RESIZES[number])
        elif not self._stopping:
            self._stopping = True
            if self._loop is None or self._stop is None:
                raise KeyboardInterrupt
            self._loop.call_soon_threadsafe(self._stop.set)
        else:
            self._abort(number)

    def _hangup(self) -> None:
        """Everything anew: what configuration files say, and the code of workers."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        if self._reloader is not None:
            self._loop.run_in_executor(None, self._reloader.hangup)
        for crew in self._crews:
            crew.renew()

    def _resize(self, change: int) -> None:
        for crew in self._crews:
            crew.resize(change)

    def _abort(self, number: int) -> None:
        """At once means at once: an application that blocks, or never returns, is not waited for."""
        if self._engine is not None:
            aborted(self._engine)
            self._engine.abort()
        logs.flush()
        os._exit(128 + number)

    async def run(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self._stopping:
            return 0
        lifespans: list[Lifespan] = []
        bridges: dict[str, Bridge] = {}
        hosted: dict[str, _core.Application | _core.Workers] = {}
        grace: float | None = 0
        try:
            for program, application, has_lifespan in self._applications:
                if application is None:
                    from velocity.server.crew import Crew

                    crew = Crew(program, self._grace, self._rules)
                    self._crews.append(crew)
                    if not await self._unless_stopped(crew.start()):
                        return 0
                    hosted[program.name] = crew.core
                    continue
                lifespan = Lifespan(application, program.lifespan if has_lifespan else "off", program.target)
                lifespans.append(lifespan)
                await lifespan.startup()
                taken = take(application, program.target, accepted=self._rules.accepts(program.name))
                self._rules.put(program.name, taken.rules)
                bridges[program.name] = Bridge(
                    taken.application,
                    program.target,
                    state=lifespan.state if lifespan.supported else None,
                    max_requests=program.most_requests(),
                    enough=self._enough,
                )
                hosted[program.name] = bridges[program.name].core
            self._serve(hosted)
            await self._stop.wait()
            if await self._drain(bridges):
                grace = self._grace
        finally:
            if self._reloader is not None:
                self._reloader.stop()
            if self._engine is not None:
                self._engine.abort()
            for bridge in bridges.values():
                bridge.close()
            for crew in self._crews:
                await crew.stop(grace)
            for lifespan in reversed(lifespans):
                await lifespan.shutdown()
        return 0

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for something, unless a signal comes first; False then."""
        assert self._stop is not None  # noqa: S101 - for the type checker
        working, stopped = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return False

    def _serve(self, hosted: dict[str, _core.Application | _core.Workers]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, self.awaited)
        try:
            self._engine = self._rules.start(lambda plan: _core.Engine(plan, hosted))
            if self._reloader is not None:
                self._reloader.start(self._rules)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self.awaited)
        self._on_start(self._engine.addresses)

    def _enough(self) -> None:
        logs.log("info", "max_requests", "the application has answered as many requests as it should: stopping")
        signal.raise_signal(signal.SIGTERM)

    async def _drain(self, bridges: dict[str, Bridge]) -> bool:
        """Finish what is in flight; False where the time for that was over."""
        assert self._engine is not None  # noqa: S101 - for the type checker
        engine = self._engine
        if self._reloader is not None:
            self._reloader.stop()
        draining = Draining(engine, self._grace)
        while not engine.wait(0) or any(bridge.running for bridge in bridges.values()):
            if draining.is_over():
                engine.abort()
                await self._cancel_rest()
                return False
            await asyncio.sleep(TURN)
        draining.finish()
        return True

    async def _cancel_rest(self) -> None:
        """Tasks of requests that nobody waits for any more."""
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        running = [task for task in rest if task.get_name() != "lifespan"]
        for task in running:
            task.cancel()
        if running:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(running, timeout=1)
