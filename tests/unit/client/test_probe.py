"""What a probe reports of each handshake, and what it makes of certificates that a peer chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from velocity.client import probe as module
from velocity.client.connect import ORDER, Trust
from velocity.errors import ConnectError

if TYPE_CHECKING:
    from unit.fakes import FakeCore

FACTS: dict[str, Any] = {
    **dict.fromkeys(module._FACTS, "x"),
    "handshake_ms": 1.23456,
    "certificate_sha256": "ab",
    "certificate_chain": [b"no certificate"],
    "ml_dsa_level": None,
}


@pytest.fixture
def facts(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    monkeypatch.setattr("unit.fakes.FakeConnection.facts", FACTS, raising=False)
    return core


def probe() -> dict[str, Any]:
    return module.probe("h", 1, Trust(), 1.0)


def test_everything_answers(facts: FakeCore) -> None:
    result = probe()
    assert result["ok"]
    assert list(result["protocols"]) == list(ORDER)
    assert list(result["profiles"]) == ["light", "balanced", "secure"]
    assert [one.options["profile"] for one in facts.connections] == [None] * 4 + ["light", "balanced", "secure"]
    assert all(one.closed for one in facts.connections)
    assert result["protocols"]["h2"]["handshake_ms"] == 1.235


def test_only_velocity_counts(facts: FakeCore) -> None:
    facts.failing = {"velocity/1": ConnectError("CONNECT_FAILED", "no")}
    result = probe()
    assert not result["ok"]
    assert result["protocols"]["velocity/1"] == {"ok": False, "code": "CONNECT_FAILED", "error": "no"}
    assert result["protocols"]["h3"]["ok"]
    assert result["profiles"] == {}


def test_no_such_host(facts: FakeCore) -> None:
    facts.failing = dict.fromkeys(ORDER, ConnectError("RESOLVE_FAILED", "no such host"))
    with pytest.raises(ConnectError):
        probe()


def test_bytes_that_are_no_certificate(facts: FakeCore) -> None:
    assert probe()["certificate"] == {"sha256": "ab", "chain_length": 1}
