"""`velocity cert` and `velocity ca`: the way from an empty folder to a verified chain, and every mistake on it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from velocity.cli.app import run
from velocity.pki import ca, chain, keys, passphrases, trust


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VELOCITY_CA_DIR", passphrases.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setitem(keys._SCRYPT, "p", 1)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_(*arguments: str, code: int = 0) -> tuple[str, str]:
        got = run(list(arguments))
        out, err = capsys.readouterr()
        assert got == code, err
        if code:
            assert err.startswith("error: ") or "--json" in arguments
            assert err.count("error: ") <= 1
            assert len(err.splitlines()) <= 2
        return out, err

    return run_


def test_from_an_empty_folder(said: Any, tmp_path: Path) -> None:
    _, err = said("ca", "init")
    assert "not encrypted" in err
    _, err = said("cert", "issue", "--dns", "localhost", "--ip", "127.0.0.1")
    folder = Path("certs") / "localhost"
    assert f"velocity serve --cert {folder}/fullchain.pem --key {folder}/privkey.pem" in err
    assert f"--cacert {folder}/root.pem" in err
    out, _ = said("cert", "inspect", f"{folder}/fullchain.pem")
    for part in ("hybrid certificate", "ECDSA P-256", "ML-DSA-65", "verified", "localhost, 127.0.0.1", "days left"):
        assert part in out
    out, _ = said("cert", "verify", f"{folder}/fullchain.pem", "--name", "localhost")
    assert out == "verified  localhost < Velocity CA; classical and ML-DSA-65\n"
    assert (tmp_path / "data" / "velocity" / "ca" / "ca.yaml").exists()


def test_inspect_as_json(said: Any) -> None:
    said("ca", "init", "--name", "My CA", "--intermediate")
    said("cert", "issue", "--dns", "a.example", "--profile", "fortress", "--out", "out")
    out, _ = said("cert", "inspect", "out/fullchain.pem", "--json")
    leaf, middle = json.loads(out)["certificates"]
    assert leaf["names"] == ["a.example"]
    assert leaf["issuer"] == middle["subject"] == "My CA issuing"
    assert leaf["hybrid"]
    assert leaf["classical"]["key"] == "ECDSA P-384"
    assert leaf["alternative"]["key"] == "ML-DSA-87"
    for half in (leaf["classical"], leaf["alternative"], middle["classical"], middle["alternative"]):
        assert half["verified"] is True
    assert (leaf["authority"], middle["authority"]) == (False, True)
    assert leaf["usage"] == ["server"]
    assert leaf["days_left"] in (6, 7)
    out, _ = said("cert", "inspect", "out/fullchain.classical.pem", "--json")
    lean = json.loads(out)["certificates"][0]
    assert lean["alternative"] is None
    assert lean["classical"]["verified"] is True


def test_inspect_what_does_not_verify(said: Any) -> None:
    said("ca", "init", "--ca", "one")
    said("ca", "init", "--ca", "two")
    said("cert", "issue", "--dns", "a", "--ca", "one", "--out", "out")
    out, _ = said("cert", "inspect", "out/fullchain.pem")
    assert "not checked" in out
    assert run(["cert", "inspect", "out/fullchain.pem", "--cacert", "two/root.pem"]) == 1


def test_verify_says_why(said: Any) -> None:
    said("ca", "init")
    said("cert", "issue", "--dns", "a.example", "--out", "out")
    _, err = said("cert", "verify", "out/fullchain.pem", "--name", "b.example", code=1)
    assert "is not for b.example" in err
    assert "hint: " in err
    out, _ = said("cert", "verify", "out/fullchain.pem", "--name", "b.example", "--json", code=1)
    answer = json.loads(out)
    assert answer["ok"] is False
    assert (answer["code"], answer["cause"], answer["link"]) == ("CERT_PQ_VALIDATION_FAILED", "wrong_name", 0)
    for arguments, cause in (
        (["--at", "2020-01-01"], "not_yet_valid"),
        (["--at", "2090-01-01T00:00:00+01:00"], "expired"),
        (["--profile", "secure"], "weak_key"),
        (["--client"], "wrong_usage"),
    ):
        out, _ = said("cert", "verify", "out/fullchain.pem", "--json", *arguments, code=1)
        assert json.loads(out)["cause"] == cause
    out, _ = said("cert", "verify", "out/fullchain.classical.pem", "--json", code=1)
    assert json.loads(out)["cause"] == "missing_extension"
    out, _ = said("cert", "verify", "out/fullchain.pem", "--json")
    assert json.loads(out) == {"ok": True, "path": ["a.example", "Velocity CA"], "level": "ML-DSA-65"}


def test_request_sign_revoke(said: Any) -> None:
    said("ca", "init")
    said("cert", "request", "--dns", "a.example", "--out", "out", "--profile", "light")
    said("ca", "sign", "--csr", "out/request.pem", "--out", "out")
    said("cert", "verify", "out/fullchain.pem", "--name", "a.example")
    said("ca", "revoke", "out/fullchain.pem", "--reason", "superseded")
    _, err = said("ca", "revoke", "out/fullchain.pem", code=1)
    assert "revoked already" in err
    said("ca", "crl", "--out", "crl.pem")
    _, err = said("cert", "verify", "out/fullchain.pem", "--crl", "crl.pem", code=1)
    assert "was revoked" in err
    out, _ = said("ca", "crl")
    assert out.startswith("-----BEGIN X509 CRL-----")
    said("cert", "issue", "--dns", "b.example", "--out", "b", "--client", "--lifetime", "24h")
    out, _ = said("cert", "inspect", "b/fullchain.pem", "--json")
    assert json.loads(out)["certificates"][0]["usage"] == ["client"]
    said("ca", "revoke", json.loads(out)["certificates"][0]["serial"])


def test_hybridize(said: Any) -> None:
    said("ca", "init")
    said("ca", "init", "--ca", "public")
    said("cert", "issue", "--dns", "example.com", "--ca", "public", "--out", "live")
    _, err = said(
        "cert", "hybridize", "--chain", "live/fullchain.classical.pem", "--key", "live/privkey.pem", "--out", "out"
    )
    assert "https://example.com:4433/" in err
    said("cert", "verify", "out/fullchain.pem", "--name", "example.com")
    assert chain.load(Path("out/fullchain.classical.pem")) == chain.load(Path("live/fullchain.classical.pem"))
    assert Path("out/privkey.pem").read_bytes() == Path("live/privkey.pem").read_bytes()
    out, _ = said("cert", "inspect", "out/fullchain.pem")
    assert "belongs with" in out


def test_passphrases(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pass").write_text("secret\n")
    _, err = said("ca", "init", "--passphrase-file", "pass")
    assert "not encrypted" not in err
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    _, err = said("cert", "issue", "--dns", "a", code=1)
    assert "encrypted" in err
    assert "--passphrase-file" in err
    said("cert", "issue", "--dns", "a", "--passphrase-file", "pass")
    monkeypatch.setenv(passphrases.VARIABLE, "secret")
    said("cert", "issue", "--dns", "a")
    monkeypatch.setenv(passphrases.VARIABLE, "wrong")
    _, err = said("cert", "issue", "--dns", "a", code=1)
    assert "secret" not in err
    _, err = said("ca", "init", "--ca", "other", "--keyring", code=1)
    assert "velocity-pq[keyring]" in err


def test_policy(said: Any) -> None:
    Path("ca.yaml").write_text("names: {dns: [example.com]}\nlifetime: {max: 3d, default: 1d}\n")
    said("ca", "init", "--policy", "ca.yaml")
    said("cert", "issue", "--dns", "a.example.com")
    _, err = said("cert", "issue", "--dns", "example.org", code=1)
    assert "does not allow the name example.org" in err
    _, err = said("cert", "issue", "--dns", "example.com", "--lifetime", "4d", code=1)
    assert "up to 3 days" in err
    Path("ca.yaml").write_text("name: {}\n")
    _, err = said("ca", "init", "--ca", "other", "--policy", "ca.yaml", code=2)
    assert "1:1" in err
    said("ca", "init", "--ca", "other", "--policy", "missing.yaml", code=2)
    assert not Path("other").exists()


def test_export_root(said: Any, tmp_path: Path) -> None:
    said("ca", "init")
    out, _ = said("ca", "export-root")
    assert out.encode() == (tmp_path / "data" / "velocity" / "ca" / "root.pem").read_bytes()
    said("ca", "export-root", "--out", "root.pem")
    assert Path("root.pem").read_text() == out
    said("ca", "export-root", "--out", "missing/root.pem", code=1)


def test_trust(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    steps = [trust.Step("the first command", lambda: done.append("first"))]
    monkeypatch.setattr(trust, "plan", lambda root, remove: steps)
    said("ca", "init")
    out, _ = said("ca", "trust", "--dry-run")
    assert (out, done) == ("the first command\n", [])
    for verb in ("trust", "untrust"):
        said("ca", verb)
    assert done == ["first", "first"]


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["cert", "issue", "--dns", "a"], 1, "velocity ca init"),
        (["cert", "issue"], 2, "--dns NAME"),
        (["cert", "issue", "--dns", "https://a"], 2, "not a host name"),
        (["cert", "issue", "--ip", "1.2.3"], 2, "--ip"),
        (["cert", "issue", "--dns", "a", "--profile", "strong"], 2, "--profile"),
        (["cert", "issue", "--dns", "a", "--key-type", "rsa"], 2, "p256, p384, ed25519"),
        (["cert", "inspect", "missing.pem"], 1, "missing.pem"),
        (["cert", "verify", "missing.pem"], 2, "--cacert"),
        (["cert", "verify", "missing.pem", "--at", "soon", "--cacert", "missing.pem"], 1, "missing.pem"),
        (["cert", "hybridize", "--chain", "x", "--key", "y"], 2, "--out"),
        (["ca", "crl"], 1, "there is no authority"),
        (["ca", "sign", "--csr", "missing.pem"], 1, "missing.pem"),
        (["ca", "revoke", "what"], 1, "neither a file nor a serial number"),
        (["ca", "trust"], 1, "there is no authority"),
        (["ca", "init", "--root-keys", "usb"], 1, "--intermediate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes(said: Any, arguments: list[str], code: int, part: str) -> None:
    _, err = said(*arguments, code=code)
    assert part in err


def test_more_mistakes(said: Any) -> None:
    said("ca", "init")
    said("cert", "issue", "--dns", "a", "--out", "out")
    for arguments, code in (
        (["cert", "verify", "out/fullchain.pem", "--at", "soon"], 2),
        (["cert", "verify", "out/fullchain.pem", "--crl", "missing"], 1),
        (["cert", "verify", "out/fullchain.pem", "--crl", "out/root.pem"], 1),
        (["cert", "issue", "--dns", "a", "--lifetime", "week"], 2),
        (["cert", "issue", "--dns", "a", "--out", "out/root.pem"], 1),
        (["cert", "request", "--dns", "a", "--out", "out/root.pem"], 1),
        (["ca", "revoke", "abcdef"], 1),
        (["ca", "revoke", "out/privkey.pem"], 1),
        (["ca", "init"], 1),
    ):
        said(*arguments, code=code)
    log = ca.default_directory() / "issued.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"a"', b'"b"'))
    _, err = said("cert", "issue", "--dns", "a", code=1)
    assert "was changed" in err
