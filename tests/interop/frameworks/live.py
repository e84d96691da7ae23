"""A server in this process for applications that come and go: those of a framework's own tests, one for each of them.

Requests cross real sockets. Which application one is for stands in a field of its head, which it does not see.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.from_thread import BlockingPortal

from support import engine
from velocity import _core
from velocity.asgi.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
MARK = "x-suite-visit"
_PATIENCE = 10.0
"""Seconds for an application to end after its answer."""
_NAME = "suite:app"


class Visit:
    """One request: whose it is, and how its application ended."""

    def __init__(self, application: Any, changes: dict[str, Any]) -> None:
        self.application = application
        self.changes = changes
        """What the scope says otherwise than the socket: where a test client claims to be."""
        self.task: asyncio.Task[Any] | None = None
        self.ended = threading.Event()
        self.error: BaseException | None = None


class Live:
    """The server and its event loop, in a thread of their own until the process ends."""

    def __init__(self) -> None:
        self.visits = 0
        """Requests that applications got."""
        self.loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)
        self._expected: dict[bytes, Visit] = {}
        self._ready = threading.Event()
        pair = engine.make(Path(tempfile.mkdtemp(prefix="suite-")))
        self._roots = str(pair.cert.with_name("cert.classical.pem"))
        handler = {"kind": "python", "app": _NAME}
        self._plan = engine.plan(pair, [engine.route(handler)], log={"access": False})
        threading.Thread(target=self.loop.run_until_complete, args=(self._run(),), daemon=True).start()
        assert self._ready.wait(20)

    async def _run(self) -> None:
        bridge = Bridge(self._dispatch, _NAME)
        self._engine = _core.Engine(self._plan, {_NAME: bridge.core})
        self.port = int(self._engine.addresses[0].rpartition(":")[2])
        async with BlockingPortal() as self.portal:
            self._ready.set()
            await asyncio.Event().wait()

    async def _dispatch(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        name = MARK.encode()
        visit = self._expected.pop(next(value for known, value in scope["headers"] if known == name))
        self.visits += 1
        visit.task = asyncio.current_task()
        fields = [(known, value) for known, value in scope["headers"] if known != name]
        try:
            await visit.application({**scope, "headers": fields, **visit.changes}, receive, send)
        except BaseException as error:
            visit.error = error
            raise
        finally:
            visit.ended.set()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done on the event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def trust(self) -> ssl.SSLContext:
        """A context for one kind of client: each sets its own ALPN there."""
        return ssl.create_default_context(cafile=self._roots)

    def expect(self, application: Any, **changes: Any) -> tuple[str, Visit]:
        """A mark for the next request, and what becomes of that."""
        mark, visit = str(next(self._numbers)), Visit(application, changes)
        self._expected[mark.encode()] = visit
        return mark, visit

    def finish(self, mark: str, visit: Visit, *, is_complete: bool) -> None:
        """Wait until the application has ended; it is told to where nobody waits for its answer."""
        if self._expected.pop(mark.encode(), None) is not None:
            return  # it never got there
        if visit.ended.wait(_PATIENCE if is_complete else 0.5):
            return
        if visit.task is not None:
            self.loop.call_soon_threadsafe(visit.task.cancel)
        assert visit.ended.wait(_PATIENCE), "the application does not end"
