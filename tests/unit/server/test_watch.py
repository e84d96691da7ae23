"""Every way in which people and machines change files is seen, once."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from velocity.server import watch
from velocity.server.watch import Watcher, below, stamps

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Seen:
    def __init__(self, *files: Path) -> None:
        self.count = 0
        self.news = threading.Event()
        self.watcher = Watcher(set(files), self.changed)
        self.watcher.start()
        time.sleep(0.3)

    def changed(self) -> None:
        self.count += 1
        self.news.set()

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()
        assert not self.watcher._thread.is_alive()

    def wait(self) -> None:
        assert self.news.wait(3), "no change was seen"
        self.news.clear()


def test_written_in_place(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    with Seen(file) as seen:
        file.write_text("b")
        seen.wait()


def test_replaced_by_a_rename(tmp_path: Path) -> None:
    """As editors do, again and again."""
    file = tmp_path / "a.yaml"
    file.write_text("a")
    with Seen(file) as seen:
        for number in range(3):
            new = tmp_path / ".a.yaml.swp"
            new.write_text(f"b{number}")
            new.replace(file)
            seen.wait()


def test_removed_and_made_again(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    with Seen(file) as seen:
        file.unlink()
        seen.wait()
        file.write_text("a")
        seen.wait()


def test_a_volume_that_is_swapped(tmp_path: Path) -> None:
    """As Kubernetes does: the file is a link to ..data/a.yaml, and ..data a link to a folder with a date."""
    for name in ("..2026_1", "..2026_2", "..2026_3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    with Seen(tmp_path / "a.yaml") as seen:
        for name in ("..2026_2", "..2026_3"):
            (tmp_path / "..data_tmp").symlink_to(name)
            os.replace(tmp_path / "..data_tmp", tmp_path / "..data")  # noqa: PTH105
            seen.wait()
            assert (tmp_path / "a.yaml").read_text() == name


def test_many_changes_at_once_are_few(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("")
    with Seen(file) as seen:
        for number in range(100):
            file.write_text(str(number))
        seen.wait()
        time.sleep(1)
        assert seen.count < 10


def test_neighbours_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    with Seen(file) as seen:
        (tmp_path / "b.yaml").write_text("b")
        (tmp_path / "log").write_text("line")
        time.sleep(0.7)
        assert seen.count == 0


def test_others_are_followed_from_then_on(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    first, second = tmp_path / "a.yaml", tmp_path / "sub/b.yaml"
    first.write_text("a")
    second.write_text("b")
    with Seen(first) as seen:
        seen.watcher.follow({first, second})
        first.write_text("aa")  # the next look takes the new folder in
        seen.wait()
        time.sleep(0.5)
        second.write_text("bb")
        seen.wait()


def test_without_events_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import watchfiles

    def refused(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refused)
    monkeypatch.setattr(watch, "_POLL", 0.05)
    file = tmp_path / "a.yaml"
    file.write_text("a")
    with Seen(file) as seen:
        file.write_text("b")
        seen.wait()


def test_what_is_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/x").write_text("")
    (tmp_path / "a/b/c.html").write_text("")
    assert below(tmp_path) == {tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c.html"}
    assert stamps([tmp_path / "none"]) == {str(tmp_path / "none"): ()}
