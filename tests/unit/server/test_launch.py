"""What a start checks before anything listens, and what the server says of itself when it stands."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import pytest

from velocity import _core
from velocity.config.options import ServeOptions
from velocity.errors import ConfigError, StartError
from velocity.pki import self_signed
from velocity.server import launch, supervisor
from velocity.server.launch import Launch, Runtime, announce, prepare
from velocity.telemetry import logs

if TYPE_CHECKING:
    from pathlib import Path


def options(root: Path, **given: Any) -> ServeOptions:
    return ServeOptions.check({"root": root, "self_signed": "cert" not in given, **given})


def started(**changes: Any) -> Launch:
    values: dict[str, Any] = {
        "plan": "{}",
        "chain_file": "/s/.velocity/certs/cert.pem",
        "certificate_files": (),
        "trust_file": "/s/.velocity/certs/trust.pem",
        "good_until": math.inf,
        "domains": (),
        "alpn": ("velocity/1", "h3", "h2", "http/1.1"),
        "profile": "balanced",
        "root": "/s",
        "programs": (),
        "runtime": Runtime(),
    }
    return Launch(**{**values, **changes})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Announce a start, and return the lines."""

    def announced(addresses: list[str], names: list[str], **changes: Any) -> list[str]:
        facts = {"sha256": "ab", "names": names, "ml_dsa_level": changes.pop("level", "ML-DSA-65")}
        monkeypatch.setattr(_core, "certificate_facts", lambda _: facts)
        lines: list[str] = []
        announce(started(**changes), addresses, lines.append)
        return lines

    return announced


def test_announcement(said: Any) -> None:
    assert said(["0.0.0.0:4433"], ["localhost", "127.0.0.1"]) == [
        "Serving /s",
        "  https://localhost:4433/",
        "  protocols    velocity/1, h3 over UDP; h2, http/1.1 over TCP",
        "  profile      balanced (X25519MLKEM768)",
        "  certificate  SHA-256 ab (self-signed, hybrid with ML-DSA-65)",
        "  fetch it     velocity client get https://localhost:4433/ --cacert /s/.velocity/certs/trust.pem",
    ]


@pytest.mark.parametrize(
    ("address", "domains", "urls"),
    [
        ("0.0.0.0:443", (), ["https://localhost/"]),
        ("[::]:4433", (), ["https://localhost:4433/"]),
        ("0.0.0.0:1", ("a.example", "b.example"), ["https://a.example:1/", "https://b.example:1/"]),
        ("127.0.0.1:1", ("a.example",), ["https://a.example:1/"]),
        ("192.0.2.1:1", ("a.example",), ["https://192.0.2.1:1/", "https://a.example:1/"]),
        ("[2001:db8::1]:1", ("a.example",), ["https://[2001:db8::1]:1/", "https://a.example:1/"]),
        ("0.0.0.0:1", ("::1", "*.a.example"), ["https://[::1]:1/"]),
        ("127.0.0.1:1", ("*.a.example",), ["https://127.0.0.1:1/"]),
    ],
)
def test_urls(said: Any, address: str, domains: tuple[str, ...], urls: list[str]) -> None:
    lines = said([address], ["localhost"], domains=domains)
    assert [line.strip() for line in lines if line.startswith("  https://")] == urls


def test_every_listener_is_named(said: Any) -> None:
    lines = said(["127.0.0.1:1", "[::1]:2"], ["localhost"])
    assert lines[1:3] == ["  https://localhost:1/", "  https://localhost:2/"]


@pytest.mark.parametrize(
    ("changes", "names", "command"),
    [
        ({"trust_file": ""}, ["a.example"], "velocity client get https://a.example:1/"),
        ({"trust_file": "/my site/c.pem"}, ["localhost"],
         "velocity client get https://localhost:1/ --cacert '/my site/c.pem'"),
        # A name made up for a trial leads nowhere: fetch from this machine instead.
        ({"domains": ("a.example",)}, ["a.example"], "velocity client get https://localhost:1/ --insecure"),
    ],
)  # fmt: skip
def test_command(said: Any, changes: dict[str, Any], names: list[str], command: str) -> None:
    assert said(["127.0.0.1:1"], names, **changes)[-1] == f"  fetch it     {command}"


def test_without_a_hybrid_certificate(said: Any) -> None:
    lines = said(["127.0.0.1:1"], ["localhost"], level=None, trust_file="")
    assert "  certificate  SHA-256 ab (classical)" in lines
    assert any(line.startswith("  velocity/1   off") for line in lines)
    assert not any("off" in line for line in said(["127.0.0.1:1"], ["localhost"], level=None, alpn=("h3",)))


def test_a_hybrid_chain_without_its_key(tmp_path: Path) -> None:
    pair = self_signed.ensure(tmp_path, ())
    (pair.key_file.parent / "key.mldsa.pem").unlink()
    with pytest.raises(StartError, match="ML-DSA-65 key") as caught:
        prepare(options(tmp_path, cert=pair.chain_file, key=pair.key_file), Runtime())
    assert caught.value.code == "CERT_INCOMPLETE"


@pytest.mark.parametrize(
    ("alpn", "expected"),
    [
        (("h3",), "h3 over UDP"),
        (("h2", "http/1.1"), "h2, http/1.1 over TCP"),
        (("http/1.1", "velocity/1"), "velocity/1 over UDP; http/1.1 over TCP"),
    ],
)
def test_protocols(said: Any, alpn: tuple[str, ...], expected: str) -> None:
    assert f"  protocols    {expected}" in said(["127.0.0.1:1"], ["localhost"], alpn=alpn)


def test_every_profile_has_its_groups(said: Any) -> None:
    for profile in ("light", "balanced", "secure"):
        assert any("MLKEM" in line for line in said(["127.0.0.1:1"], ["localhost"], profile=profile))


def test_prepared(tmp_path: Path) -> None:
    prepared = prepare(options(tmp_path, profile="secure"), Runtime())
    assert prepared.root == str(tmp_path)
    assert prepared.profile == "secure"
    assert math.isfinite(prepared.good_until)
    assert '"default":"secure"' in prepared.plan


def test_a_certificate_of_ones_own_is_not_looked_into(tmp_path: Path) -> None:
    prepared = prepare(options(tmp_path, cert="c.pem", key="k.pem"), Runtime())
    assert prepared.good_until == math.inf
    assert os.path.isabs(prepared.chain_file)  # noqa: PTH117
    assert list(tmp_path.iterdir()) == []


def test_the_key_stays_in_its_file(tmp_path: Path) -> None:
    """Neither the Plan nor anything that is kept or shown of a start holds a byte of it."""
    prepared = prepare(options(tmp_path), Runtime())
    key = (tmp_path / ".velocity/certs/key.pem").read_text("ascii")
    assert key.startswith("-----BEGIN PRIVATE KEY-----")
    secret = key.splitlines()[1]
    assert secret not in repr(prepared)
    assert "PRIVATE KEY" not in repr(prepared)


@pytest.mark.parametrize(("name", "code"), [("nowhere", "ROOT_MISSING"), ("file", "ROOT_INVALID")])
def test_a_root_that_is_none(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartError) as caught:
        prepare(options(tmp_path / name), Runtime())
    assert caught.value.code == code
    assert caught.value.hint
    assert not (tmp_path / "nowhere").exists()


def test_a_root_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", refused)
    with pytest.raises(StartError, match="Permission denied") as caught:
        prepare(options(tmp_path), Runtime())
    assert caught.value.code == "ROOT_UNREADABLE"


def test_a_name_that_json_cannot_hold(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xff")
    root.mkdir()
    with pytest.raises(StartError) as caught:
        prepare(options(root), Runtime())
    assert caught.value.code == "PATH_INVALID"


@pytest.mark.parametrize("log_format", [None, "json", "text"])
def test_log_formats(log_format: str | None) -> None:
    assert Runtime.check(log_format, 2, 1.5) == Runtime(log_format, 2, 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("log_format", ["", "xml", "JSON"])
def test_log_formats_refused(log_format: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Runtime.check(log_format, 0, None)
    assert caught.value.hint == "choose json or text"


def test_run_sets_up_the_logger_before_anything_can_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[Any] = []

    def serve(plan: str, grace: float | None, _: object, reloader: object) -> int:
        order.append((plan, grace))
        return 7

    monkeypatch.setattr(logs, "configure", lambda *given: order.append(given))
    monkeypatch.setattr(supervisor, "serve", serve)
    assert launch.run(started(runtime=Runtime("json", 2, 1.5)), print) == 7
    assert order == [("json", 2), ("{}", 1.5)]
