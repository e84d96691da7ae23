"""The engine by itself, with a Plan that a test wrote, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.certificates import Pair
from support.server import check_talk, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_TIMEOUT = 20.0

# Plans come line by line on standard input; what became of each goes out the same way.
_PROGRAM = """
import json, sys
from velocity import _core
from velocity.errors import VelocityError
engine = None
for line in sys.stdin:
    try:
        if line == "counters\\n":
            said = engine.counters()
        elif engine is None:
            engine = _core.Engine(line)
            said = {"port": int(engine.addresses[0].rsplit(":", 1)[1])}
        else:
            engine.reload(line)
            said = {}
    except VelocityError as error:
        said = {"code": error.code, "message": str(error)}
    print(json.dumps(said), flush=True)
if engine is not None:
    engine.abort()
_core.flush_logs()
"""


def make(folder: Path) -> Pair:
    """A hybrid certificate for localhost, and its keys."""
    from velocity.pki import self_signed

    made = self_signed.ensure(folder, ())
    return Pair(made.chain_file, made.key_file)


def certificate(pair: Pair) -> dict[str, Any]:
    """A certificate of a Plan, with what lies beside it."""
    from velocity.server.launch import find_certificate

    return find_certificate(pair.cert, pair.key).model_dump(mode="json")


def plan(pair: Pair, routes: list[dict[str, Any]], *, filters: list[dict[str, Any]] | None = None, **more: Any) -> str:
    """A Plan with one site, as JSON; `more` are further keys of it, `site` further keys of the site."""
    from velocity.config.plan import Plan

    site = {"routes": routes, **more.pop("site", {})}
    return Plan.model_validate(
        {
            "listeners": [{"address": "127.0.0.1:0", "alpn": ["velocity/1", "h3", "h2", "http/1.1"]}],
            "tls": {"certificates": [certificate(pair)]},
            "sites": [site],
            "filters": filters or [],
            "workers": 1,
            **more,
        }
    ).to_json()


def route(handler: dict[str, Any], path: str = "/", kind: str = "prefix", **more: Any) -> dict[str, Any]:
    """A route of a Plan."""
    return {"name": f"routes[{path}]", "match": {"kind": kind, "value": path}, "handler": handler, **more}


class Engine:
    """An engine that serves `plan`.

    Args:
        plan: what to serve.
        within: a command that runs the one behind it.

    Raises:
        AssertionError: it did not begin to serve.
    """

    def __init__(self, plan: str, within: Sequence[str | Path] = ()) -> None:
        self.process = subprocess.Popen(
            [*within, sys.executable, "-c", _PROGRAM],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._log: list[str] = []
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._log.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        said = self._ask(plan)
        if "port" not in said:
            self.end()
            raise AssertionError(f"the engine did not start: {said}")
        self.port: int = said["port"]

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> str:
        """End it; everything that it has logged."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(_TIMEOUT)
        self._reader.join(_TIMEOUT)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        said = "".join(self._log)
        check_talk(said)
        return said

    def reload(self, plan: str) -> dict[str, Any]:
        """Serve another Plan; empty, or `code` and `message` of the error."""
        return self._ask(plan)

    def line_with(self, *texts: str, timeout: float = 5.0) -> str:
        """The first line it has logged, or will, that holds all of these texts."""
        deadline = time.monotonic() + timeout
        while True:
            for line in list(self._log):
                if all(text in line for text in texts):
                    return line
            assert time.monotonic() < deadline, f"no line with {texts}:\n{''.join(self._log)}"
            time.sleep(0.02)

    def counters(self) -> dict[str, int]:
        """The counters of the engine."""
        return self._ask("counters")

    def memory(self) -> int:
        """Bytes of anonymous memory it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        return said
