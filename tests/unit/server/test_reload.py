"""A reload is whole or not at all, and says which."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from velocity.config.source import Given
from velocity.errors import ConfigError
from velocity.server import configured, reload
from velocity.server.configured import Request
from velocity.server.launch import Runtime
from velocity.telemetry import logs

if TYPE_CHECKING:
    from pathlib import Path


class FakeEngine:
    def __init__(self) -> None:
        self.plans: list[dict[str, Any]] = []
        self.refusal: Exception | None = None

    def reload(self, plan: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.plans.append(json.loads(plan))


class Running:
    """A reloader with an engine that only remembers, on a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **flags: Any) -> None:
        self.said: list[tuple[str, str, str]] = []
        monkeypatch.setattr(logs, "log", lambda level, event, text, **_: self.said.append((level, event, text)))
        (folder / "public").mkdir()
        self.file = folder / "serve.simple.yaml"
        self.write("listen: 127.0.0.1:0", "root: public")
        given = {name: Given(f"--{name}", value) for name, value in flags.items()}
        self.request = Request(self.file, None, given, Runtime())
        self.engine = FakeEngine()
        self.reloader = reload.Reloader(self.request, configured.prepare(self.request))
        self.reloader._engine = self.engine

    def write(self, server: str, site: str) -> None:
        self.file.write_text(f"server:\n  tls: {{self_signed: true}}\n  {server}\ncontent:\n  sites:\n    - {site}\n")

    def events(self) -> list[str]:
        found = [event for _, event, _ in self.said]
        self.said.clear()
        return found


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    return Running(tmp_path, monkeypatch)


def test_a_change_takes_effect(running: Running) -> None:
    running.write("listen: 127.0.0.1:0", "{root: public, listings: true}")
    running.reloader._changed()
    assert running.engine.plans[0]["sites"][0]["routes"][0]["handler"]["listings"] is True
    assert running.events() == ["reloaded"]


def test_what_changes_nothing_is_not_swapped(running: Running) -> None:
    running.file.write_text(running.file.read_text() + "# a comment\n")
    running.reloader._changed()
    assert running.engine.plans == []
    assert running.events() == ["reload_unchanged"]
    running.reloader.hangup()
    assert len(running.engine.plans) == 1


def test_another_certificate_is_a_change(running: Running, tmp_path: Path) -> None:
    key = tmp_path / "public/.velocity/certs/key.pem"
    key.write_bytes(key.read_bytes())
    running.reloader._changed()
    assert running.events() == ["reloaded"]


@pytest.mark.parametrize("text", ["listen: [", "server: {listn: 1}", "content: {sites: [{root: nowhere}]}", "", "\xff"])
def test_a_broken_file_changes_nothing(running: Running, text: str) -> None:
    good = running.file.read_text()
    running.file.write_bytes(text.encode("latin-1"))
    running.reloader._changed()
    assert running.engine.plans == []
    assert [event for event in running.events() if event != "reload_failed"] == ["reload_kept"]
    running.file.write_text(good.replace("root: public", "{root: public, listings: true}"))
    running.reloader._changed()
    assert len(running.engine.plans) == 1


def test_a_broken_file_is_told_with_its_place(running: Running) -> None:
    running.write("listn: 127.0.0.1:0", "root: public")
    running.reloader._changed()
    level, event, text = running.said[0]
    assert (level, event) == ("error", "reload_failed")
    assert text == f"{running.file}:3:3: unknown key listn"


def test_a_broken_include_is_followed(running: Running, tmp_path: Path) -> None:
    part = tmp_path / "part.yaml"
    part.write_text("server: {")
    running.file.write_text("include: part.yaml\n" + running.file.read_text())
    running.reloader._changed()
    assert part in running.reloader._watcher.files


def test_addresses_stay_and_the_rest_changes(running: Running) -> None:
    running.write("listen: 127.0.0.1:1", "{root: public, listings: true}")
    running.reloader._changed()
    assert running.engine.plans[0]["listeners"][0]["address"] == "127.0.0.1:0"
    assert running.engine.plans[0]["sites"][0]["routes"][0]["handler"]["listings"] is True
    assert running.events() == ["listeners_kept", "reloaded"]


def test_what_the_engine_refuses_changes_nothing(running: Running) -> None:
    running.engine.refusal = ConfigError("TEMPLATE_INVALID", "a.html:1: no", "close the block")
    running.reloader.hangup()
    assert running.events() == ["reload_failed", "reload_kept"]
    running.engine.refusal = None
    running.reloader.hangup()
    assert running.events() == ["reloaded"]


def test_a_defect_of_ours_does_not_end_the_following(running: Running) -> None:
    running.engine.refusal = RuntimeError("defect")
    running.reloader.hangup()
    assert running.said[0][2] == "internal error: RuntimeError: defect"


def test_a_change_that_a_flag_pins_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path, monkeypatch, listings=False)
    running.write("listen: 127.0.0.1:0", "{root: public, listings: true}")
    running.reloader._changed()
    assert running.said[0][:2] == ("warn", "config_pinned")
    assert running.said[0][2] == "content.sites[0].listings changed and has no effect: --listings says otherwise"
    assert running.engine.plans == []
    running.said.clear()
    running.reloader._changed()
    assert "config_pinned" not in running.events()


def test_nothing_is_reloaded_after_the_end(running: Running) -> None:
    running.reloader.stop()
    running.reloader.hangup()
    assert running.engine.plans == []
