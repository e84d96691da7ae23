"""Links that are slow, break off or say nothing, by Toxiproxy."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from support import golang

if TYPE_CHECKING:
    from types import TracebackType

SOURCE = Path(__file__).parents[1] / "interop" / "toxiproxy"

Toxic = Literal["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data"]
Stream = Literal["downstream", "upstream"]


class Toxiproxy:
    """The program, built into `folder` and run."""

    def __init__(self, folder: Path) -> None:
        # It talks on stderr of what it does, whatever the level of its log.
        self.process = subprocess.Popen(
            [golang.build(SOURCE, folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self._url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self) -> Toxiproxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def link(self, port: int) -> Link:
        """A way to a port of this machine."""
        name = f"link{port}"
        made = self.ask("POST", "/proxies", name=name, listen="127.0.0.1:0", upstream=f"127.0.0.1:{port}")
        return Link(self, name, int(made["listen"].rpartition(":")[2]))

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """A request to its HTTP interface, and what it says."""
        request = urllib.request.Request(self._url + path, json.dumps(content).encode(), method=method)
        with self._opener.open(request, timeout=10) as response:
            return json.loads(response.read() or b"null")


class Link:
    """A way that can be made toxic."""

    def __init__(self, toxiproxy: Toxiproxy, name: str, port: int) -> None:
        self._toxiproxy, self._name, self.port = toxiproxy, name, port

    @property
    def url(self) -> str:
        """As `--proxy` takes it."""
        return f"http://127.0.0.1:{self.port}"

    def poison(self, toxic: Toxic, stream: Stream = "downstream", **attributes: int) -> None:
        """Add a toxic, for connections that are there too; `downstream` is what the server says."""
        self._toxiproxy.ask(
            "POST",
            f"/proxies/{self._name}/toxics",
            name=toxic + stream,
            type=toxic,
            stream=stream,
            attributes=attributes,
        )

    def cure(self) -> None:
        """Take all toxics away."""
        for toxic in self._toxiproxy.ask("GET", f"/proxies/{self._name}/toxics"):
            self._toxiproxy.ask("DELETE", f"/proxies/{self._name}/toxics/{toxic['name']}")

    def cut(self, enabled: bool = False) -> None:
        """Close everything and listen no more; or listen again."""
        self._toxiproxy.ask("PATCH", f"/proxies/{self._name}", enabled=enabled)
