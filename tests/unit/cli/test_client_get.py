"""`velocity client get`: what becomes of flags, bodies and statuses."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from unit.fakes import FakeCore, FakeResponse
from velocity.cli.app import run

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://h/f"
FACTS = {
    "alpn": "velocity/1",
    "remote": "127.0.0.1:1",
    "tls_version": "TLSv1.3",
    "group": "X25519MLKEM768",
    "cipher": "TLS_AES_128_GCM_SHA256",
    "signature_scheme": "ecdsa_secp256r1_sha256",
    "profile": "balanced",
    "verified": False,
    "certificate_sha256": "ab",
    "round_trips": 1,
    "handshake_ms": 1.5,
    "certificate_chain": [b"der"],
    "ml_dsa_level": "ML-DSA-65",
}


@pytest.fixture(autouse=True)
def _facts(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unit.fakes.FakeConnection.facts", FACTS, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


def get(*flags: str | Path) -> int:
    return run(["client", "get", URL, *map(str, flags)])


def test_body_on_stdout(core: FakeCore, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    core.answers = [FakeResponse(200, [], b"\x00\xff", b"\r\n")]
    assert get() == 0
    assert capfdbinary.readouterr() == (b"\x00\xff\r\n", b"")


def test_status_400_and_above(core: FakeCore, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    core.answers = [FakeResponse(404, [], b"gone")]
    assert get("-o", tmp_path / "f") == 1
    out, err = capfdbinary.readouterr()
    assert out == b"gone"
    assert err == b"error: the server answered 404 for https://h/f\n"
    assert list(tmp_path.iterdir()) == []


def test_request(core: FakeCore) -> None:
    core.answers = [FakeResponse(200)]
    assert (
        get("-X", "PUT", "-H", "X-One: 1", "-H", "accept:*/*", "-d", "body", "--http", "h2", "--profile", "turbo") == 0
    )
    assert core.connections[0].asked == [("PUT", "/f", {"x-one": "1", "accept": "*/*"}, b"body")]
    assert core.connections[0].options["profile"] == "light"
    assert core.tried == [(("h2",), 10.0)]


def test_data_makes_it_a_post(core: FakeCore) -> None:
    core.answers = [FakeResponse(200)]
    get("-d", "")
    assert core.connections[0].asked[0][::3] == ("POST", b"")


def test_data_from_a_file(core: FakeCore, tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"\x00binary")
    core.answers = [FakeResponse(200)]
    get("-d", f"@{tmp_path / 'd'}")
    assert core.connections[0].asked[0][3] == b"\x00binary"


@pytest.mark.parametrize("spelling", ["-", "@-"])
def test_data_from_standard_input(core: FakeCore, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped\xff")))
    core.answers = [FakeResponse(200)]
    get("-d", spelling)
    assert core.connections[0].asked[0][3] == b"piped\xff"


@pytest.mark.parametrize(
    "flags",
    [["-H", "nothing"], ["-H", ": empty"], ["-H", "a b: c"], ["-H", "a: b\r\nc: d"], ["-X", "GE T"], ["-X", ""],
     ["-d", "@/no/such/file"], ["--http", "h9"], ["--http", "h3", "--alpn", "h2"], ["--alpn", "h9"],
     ["--profile", "x"], ["--timeout", "0"], ["--timeout", "inf"], ["--timeout", "nan"],
     ["-H", "a: \udcff"], ["-H", "a: \x1b"]],
    ids=" ".join,
)  # fmt: skip
def test_refused_before_anything_is_sent(core: FakeCore, flags: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert get(*flags) == 2
    assert core.tried == []
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")


def test_json(core: FakeCore, capfd: pytest.CaptureFixture[str]) -> None:
    core.answers = [FakeResponse(200, [("a", "b")], b"text"), FakeResponse(200, [], b"\xff")]
    assert get("--json") == 0
    answer: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert answer["status"] == 200
    assert answer["headers"] == [["a", "b"]]
    assert answer["negotiated"]["group"] == "X25519MLKEM768"
    assert "certificate_chain" not in answer["negotiated"]
    assert answer["body"] == "text"
    get("--json")
    assert json.loads(capfd.readouterr().out)["body_base64"] == "/w=="


def test_verbose_is_safe_to_look_at(core: FakeCore, capfd: pytest.CaptureFixture[str]) -> None:
    core.answers = [FakeResponse(200, [("x", "\x1b[2J\x9b")], b"body")]
    assert get("-v") == 0
    out, err = capfd.readouterr()
    assert out == "body"
    assert "X25519MLKEM768" in err
    assert "NOT verified" in err
    assert "ML-DSA-65" in err
    assert "\x1b" not in err
    assert "\x9b" not in err


def test_fallback_is_one_line(core: FakeCore, capfd: pytest.CaptureFixture[str]) -> None:
    from velocity.errors import ConnectError

    core.failing = dict.fromkeys(("velocity/1", "h3"), ConnectError("CONNECT_FAILED", "nobody listens"))
    core.answers = [FakeResponse(200)]
    assert get() == 0
    assert capfd.readouterr().err == "no velocity/1, h3 (nobody listens): using h2\n"


def test_saved(core: FakeCore, tmp_path: Path) -> None:
    core.answers = [FakeResponse(200, [("content-length", "4")], b"body")]
    assert get("-o", tmp_path / "f") == 0
    assert (tmp_path / "f").read_bytes() == b"body"
