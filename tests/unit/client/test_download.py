"""Downloads: whole or not at all, resumed only with what vouches for the part that is there."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING, Any

import pytest

from unit.fakes import FakeResponse
from velocity.client.download import Resumption, resumption, save
from velocity.errors import ClientError, RequestError

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://h/f"
CUT = RequestError("BODY_TRUNCATED", "cut")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "f"


def store(response: FakeResponse, target: Path, resumed: Resumption | None = None) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    save(response, target, URL, resumed, lambda done, total: seen.append((done, total)))  # type: ignore[arg-type]
    return seen


def answer(status: int, *chunks: Any, **fields: str) -> FakeResponse:
    return FakeResponse(status, [(name.replace("_", "-"), value) for name, value in fields.items()], *chunks)


def begin(target: Path, content: bytes = b"abc", etag: str = '"1"') -> None:
    with pytest.raises(RequestError):
        store(answer(200, content, CUT, etag=etag, content_length="6"), target)


def test_whole(target: Path) -> None:
    seen = store(answer(200, b"abc", b"def", etag='"1"', content_length="6"), target)
    assert target.read_bytes() == b"abcdef"
    assert [path.name for path in target.parent.iterdir()] == ["f"]
    assert seen == [(0, 6), (3, 6), (6, 6)]


def test_empty(target: Path) -> None:
    store(answer(200), target)
    assert target.read_bytes() == b""


def test_resumes(target: Path) -> None:
    begin(target)
    assert not target.exists()
    resumed = resumption(target, URL)
    assert resumed is not None
    assert dict(resumed.headers) == {"range": "bytes=3-", "if-range": '"1"'}
    store(answer(206, b"def", content_range="bytes 3-5/6", etag='"1"'), target, resumed)
    assert target.read_bytes() == b"abcdef"
    assert [path.name for path in target.parent.iterdir()] == ["f"]


def test_resumes_twice(target: Path) -> None:
    begin(target, b"ab")
    with pytest.raises(RequestError):
        store(answer(206, b"cd", CUT, content_range="bytes 2-5/6", etag='"1"'), target, resumption(target, URL))
    resumed = resumption(target, URL)
    assert resumed is not None
    assert resumed.offset == 4
    store(answer(206, b"ef", content_range="bytes 4-5/6", etag='"1"'), target, resumed)
    assert target.read_bytes() == b"abcdef"


def test_a_changed_file_begins_anew(target: Path) -> None:
    begin(target, b"a long beginning of the old")
    store(answer(200, b"new", etag='"2"', content_length="3"), target, resumption(target, URL))
    assert target.read_bytes() == b"new"


def test_a_crash_while_beginning_anew_never_splices(target: Path) -> None:
    """The new validator must not lie beside the old bytes, wherever it stops."""
    begin(target, b"old old old")
    with pytest.raises(RequestError):
        store(answer(200, CUT, etag='"2"', content_length="6"), target, resumption(target, URL))
    assert resumption(target, URL) is None


def test_nothing_missing(target: Path) -> None:
    begin(target, b"abcdef")
    resumed = resumption(target, URL)
    assert resumed is not None
    gone = answer(416, content_range="bytes */6")
    assert resumed.complete(gone)  # type: ignore[arg-type]
    store(gone, target, resumed)
    assert target.read_bytes() == b"abcdef"


@pytest.mark.parametrize("field", ["bytes */7", "bytes */*", "", "nonsense"])
def test_416_of_another_file(target: Path, field: str) -> None:
    begin(target, b"abcdef")
    resumed = resumption(target, URL)
    assert resumed is not None
    assert not resumed.complete(answer(416, content_range=field))  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["bytes 0-5/6", "bytes 4-5/6", "items 3-5/6", "", "bytes */6", "bytes 3-5"])
def test_another_range_is_an_error(target: Path, field: str) -> None:
    begin(target)
    with pytest.raises(RequestError) as caught:
        store(answer(206, b"def", content_range=field), target, resumption(target, URL))
    assert caught.value.code == "RANGE_UNEXPECTED"
    assert not target.exists()


def test_a_part_nobody_asked_for_is_an_error(target: Path) -> None:
    with pytest.raises(RequestError):
        store(answer(206, b"abc", content_range="bytes 0-2/6"), target)


@pytest.mark.parametrize("etag", ['W/"1"', "", "no quotes", None])
def test_a_weak_validator_vouches_for_nothing(target: Path, etag: str | None) -> None:
    fields = {} if etag is None else {"etag": etag}
    with pytest.raises(RequestError):
        store(answer(200, b"abc", CUT, **fields), target)
    assert resumption(target, URL) is None


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", "null", "{}", '{"url": 1, "validator": 2}', '{"url": "https://other/", "validator": "\\"1\\""}',
     '{"url": "https://h/f", "validator": "\\"1\\r\\nx: y\\""}', "\xff"],
)  # fmt: skip
def test_a_broken_note_means_beginning_anew(target: Path, note: str) -> None:
    begin(target)
    (target.parent / "f.part.json").write_bytes(note.encode("latin-1"))
    assert resumption(target, URL) is None


def test_too_short_a_body(target: Path) -> None:
    with pytest.raises(RequestError) as caught:
        store(answer(200, b"abc", content_length="6"), target)
    assert caught.value.code == "BODY_TRUNCATED"
    assert not target.exists()


def test_an_old_file_stays_until_the_new_one_is_whole(target: Path) -> None:
    target.write_bytes(b"old")
    begin(target)
    assert target.read_bytes() == b"old"


def test_one_download_at_a_time(target: Path) -> None:
    with (target.parent / "f.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ClientError) as caught:
            store(answer(200, b"abc"), target)
    assert caught.value.code == "OUTPUT_BUSY"


def test_a_symlink_is_not_followed(target: Path) -> None:
    victim = target.parent / "victim"
    victim.write_bytes(b"mine")
    (target.parent / "f.part").symlink_to(victim)
    with pytest.raises(ClientError):
        store(answer(200, b"abc"), target)
    assert victim.read_bytes() == b"mine"


def test_unwritable(target: Path) -> None:
    with pytest.raises(ClientError) as caught:
        store(answer(200, b"abc"), target.parent / "no" / "such" / "folder")
    assert caught.value.code == "OUTPUT_UNWRITABLE"
    assert caught.value.hint


def test_the_note_says_what_is_needed_and_no_more(target: Path) -> None:
    begin(target)
    assert json.loads((target.parent / "f.part.json").read_text()) == {"url": URL, "validator": '"1"'}
