"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from unit.fakes import FakeCore
from velocity import _core


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> FakeCore:
    """The client's connections, made of plain objects."""
    fake = FakeCore()
    monkeypatch.setattr(_core, "Connection", fake)
    monkeypatch.setattr(_core, "can_verify_hybrid", lambda ca_file: True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    return fake
