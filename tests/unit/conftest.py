"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from unit.fakes import FakeCore
from velocity import _core


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    """The client's connections, made of plain objects."""
    fake = FakeCore()
    monkeypatch.setattr(_core, "Connection", fake)
    return fake
