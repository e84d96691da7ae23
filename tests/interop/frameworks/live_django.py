"""Django's own test runner, with Velocity as the server of `LiveServerTestCase`.

python live_django.py LABEL ...         # in the folder `tests` of Django's sources
"""

from __future__ import annotations

import asyncio
import runpy
import ssl
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

from django.db import connections
from django.test import testcases
from django.utils.functional import classproperty

from support import engine
from velocity import _core
from velocity.asgi.bridge import Bridge
from velocity.asgi.interface import adapt

_NAME = "django:app"
_PAIR = engine.make(Path(tempfile.mkdtemp(prefix="django-")))


class LiveServer:
    """In place of `ThreadedWSGIServer`: the same methods, and behind them an engine."""

    def __init__(self, address: tuple[str, int], _handler: Any, *, connections_override: Any = None, **__: Any) -> None:
        self._override = connections_override or {}
        self._loop = asyncio.new_event_loop()
        self._application: Any = None
        self._is_over = threading.Event()
        handler = {"kind": "python", "app": _NAME}
        plan = engine.plan(_PAIR, [engine.route(handler)], log={"access": False})
        adapted, _ = adapt(self._call, "wsgi", _NAME)
        started: list[Any] = []

        async def start() -> None:
            bridge = Bridge(adapted, _NAME)
            started.extend((bridge, _core.Engine(plan, {_NAME: bridge.core})))

        self._loop.run_until_complete(start())
        self._engine: _core.Engine = started[1]
        self._bridge: Bridge = started[0]
        self.server_address = ("localhost", int(self._engine.addresses[0].rpartition(":")[2]))

    def _call(self, environ: dict[str, Any], start_response: Any) -> Any:
        for alias, connection in self._override.items():
            connections[alias] = connection
        return self._application(environ, start_response)

    def set_app(self, application: Any) -> None:
        self._application = application

    def serve_forever(self) -> None:
        self._loop.run_until_complete(asyncio.to_thread(self._is_over.wait))

    def shutdown(self) -> None:
        self._is_over.set()

    def server_close(self) -> None:
        self._engine.abort()


testcases.LiveServerThread.server_class = LiveServer
testcases.LiveServerTestCase.live_server_url = classproperty(
    lambda kind: f"https://{kind.host}:{kind.server_thread.port}"
)
_trust = ssl.create_default_context(cafile=str(_PAIR.cert.with_name("cert.classical.pem")))
urllib.request.install_opener(urllib.request.build_opener(urllib.request.HTTPSHandler(context=_trust)))

sys.argv = ["runtests.py", *sys.argv[1:]]
sys.path.insert(0, str(Path.cwd()))
runpy.run_path("runtests.py", run_name="__main__")
