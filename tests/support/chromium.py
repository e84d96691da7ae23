"""Debian's Chromium, driven through its DevTools protocol: a WebSocket that it opens on a loopback port."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

from support import certificates, needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = [
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--window-size=1100,1400",
    # The server listens on IPv4 only, and QUIC, unlike TCP, does not try the next address.
    "--host-resolver-rules=MAP localhost 127.0.0.1",
    "--remote-debugging-port=0",
]


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        """What the console, the loader or a script complained of."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A DevTools command and its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=20))
            self._watch(message)
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def open(self, url: str, ready: str = "document.documentElement.dataset.protocol") -> None:
        """Go to a URL and wait until an expression is true there: that the example's script has said its protocol."""
        went = self.call("Page.navigate", url=url)
        assert not went.get("errorText"), went
        deadline = time.monotonic() + 20
        while not self.evaluate(f"location.href === {json.dumps(url)} && {ready}"):
            assert time.monotonic() < deadline, f"{url} did not finish loading"
            time.sleep(0.05)

    def visit(self, url: str, ready: str) -> None:
        """Go to a URL and wait until an expression holds, wherever that led."""
        went = self.call("Page.navigate", url=url)
        assert not went.get("errorText"), went
        self.until(ready)

    def until(self, ready: str) -> None:
        """Wait until an expression holds in a page that has loaded."""
        deadline = time.monotonic() + 20
        while not self.evaluate(f"document.readyState === 'complete' && Boolean({ready})"):
            assert time.monotonic() < deadline, f"{self.evaluate('location.href')} is not {ready}"
            time.sleep(0.05)

    def screenshot(self, file: Path) -> None:
        """A picture of the page as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _watch(self, message: dict[str, Any]) -> None:
        match message.get("method"), message.get("params"):
            case "Log.entryAdded", {"entry": {"level": "error" | "warning"} as entry}:
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")
            case "Runtime.exceptionThrown", {"exceptionDetails": details}:
                self.problems.append(str(details))
            case "Network.loadingFailed", params:
                self.problems.append(str(params))
            case _:
                pass


@contextmanager
def chromium(profile: Path, certificate: Path | None, *flags: str, home: Path | None = None) -> Iterator[Page]:
    """A browser of this test's own that trusts one public key, or what is in `home`, more than others do."""
    program = needs.command("chromium", "chromium")
    command = [program, *QUIET, f"--user-data-dir={profile}", *flags]
    if certificate is not None:
        command.append(f"--ignore-certificate-errors-spki-list={certificates.spki_pin(certificate)}")
    if os.geteuid() == 0:
        command.append("--no-sandbox")
    log = profile.with_suffix(".log")
    with log.open("wb") as output:
        browser = subprocess.Popen(
            [*command, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **({"HOME": str(home)} if home else {})},
        )
    try:
        with connect(debugger(profile, browser, log), max_size=None) as socket:
            yield Page(socket)
    finally:
        browser.terminate()
        browser.wait(20)


@contextmanager
def another_tab(profile: Path) -> Iterator[Page]:
    """One more tab of the browser that has this profile."""
    port, path = (profile / "DevToolsActivePort").read_text().split()
    with connect(f"ws://127.0.0.1:{port}{path}") as socket:
        command = {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
        socket.send(json.dumps(command))
        tab = json.loads(socket.recv(timeout=20))["result"]["targetId"]
    with connect(f"ws://127.0.0.1:{port}/devtools/page/{tab}", max_size=None) as socket:
        yield Page(socket)


def debugger(profile: Path, browser: subprocess.Popen[bytes], log: Path) -> str:
    """The WebSocket address of the browser's first tab."""
    announced = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 30
    while not (announced.exists() and len(announced.read_text().split()) == 2):
        assert browser.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    port, path = announced.read_text().split()
    with connect(f"ws://127.0.0.1:{port}{path}") as socket:
        socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        targets = json.loads(socket.recv(timeout=20))["result"]["targetInfos"]
    tab = next(target["targetId"] for target in targets if target["type"] == "page")
    return f"ws://127.0.0.1:{port}/devtools/page/{tab}"
