"""The worker processes of one application: started, watched, replaced.

A worker is a fresh interpreter, so that nothing of this process, its threads and locks, is in it. Whatever happens to
one, another takes its place: first the new one is ready, then the old one gets no more requests, finishes what it has,
and ends. Everything here runs on the event loop of the server's main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from velocity import _core
from velocity.errors import ApplicationError, VelocityError
from velocity.server import development
from velocity.server.worker import BEAT, Duty
from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from velocity.config.embedding import AppRules
    from velocity.config.program import Program
    from velocity.server.rules import RuleBook

__all__ = ["Crew"]

_STEADY = 10.0
"""Seconds after which the death of a worker is no part of a row."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_PATIENCE = 30.0
"""Seconds for what a worker has in flight when it is replaced, where no grace period says otherwise."""
_LAST_WORDS = 7.0
"""Seconds for the lifespan of a worker that was told to end at once."""


class _State(Enum):
    STARTING = auto()
    READY = auto()
    LEAVING = auto()
    GONE = auto()


class Crew:
    """Workers for one application, as many as `program.workers`.

    Args:
        program: the application.
        grace: seconds that a worker which is replaced may take to finish; None leaves it to us.
        rules: where those of the application go.
    """

    def __init__(self, program: Program, grace: float | None, rules: RuleBook) -> None:
        self.core = _core.Workers()
        """What the engine asks."""
        self._program = program
        self._rules = rules
        self._patience = _PATIENCE if grace is None else grace
        self._wanted = program.workers or 1
        self._loop = asyncio.get_running_loop()
        self._members: list[_Member] = []
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed: asyncio.Queue[frozenset[Path]] = asyncio.Queue()
        self._deaths = 0
        self._stopping = False

    async def start(self) -> None:
        """Start all of them, and wait until they are ready; where files are watched, for as many changes as that takes.

        Raises:
            ApplicationError: one is not, and will not be.
        """
        if self._program.watched:
            self._later(self._watch())
        while True:
            try:
                await self._hire(self._wanted)
            except ApplicationError as error:
                if not self._program.watched:
                    raise
                _report(error, "app_failed")
                logs.log("warn", "waiting", "the application does not start: waiting for the next change of its code")
                development.forget_bytecode(await self._changed.get())
            else:
                break
        if self._program.watched:
            self._later(self._follow())

    async def stop(self, grace: float | None) -> None:
        """Have all of them finish, and wait until they are gone.

        Args:
            grace: seconds; None is for ever.
        """
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(member.leave(grace) for member in self._members))

    def resize(self, change: int) -> None:
        """One more, or one less, but for the last one."""
        if self._wanted + change < 1 or self._stopping:
            return
        self._wanted += change
        logs.log("info", "workers", f"{self._program.target} has {self._wanted} workers from now on")
        self._later(self._fill())

    def renew(self) -> None:
        """Replace all of them, so that they have the code that is there now."""
        self._later(self._renew())

    async def _hire(self, count: int, *, all_anew: bool = False) -> list[_Member]:
        """So many new ones, or none; `all_anew` where those that there are go then."""
        hired = [_Member(self, self._program, self._rules) for _ in range(count)]
        self._members += hired
        try:
            await asyncio.gather(*(member.start() for member in hired))
            await self._agree(hired, all_anew=all_anew)
            if any(member.state is _State.GONE for member in hired):
                what = f"a worker of {self._program.target} ended before it had a request"
                raise ApplicationError("APPLICATION_FAILED", what)
        except BaseException:
            for member in hired:
                member.kill()
            raise
        for member in hired:
            member.admit()
        return hired

    async def _agree(self, hired: list[_Member], *, all_anew: bool) -> None:
        """Have the data plane carry out the rules that new workers leave to it, before they get any request.

        Raises:
            ApplicationError: it cannot.
        """
        target, rules = self._program.target, hired[0].rules
        if any(member.rules != rules for member in hired):
            what = f"the workers of {target} do not agree about its rules"
            raise ApplicationError("RULES_DIFFER", what, "rules are the same whenever the module is imported")
        serving = [member for member in self._members if member.state is _State.READY]
        if any((member.rules is None) != (rules is None) for member in serving) and not all_anew:
            # Some would leave their rules to the data plane, and others not.
            what = f"the code of {target} has changed, and with it who carries out its rules"
            raise ApplicationError("RULES_DIFFER", what, "SIGHUP to the server replaces all workers")
        if rules is not None or not serving:
            await self._put(rules)

    async def _put(self, rules: AppRules | None) -> None:
        try:
            await self._loop.run_in_executor(None, self._rules.put, self._program.name, rules)
        except VelocityError as error:
            what = f"the rules of {self._program.target} cannot take effect: {error.message}"
            raise ApplicationError(error.code, what, error.hint) from None

    async def _fill(self) -> None:
        """As many as are wanted."""
        async with self._one_at_a_time:
            present = [member for member in self._members if member.state in (_State.STARTING, _State.READY)]
            for member in present[self._wanted :]:
                self._later(member.leave(self._patience))
            if len(present) < self._wanted:
                await self._try_to_hire(self._wanted - len(present))

    async def _try_to_hire(self, count: int) -> None:
        """Until it succeeds, with pauses: what is wrong may be put right."""
        while not self._stopping:
            if self._deaths > 1:
                pause = min(_FIRST_PAUSE * 2 ** (self._deaths - 2), _LONGEST_PAUSE)
                logs.log("warn", "worker_pause", f"the next worker of {self._program.target} starts in {pause:g} s")
                await asyncio.sleep(pause)
            try:
                await self._hire(count)
            except ApplicationError as error:
                self._deaths += 1
                _report(error, "worker_failed")
            else:
                return

    async def _renew(self) -> None:
        async with self._one_at_a_time:
            before = [member for member in self._members if member.state is _State.READY]
            try:
                hired = await self._hire(self._wanted, all_anew=True)
            except ApplicationError as error:
                _report(error, "reload_failed")
                logs.log("warn", "reload_kept", "the code that is running stays")
                return
            for member in before:
                self._later(member.leave(self._patience))
            if hired[0].rules is None:
                await asyncio.sleep(0)  # those that left theirs to the data plane get no more requests
                await self._put(None)
            logs.log("info", "reloaded", f"the workers of {self._program.target} have the new code")

    async def _replace(self, member: _Member) -> None:
        """One that has had enough."""
        async with self._one_at_a_time:
            if member.state is not _State.READY:
                return
            logs.log("info", "worker_retires", f"a worker of {self._program.target} is replaced", worker=member.pid)
            await self._try_to_hire(1)
        await member.leave(self._patience)

    async def _watch(self) -> None:
        async for files in development.changes(self._program):
            self._changed.put_nowait(files)

    async def _follow(self) -> None:
        while True:
            files = await self._changed.get()
            logs.log("info", "code_changed", "starting the new code", files=development.names(files))
            development.forget_bytecode(files)
            await self._renew()

    def wants_replacement(self, member: _Member) -> None:
        """A worker has answered as many requests as it should, or was told to go by somebody else."""
        self._later(self._replace(member))

    def died(self, member: _Member, reason: str, lived: float) -> None:
        """A worker is gone that should not be."""
        self._deaths = self._deaths + 1 if lived < _STEADY else 1
        what = f"a worker of {self._program.target} {reason}"
        logs.log("error", "worker_lost", what, worker=member.pid)
        if not self._stopping:
            self._later(self._fill())

    def gone(self, member: _Member) -> None:
        """A worker has ended, in whichever way."""
        with contextlib.suppress(ValueError):
            self._members.remove(member)

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(_reported(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Member:
    """One process."""

    def __init__(self, crew: Crew, program: Program, rules: RuleBook) -> None:
        self.state = _State.STARTING
        self.rules: AppRules | None = None
        """Those that it leaves to the data plane."""
        self._accepted = rules.accepts(program.name)
        self._crew = crew
        self._core = crew.core
        self._program = program
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._heard = self._began = time.monotonic()
        self._checked = self._heard
        self._hung = self._killed = False
        self._line: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0

    @property
    def pid(self) -> int:
        """The process."""
        return 0 if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and wait until its application is ready.

        Raises:
            ApplicationError: it is not.
        """
        try:
            ours = self._spawn()
        except OSError as error:
            self.state = _State.GONE
            self._core.dismiss(self._number, lost=False)
            self._crew.gone(self)
            what = f"a worker of {self._program.target} cannot be started: {error.strerror}"
            raise ApplicationError("WORKER_FAILED", what) from None
        threading.Thread(target=self._wait, name=f"worker-{self.pid}", daemon=True).start()
        self._line, _ = await self._loop.create_connection(lambda: _Line(self._hear), sock=ours)
        await self._ready

    def _spawn(self) -> socket.socket:
        """Start the process; our end of its orders."""
        ours, theirs = socket.socketpair()
        self._number, doorway = self._core.prepare()
        duty = Duty(self._program, os.getpid(), self._accepted, theirs.fileno(), *logs.settings())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "velocity.server.worker", duty.to_json()],
                stdin=doorway,
                pass_fds=(theirs.fileno(),),
                # What a terminal sends to everybody is for us.
                process_group=0,
            )
        self._core.started(self._number)
        return ours

    def admit(self) -> None:
        """Requests from now on."""
        if self.state is _State.STARTING:
            self.state = _State.READY
            self._heard = self._checked = time.monotonic()
            self._core.admit(self._number)
            self._loop.call_later(BEAT, self._check)

    async def leave(self, grace: float | None) -> None:
        """No more requests; finish what there is, and end. After `grace` seconds, at once."""
        if self.state is _State.GONE:
            return
        starting = self.state is _State.STARTING
        self.state = _State.LEAVING
        self._core.retire(self._number)
        if starting:
            self.kill()
        self._tell(b"stop")
        ended = asyncio.shield(self._ended)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended, grace)
            return
        self._tell(b"abort")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), _LAST_WORDS)
            return
        logs.log("warn", "worker_killed", f"a worker of {self._program.target} does not end", worker=self.pid)
        self.kill()
        await asyncio.shield(self._ended)

    def kill(self) -> None:
        """At once."""
        if self.state is not _State.GONE:
            self.state = _State.LEAVING
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def _tell(self, order: bytes) -> None:
        if self._line is not None and not self._line.is_closing():
            self._line.write(order + b"\n")

    def _wait(self) -> None:
        """In a thread of its own: there is no better way that every event loop has."""
        assert self._process is not None  # noqa: S101 - for the type checker
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        before, self.state = self.state, _State.GONE
        self._core.dismiss(self._number, lost=before is _State.READY)
        self._crew.gone(self)
        self._ended.set_result(code)
        if not self._ready.done():
            what = f"a worker of {self._program.target} {_reason(code)} before it was ready"
            self._ready.set_exception(ApplicationError("APPLICATION_FAILED", what))
        if self._line is not None:
            self._line.close()
        if before is _State.LEAVING and code and not self._killed:
            what = f"a worker of {self._program.target} {_reason(code)} while it finished what it had"
            logs.log("warn", "worker_lost", what, worker=self.pid)
        if before is _State.READY:
            reason = "was killed, for it did not answer" if self._hung else _reason(code)
            self._crew.died(self, reason, time.monotonic() - self._began)

    def _hear(self, message: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        match message["event"]:
            case "ready" if not self._ready.done():
                self.rules = _rules(message["rules"])
                self._ready.set_result(None)
            case "failed" if not self._ready.done():
                lines = tuple(message["lines"])
                error = ApplicationError(message["code"], message["message"], message["hint"], lines)
                self._ready.set_exception(error)
            case "retire" if self.state is _State.READY:
                self._crew.wants_replacement(self)

    def _check(self) -> None:
        """Whether its event loop turns."""
        if self.state is not _State.READY:
            return
        now = time.monotonic()
        if now - self._checked > 3 * BEAT:
            self._heard = now  # it was us who did not listen
        self._checked = now
        silent = now - self._heard
        if silent > self._program.healthcheck + BEAT:
            what = f"a worker of {self._program.target} has not answered for {silent:.0f} s"
            logs.log("error", "worker_hangs", what, worker=self.pid)
            self._hung = True
            assert self._process is not None  # noqa: S101 - for the type checker
            self._process.kill()
            return
        self._loop.call_later(BEAT, self._check)


class _Line(asyncio.Protocol):
    """Between here and a worker: what it says comes as lines of JSON, and how the line ends does not matter."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self._hear = hear
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))


def _rules(told: dict[str, Any] | None) -> AppRules | None:
    if told is None:
        return None
    from velocity.config.embedding import AppRules

    return AppRules.model_validate(told)


def _reason(code: int) -> str:
    """How a process has ended."""
    if code >= 0:
        return f"exited with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


async def _reported(work: Coroutine[Any, Any, Any]) -> None:
    """Nobody waits for it: whatever goes wrong is said here."""
    try:
        await work
    except Exception as error:
        what = f"internal error: {type(error).__name__}: {error}"
        logs.log("error", "worker_failed", what, hint="please report it")


def _report(error: ApplicationError, event: str) -> None:
    fields = {"traceback": "\n".join(error.lines)} if error.lines else {}
    logs.log("error", event, error.message, hint=error.hint, **fields)
