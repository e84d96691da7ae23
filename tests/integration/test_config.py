"""A server that follows its files: what is saved is served, without losing a connection."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from support.configured import BASE, Configured, serving, write
from support.http1 import Http1
from support.server import VELOCITY, environment, velocity

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
    return tmp_path


def test_what_is_saved_is_served(folder: Path) -> None:
    """The file is found without being named."""
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder) as server:
        assert server.get() == (0, "one")
        write(folder, f"{BASE}content: {{sites: [{{root: two}}]}}\n")
        began = time.monotonic()
        server.said("reloaded")
        assert time.monotonic() - began < 1
        assert server.get() == (0, "two")


def test_a_broken_file_is_told_and_nothing_changes(folder: Path) -> None:
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder, "--config", "serve.simple.yaml") as server:
        write(folder, f"{BASE}content: {{sites: [{{rot: two}}]}}\n")
        assert "serve.simple.yaml:3:20: unknown key rot" in server.said("reload_failed")
        server.said("reload_kept")
        assert server.get() == (0, "one")
        write(folder, f"{BASE}content: {{sites: [{{root: two}}]}}\n")
        server.said("reloaded")
        assert server.get() == (0, "two")


def test_sighup_reads_again(folder: Path) -> None:
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder) as server:
        server.process.send_signal(signal.SIGHUP)
        assert "SIGHUP" in server.said("reloaded")
        assert server.get() == (0, "one")


def test_a_volume_that_is_swapped(folder: Path) -> None:
    config = folder / "config"
    for name in ("one", "two"):
        (config / f"..{name}").mkdir(parents=True)
        (config / f"..{name}/serve.simple.yaml").write_text(f"{BASE}content: {{sites: [{{root: ../{name}}}]}}\n")
    (config / "..data").symlink_to("..one")
    (config / "serve.simple.yaml").symlink_to("..data/serve.simple.yaml")
    with serving(folder, "--config", "config/serve.simple.yaml") as server:
        assert server.get() == (0, "one")
        (config / "..tmp").symlink_to("..two")
        os.replace(config / "..tmp", config / "..data")  # noqa: PTH105
        server.said("reloaded")
        assert server.get() == (0, "two")


def test_flags_win_and_say_so(folder: Path) -> None:
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder, "--config", "serve.simple.yaml", "--root", "two") as server:
        assert server.get() == (0, "two")
        write(folder, f"{BASE}content: {{sites: [{{root: ./one/.}}]}}\n")
        assert "content.sites[0].root" in server.said("config_pinned")


def test_addresses_need_a_restart_and_nothing_else_waits_for_it(folder: Path) -> None:
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder) as server:
        write(folder, f"{BASE}content: {{sites: [{{root: two}}]}}\n".replace("127.0.0.1", "127.0.0.2"))
        server.said("listeners_kept")
        server.said("reloaded")
        assert server.get() == (0, "two")


def test_what_has_no_effect_yet_is_told(folder: Path) -> None:
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\ntickets: {{max_age: 24h}}\n")
    with serving(folder) as server:
        server.has_said("tickets are not supported yet")


def test_signals_are_the_servers_though_it_has_spoken_before(folder: Path) -> None:
    """A thread that was there before would take them when the server does not wait for one, and end everything."""
    (folder / "one/large").write_bytes(b"x" * (8 << 20))
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\ntickets: {{max_age: 24h}}\n")
    server = Configured(folder)
    with Http1(server.port, receive_buffer=32768) as client:
        client.send("GET", "/large")
        client.begin()
        for said in ("draining", "aborted"):
            server.process.send_signal(signal.SIGTERM)
            server.said(said)
        assert server.process.wait(10) == 128 + signal.SIGTERM


def test_a_configuration_that_cannot_be(folder: Path) -> None:
    write(folder, "content: {sites: [{root: nowhere}]}\n")
    done = velocity("serve", "--self-signed", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: serve.simple.yaml:1:26: there is no folder")


def test_without_a_certificate(folder: Path) -> None:
    write(folder, "content: {sites: [{root: one}]}\n")
    done = velocity("serve", cwd=folder)
    assert done.returncode == 2
    assert "there is no certificate" in done.stderr.decode()


def test_downloads_outlive_a_reload(folder: Path) -> None:
    """A response that has begun ends as it began, whatever is saved meanwhile."""
    (folder / "one/large").write_bytes(b"x" * (64 << 20))
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder) as server:
        download = subprocess.Popen(
            [VELOCITY, "client", "get", f"{server.url}/large", "--insecure"], stdout=subprocess.PIPE, env=environment()
        )
        assert download.stdout is not None
        first = download.stdout.read(1 << 16)
        write(folder, f"{BASE}content: {{sites: [{{root: two}}]}}\n")
        server.said("reloaded")
        with download.stdout as stream:
            rest = stream.read()
        assert download.wait(10) == 0
        assert len(first) + len(rest) == 64 << 20


def test_a_remembered_start_does_not_hide_a_configuration(folder: Path) -> None:
    """Flags alone are remembered; a file that appears afterwards counts all the same."""
    (folder / "index.html").write_text("flags")
    with serving(folder, "--self-signed", "--listen", "127.0.0.1:0") as server:
        assert server.get() == (0, "flags")
    write(folder, f"{BASE}content: {{sites: [{{root: one}}]}}\n")
    with serving(folder, "--self-signed", "--listen", "127.0.0.1:0") as server:
        assert server.get() == (0, "one")
