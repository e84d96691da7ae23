"""From an empty folder to a verified connection: an authority, a certificate, a server, a client."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support import needs
from support.server import Server, velocity

if TYPE_CHECKING:
    from pathlib import Path

    from support.site import Site


@pytest.fixture(params=["balanced", "secure"])
def issued(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a certificate by an authority of its own."""
    env = {"VELOCITY_CA_DIR": str(tmp_path / "ca")}
    assert velocity("ca", "init", env=env, cwd=tmp_path).returncode == 0
    issue = ["cert", "issue", "--dns", "localhost", "--ip", "127.0.0.1", "--profile", request.param, "--out", "certs"]
    assert velocity(*issue, env=env, cwd=tmp_path).returncode == 0
    return tmp_path / "certs"


def test_four_commands(site: Site, issued: Path) -> None:
    with Server(site.root, "--cert", issued / "fullchain.pem", "--key", issued / "privkey.pem") as server:
        url = server.url("/")
        for protocol in ("velocity", "h3", "h2", "h1"):
            got = velocity("client", "get", url, "--cacert", issued / "root.pem", "--http", protocol)
            assert got.returncode == 0, got.stderr
        assert velocity("client", "get", url).returncode == 1
        curl = needs.command("curl", "curl")
        subprocess.run([curl, "-sSf", "--cacert", issued / "root.pem", url], check=True, capture_output=True)
        assert subprocess.run([curl, "-sS", url], capture_output=True, check=False).returncode == 60


def test_the_lean_chain_serves_too(site: Site, issued: Path) -> None:
    chain = issued / "fullchain.classical.pem"
    with Server(site.root, "--cert", chain, "--key", issued / "privkey.pem") as server:
        got = velocity("client", "get", server.url("/"), "--cacert", issued / "root.pem")
        assert got.returncode == 0, got.stderr
