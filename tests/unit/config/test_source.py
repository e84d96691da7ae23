"""Reading files: what is refused, how includes are joined, and where every value is from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from velocity.config import source
from velocity.config.problems import InvalidConfigError, Place
from velocity.config.source import Given, Tree, load, read


def refused(path: Path) -> InvalidConfigError:
    with pytest.raises(InvalidConfigError) as caught:
        load(path, {})
    return caught.value


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.yaml").message
    assert "is a folder" in refused(tmp_path).message
    os.mkfifo(tmp_path / "pipe.yaml")  # which nobody writes to: it must not be opened
    assert "no regular file" in refused(tmp_path / "pipe.yaml").message


def test_a_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    error = refused(path)
    assert "100,000,000 bytes" in error.message
    assert "include" in error.hint
    path.write_bytes(b"#" * source.MAX_SIZE)
    assert load(path, {}).data == {}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.yaml")
    path.write_text("a: 1")
    assert "UTF-8" in refused(path).message


def test_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\r\nb:\r\n  c: 2\r\n")
    assert load(path, {}).data == {"a": 1, "b": {"c": 2}}


def test_includes_are_joined_and_remember_their_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    main, one, two = tmp_path / "main.yaml", tmp_path / "sub/one.yaml", tmp_path / "sub/two.yaml"
    main.write_text("include: [sub/one.yaml]\nlist: [m]\nblock: {a: main}\n")
    one.write_text("include: two.yaml\nlist: [o]\nblock:\n  a: one\n  b: one\n")
    two.write_text("list: [t]\nblock:\n  b: two\n  c:\n    d: two\n")
    tree = load(main, {})
    assert tree.data == {"list": ["m", "o", "t"], "block": {"a": "main", "b": "one", "c": {"d": "two"}}}
    assert tree.files == [main, one, two]
    assert tree.place(("list", 1)) == Place(str(one), 2, 8, "list: [o]")
    assert tree.place(("list", 2)) == Place(str(two), 1, 8, "list: [t]")
    assert tree.place(("block", "c", "d")) == Place(str(two), 5, 8, "    d: two")
    assert tree.place(("block", "a")) == Place(str(main), 3, 12, "block: {a: main}")
    assert tree.folder(("block", "c", "d")) == tmp_path / "sub"
    assert tree.folder(("block", "a")) == tmp_path


def test_a_pattern_may_match_nothing_and_its_folder_is_watched(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text("include: conf.d/*.yaml\n")
    (tmp_path / "conf.d").mkdir()
    tree = load(tmp_path / "main.yaml", {})
    assert tree.data == {}
    assert tmp_path / "conf.d" in tree.files


def test_includes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(source.MAX_INCLUDE_DEPTH + 2):
        (tmp_path / f"{number}.yaml").write_text(f"include: {number + 1}.yaml\n")
    assert "levels deep" in refused(tmp_path / "0.yaml").message
    monkeypatch.setattr(source, "MAX_FILES", 3)
    (tmp_path / "all").mkdir()
    for number in range(4):
        (tmp_path / "all" / f"{number}.yaml").write_text("{}")
    (tmp_path / "many.yaml").write_text("include: all/*\n")
    assert "more than 3 files" in refused(tmp_path / "many.yaml").message


def test_a_file_may_be_included_twice_but_not_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text("include: [a.yaml, a.yaml]\n")
    (tmp_path / "a.yaml").write_text("list: [1]\n")
    assert load(tmp_path / "main.yaml", {}).data == {"list": [1, 1]}
    (tmp_path / "self.yaml").write_text("include: link.yaml\n")
    (tmp_path / "link.yaml").symlink_to("self.yaml")
    assert "includes itself" in refused(tmp_path / "self.yaml").message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "x"),
        ("${A}${B:-y}", "xy"),
        ("${EMPTY:-y}", "y"),
        ("${EMPTY}", ""),
        ("${B:-}", ""),
        ("$${A}", "${A}"),
        ("$A $ {A}", "$A $ {A}"),
        ("${B:-a:-b}", "a:-b"),
    ],
)
def test_variables(text: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: ['{text}']\n'${{A}}': 1\n")
    assert load(path, {"A": "x", "EMPTY": ""}).data == {"a": [value], "${A}": 1}


def test_variables_within_aliases_are_filled_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a ['${A}']\nb: *a\n")
    assert load(path, {"A": "$${A}"}).data == {"a": ["$${A}"], "b": ["$${A}"]}


def test_every_variable_that_is_missing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: ${ONE}\nb: [x, '${TWO}']\n")
    problems = refused(path).problems
    assert sorted(str(problem.place) for problem in problems) == [f"{path}:1:4", f"{path}:2:8"]


def test_a_variable_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: ${A}\n")
    with pytest.raises(InvalidConfigError, match="not Unicode"):
        load(path, {"A": os.fsdecode(b"\xff")})


def test_what_flags_put_in_place() -> None:
    tree = Tree({"server": {"listen": "a"}})
    tree.put(("server", "listen"), Given("--listen", "b"))
    tree.put(("server", "alpn"), Given("VELOCITY_ALPN", "h3"))
    assert tree.data == {"server": {"listen": "b", "alpn": "h3"}}
    assert tree.pinned == {("server", "listen"): "a"}
    assert str(tree.place(("server", "alpn"))) == "VELOCITY_ALPN"
    assert tree.folder(("server", "listen")) == Path.cwd()


def test_the_excerpt_of_a_long_line_is_short(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [" + "x, " * 100_000 + "here]\n")
    place = read(path).at(1, 300_005)
    line, caret = place.excerpt().split("\n")
    assert len(line) < 140
    assert line[caret.index("^") :].startswith("here")
