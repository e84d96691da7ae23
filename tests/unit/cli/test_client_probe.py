"""`velocity client probe`: a table for people, JSON for programs, and an exit code for scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from velocity.cli.app import run
from velocity.client import probe as module
from velocity.client.connect import Trust
from velocity.errors import ConnectError

WORKS: dict[str, Any] = {
    "ok": True,
    "group": "X25519MLKEM768",
    "cipher": "TLS_AES_128_GCM_SHA256",
    "signature_scheme": "ecdsa_secp256r1_sha256",
    "round_trips": 1,
    "handshake_ms": 1.25,
    "verification": {"classical": True, "ml_dsa": True, "ml_dsa_level": "ML-DSA-65"},
}
FAILS: dict[str, Any] = {"ok": False, "code": "CONNECT_FAILED", "error": "refused by \x1b[31mh"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Probe a server that answers so, and return what was asked of it."""

    def answers(velocity: dict[str, Any], certificate: dict[str, Any] | None) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []

        def probe(host: str, port: int, *how: Any) -> dict[str, Any]:
            calls.append((host, port, *how))
            return {
                "host": host,
                "port": port,
                "ok": velocity["ok"],
                "protocols": {"velocity/1": velocity, "h3": WORKS, "h2": FAILS, "http/1.1": WORKS},
                "profiles": {"light": WORKS} if velocity["ok"] else {},
                "certificate": certificate,
            }

        monkeypatch.setattr(module, "probe", probe)
        return calls

    return answers


CERTIFICATE = {
    "names": ["a.example", "\x1b[2J"],
    "subject": "",
    "key": "EllipticCurve",
    "days_left": 89,
    "sha256": "ab",
}


def test_table(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    calls = asked(WORKS, CERTIFICATE)
    assert run(["client", "probe", "h:4433", "--insecure", "--timeout", "2"]) == 0
    out, err = capsys.readouterr()
    assert calls == [("h", 4433, Trust(None, True), 2.0)]
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "protocol"
    assert [line.split("  ")[0] for line in lines[1:6]] == ["velocity/1", "h3", "h2", "http/1.1", "velocity/1 light"]
    assert "X25519MLKEM768" in lines[1]
    assert "1.2 ms" in lines[1]
    assert "no: refused by" in lines[3]
    assert "a.example" in out
    assert "89 days left" in out


def test_nothing_of_a_peer_moves_the_cursor(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    asked(WORKS, CERTIFICATE)
    run(["client", "probe", "h"])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_without_velocity_it_fails(asked: Any, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    asked(FAILS, None)
    assert run(["client", "probe", "h", *flags]) == 1
    assert capsys.readouterr().out


def test_json(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    calls = asked(WORKS, CERTIFICATE)
    assert run(["client", "probe", "[::1]", "--json", "--cacert", "ca.pem"]) == 0
    assert calls == [("::1", 443, Trust("ca.pem"), 5.0)]
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert list(answer["protocols"]) == ["velocity/1", "h3", "h2", "http/1.1"]


def test_a_certificate_that_nobody_could_read(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    asked(WORKS, {"sha256": "ab", "chain_length": 1})
    assert run(["client", "probe", "h"]) == 0
    assert "certificate" not in capsys.readouterr().out


def test_no_such_host(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def unknown(*_: object) -> None:
        raise ConnectError("RESOLVE_FAILED", "cannot resolve h", "check the host name")

    monkeypatch.setattr(module, "probe", unknown)
    assert run(["client", "probe", "h"]) == 1
    assert capsys.readouterr() == ("", "error: cannot resolve h\nhint: check the host name\n")


@pytest.mark.parametrize(
    "arguments", [[""], ["http://h/"], ["h:99999"], ["h", "--timeout", "0"], ["h", "--timeout", "inf"]], ids=" ".join
)
def test_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["client", "probe", *arguments]) == 2
    err = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in err] == ["error", "hint"]
