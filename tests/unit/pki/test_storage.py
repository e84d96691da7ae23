"""Private files: modes, atomicity, and symlinks that are not followed."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

import pytest

from velocity.pki import storage

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_directory_is_private(tmp_path: Path) -> None:
    storage.private_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_directory_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    storage.private_directory(tmp_path / "open")
    assert mode(tmp_path / "open") == 0o700


def test_directory_is_no_symlink(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(OSError):  # noqa: PT011 - ELOOP or ENOTDIR
        storage.private_directory(tmp_path / "link")
    assert mode(tmp_path / "elsewhere") == 0o755


@pytest.mark.usefixtures("umask")
def test_file_is_private(tmp_path: Path) -> None:
    storage.write_private(tmp_path / "key", b"secret")
    assert mode(tmp_path / "key") == 0o600
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_file_was_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = os.umask(0), []
    real = os.fsync

    def look(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            seen.append(stat.S_IMODE(status.st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    try:
        storage.write_private(tmp_path / "key", b"secret")
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "key").symlink_to("victim")
    storage.write_private(tmp_path / "key", b"secret")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / "key").is_symlink()


@pytest.mark.parametrize(("module", "name"), [(os, "fsync"), (os, "fchmod"), (os, "replace"), (os, "fdopen")])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stopped"]
)
def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, error: BaseException
) -> None:
    (tmp_path / "key").write_bytes(b"old")

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, name, broken)
    with pytest.raises(type(error)):
        storage.write_private(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("kind", "mode_", "private"),
    [("file", 0o600, True), ("file", 0o400, True), ("file", 0o640, False), ("file", 0o604, False),
     ("directory", 0o700, True), ("directory", 0o711, False), ("link", 0o600, False), ("pipe", 0o600, False),
     ("nothing", 0o600, False)],
)  # fmt: skip
def test_is_private(tmp_path: Path, kind: str, mode_: int, private: bool) -> None:
    path = tmp_path / "it"
    match kind:
        case "file":
            path.touch()
        case "directory":
            path.mkdir()
        case "link":
            (tmp_path / "real").touch(0o600)
            path.symlink_to("real")
        case "pipe":
            os.mkfifo(path)
    if path.exists():
        path.chmod(mode_)
    assert storage.is_private(path) is private


def test_what_is_another_users_is_not_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert not storage.is_private(tmp_path / "key")


def test_one_at_a_time(tmp_path: Path) -> None:
    with storage.locked(tmp_path):
        other = os.open(tmp_path / ".lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    assert mode(tmp_path / ".lock") == 0o600


def test_files_that_belong_together(tmp_path: Path) -> None:
    storage.write_all({tmp_path / "key": b"secret"}, {tmp_path / "chain": b"public"})
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {"key": 0o600, "chain": 0o644}


@pytest.mark.parametrize("fails_at", [1, 2])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_none_is_replaced_before_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, error: BaseException
) -> None:
    for name in ("key", "chain"):
        (tmp_path / name).write_bytes(b"old")
    real, calls = os.fsync, iter(range(1, 9))

    def broken(descriptor: int) -> None:
        if next(calls) == fails_at:
            raise error
        real(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(type(error)):
        storage.write_all({tmp_path / "key": b"new"}, {tmp_path / "chain": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"key": b"old", "chain": b"old"}
