"""Trust stores: what would be done, and that it is done."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from support import needs
from unit.pki.making import root
from velocity.errors import PkiError
from velocity.pki import bundle, trust

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    path = tmp_path / "root.pem"
    path.write_bytes(bundle.pem(root().certificate.plain))
    return path


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of our own: its store, and programs that write down how they were called."""
    bin_, store = tmp_path / "bin", tmp_path / "store"
    bin_.mkdir()
    store.mkdir()
    for name in ("update-ca-certificates", "certutil"):
        (bin_ / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n')
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_))
    monkeypatch.setattr(trust, "SYSTEM_STORE", store)
    return tmp_path


def test_trust_and_untrust(tools: Path, root_file: Path) -> None:
    database = tools / ".pki" / "nssdb"
    firefox = tools / ".mozilla" / "firefox" / "abc.default"
    for folder in (database, firefox):
        folder.mkdir(parents=True)
        (folder / "cert9.db").touch()
    steps = trust.plan(root_file, home=tools)
    assert not (tools / "calls").exists()
    assert not list((tools / "store").iterdir())
    assert len(steps) == 4
    for step in steps:
        step.run()
    (file,) = (tools / "store").iterdir()
    assert file.suffix == ".crt"
    assert file.read_bytes() == root_file.read_bytes()
    label = file.stem
    calls = (tools / "calls").read_text().splitlines()
    assert calls == [
        "update-ca-certificates",
        f"certutil -A -d sql:{database} -n {label} -t C,, -i {root_file}",
        f"certutil -A -d sql:{firefox} -n {label} -t C,, -i {root_file}",
    ]
    for step in trust.plan(root_file, home=tools, remove=True):
        step.run()
    assert not list((tools / "store").iterdir())
    calls = (tools / "calls").read_text().splitlines()[3:]
    assert calls == [
        "update-ca-certificates --fresh",
        f"certutil -D -d sql:{database} -n {label}",
        f"certutil -D -d sql:{firefox} -n {label}",
    ]


def test_failures_are_named(tools: Path, root_file: Path) -> None:
    (tools / "bin" / "update-ca-certificates").write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    copy, update = trust.plan(root_file, home=tools)
    copy.run()
    with pytest.raises(PkiError, match="no such luck") as caught:
        update.run()
    assert caught.value.code == "TRUST_FAILED"
    (tools / "store").rename(tools / "elsewhere")
    with pytest.raises(PkiError) as caught:
        copy.run()
    assert caught.value.code == "TRUST_FAILED"


def test_no_store(tmp_path: Path, root_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "SYSTEM_STORE", tmp_path / "missing")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(PkiError) as caught:
        trust.plan(root_file, home=tmp_path)
    assert caught.value.code == "TRUST_STORE_MISSING"
    assert "export-root" in caught.value.hint


def test_a_real_database(tmp_path: Path, root_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certutil = needs.command("certutil", "libnss3-tools")
    monkeypatch.setattr(trust, "SYSTEM_STORE", tmp_path / "missing")
    database = tmp_path / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run([certutil, "-N", "-d", f"sql:{database}", "--empty-password"], check=True, capture_output=True)

    def listed() -> str:
        command = [certutil, "-L", "-d", f"sql:{database}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    for step in trust.plan(root_file, home=tmp_path):
        step.run()
    assert "velocity-" in listed()
    for _ in range(2):
        for step in trust.plan(root_file, home=tmp_path, remove=True):
            step.run()
    assert "velocity-" not in listed()
