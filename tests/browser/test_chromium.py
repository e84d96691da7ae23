"""Debian's Chromium opens the example site: straight over HTTP/3, and led there by `Alt-Svc`.

Chromium is driven through its DevTools protocol, a WebSocket that it opens on a loopback port, because its
answer about the protocol of a page is only there after scripts have run and the network is quiet.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import ClientConnection, connect

from support import certificates, needs
from support.authority import Authority
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "site"

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

PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"


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

    def open(self, url: str) -> None:
        """Go to a URL and wait until its script has said which protocol it came over."""
        went = self.call("Page.navigate", url=url)
        assert not went.get("errorText"), went
        deadline = time.monotonic() + 20
        ready = f"location.href === {json.dumps(url)} && document.documentElement.dataset.protocol"
        while not self.evaluate(ready):
            assert time.monotonic() < deadline, f"{url} did not finish loading"
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


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The example site, copied, so that no certificate is left in the repository."""
    root = tmp_path_factory.mktemp("example") / "site"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns(".velocity"))
    with Server(root) as running:
        yield running


def test_example_site_over_h3(example: Server, tmp_path: Path) -> None:
    forced = f"--origin-to-force-quic-on={example.address}"
    with chromium(tmp_path / "profile", example.certificate, forced) as page:
        page.open(example.url())
        assert page.evaluate(PROTOCOL) == "h3"
        assert page.evaluate("document.getElementById('protocol').textContent") == "HTTP/3"
        assert page.evaluate("document.querySelector('tr.current').dataset.alpn") == "h3"
        resources = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)")
        assert len(resources) >= 3
        assert set(resources) == {"h3"}
        for scheme in ("light", "dark"):
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            page.screenshot(tmp_path / f"{scheme}.png")
            assert (tmp_path / f"{scheme}.png").read_bytes().startswith(b"\x89PNG")
        page.open(example.url("/about/"))
        assert page.evaluate(PROTOCOL) == "h3"
        assert page.problems == []


def test_first_visit_is_h2_and_alt_svc_leads_to_h3(example: Server, tmp_path: Path) -> None:
    """Chromium races both protocols once it knows of h3, which therefore has a few visits to win."""
    # Chromium wants a public root for QUIC, save on hosts named by this switch: here it forces nothing,
    # because the port is another, and only lets our certificate pass.
    private_root = "--origin-to-force-quic-on=localhost:1"
    with chromium(tmp_path / "profile", example.certificate, private_root) as page:
        page.open(example.url())
        assert page.evaluate(PROTOCOL) == "h2"
        for visit in range(10):
            time.sleep(0.5)
            page.open(example.url(f"/?visit={visit}"))
            if page.evaluate(PROTOCOL) == "h3":
                break
        else:
            pytest.fail("Alt-Svc did not bring the browser to h3 in ten visits")
        assert page.problems == []


def test_without_quic_it_is_h2(example: Server, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", example.certificate, "--disable-quic") as page:
        page.open(example.url())
        assert page.evaluate(PROTOCOL) == "h2"
        assert page.evaluate("document.getElementById('protocol').textContent") == "HTTP/2"
        assert page.problems == []


def test_the_lean_chain_of_an_authority_that_is_trusted(tmp_path: Path) -> None:
    """No exception is made for any key here: the root is in the browser's store, as `ca trust` puts it."""
    certutil = needs.command("certutil", "libnss3-tools")
    authority = Authority(tmp_path / "authority")
    issued = authority.issue("localhost")
    store = tmp_path / "home" / ".pki" / "nssdb"
    store.mkdir(parents=True)
    database = ("-d", f"sql:{store}")
    subprocess.run([certutil, "-N", *database, "--empty-password"], check=True, capture_output=True)
    subprocess.run([certutil, "-A", *database, "-n", "velocity", "-t", "C,,", "-i", authority.root], check=True)
    root = tmp_path / "site"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns(".velocity"))
    with (
        Server(root, *issued.flags) as running,
        chromium(tmp_path / "profile", None, "--disable-quic", home=tmp_path / "home") as page,
    ):
        page.open(running.url("/"))
        assert page.evaluate("document.documentElement.dataset.protocol") == "h2"
        assert page.problems == []
