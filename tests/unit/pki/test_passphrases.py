"""Where passphrases come from."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from velocity.errors import PkiError
from velocity.pki import passphrases

if TYPE_CHECKING:
    from pathlib import Path


class FakeKeyring(ModuleType):
    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False
        self.errors = ModuleType("keyring.errors")
        self.errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]

    def get_password(self, service: str, name: str) -> str | None:
        self._check()
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        self._check()
        self.kept[service, name] = secret

    def _check(self) -> None:
        if self.locked:
            raise self.errors.KeyringError("locked")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> FakeKeyring:
    fake = FakeKeyring()
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", fake.errors)
    monkeypatch.delenv(passphrases.VARIABLE, raising=False)
    return fake


def test_order(tmp_path: Path, keyring: FakeKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    assert passphrases.find(tmp_path) is None
    passphrases.to_keyring(tmp_path, "kept")
    assert passphrases.find(tmp_path) == "kept"
    assert passphrases.find(tmp_path / "other") is None
    monkeypatch.setenv(passphrases.VARIABLE, "environment")
    assert passphrases.find(tmp_path) == "environment"
    (tmp_path / "file").write_text("in the file\r\nnot this\n", newline="")
    assert passphrases.find(tmp_path, tmp_path / "file") == "in the file"


def test_a_new_one(tmp_path: Path, keyring: FakeKeyring) -> None:
    assert passphrases.for_new(tmp_path) is None
    made = passphrases.for_new(tmp_path, keyring=True)
    assert made == passphrases.find(tmp_path)
    assert len(made or "") > 40
    (tmp_path / "file").write_text("mine")
    assert passphrases.for_new(tmp_path, tmp_path / "file", keyring=True) == "mine" == passphrases.find(tmp_path)


def test_a_keyring_that_refuses(tmp_path: Path, keyring: FakeKeyring) -> None:
    keyring.locked = True
    assert passphrases.find(tmp_path) is None
    with pytest.raises(PkiError) as caught:
        passphrases.to_keyring(tmp_path, "secret")
    assert caught.value.code == "KEYRING_REFUSED"
    assert "secret" not in caught.value.message


def test_no_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert passphrases.from_keyring(tmp_path) is None
    with pytest.raises(PkiError) as caught:
        passphrases.to_keyring(tmp_path, "secret")
    assert caught.value.code == "KEYRING_MISSING"


@pytest.mark.parametrize("content", [None, b"", b"\nsecond", b"\xff\n"])
def test_files_without(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PkiError) as caught:
        passphrases.find(tmp_path, path)
    assert caught.value.code == "PASSPHRASE_UNREADABLE"
