"""Debian's Chromium opens the example site: straight over HTTP/3, and led there by `Alt-Svc`.

Its answer about the protocol of a page is only there after scripts have run and the network is quiet.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import needs
from support.authority import Authority
from support.chromium import chromium
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "site"

PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"


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
