"""Files: conditions, ranges, and the server that sends them itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.edge import EdgeApp, EdgeResponse
from velocity.edge.files import disposition, media_type
from velocity.edge.headers import Headers
from velocity.edge.ranges import MAX_RANGES, Validators, parse_ranges
from velocity.edge.testing import Reply, TestClient

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = bytes(range(256)) * 40
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some file.txt"
    path.write_bytes(CONTENT)
    os.utime(path, (1767225600, 1767225600))
    return path


def ask(path: Path, method: str = "GET", *, pathsend: bool = False, **headers: str) -> Reply:
    app = EdgeApp()

    @app.route("/", ("GET", "POST"))
    async def handler() -> EdgeResponse:
        return EdgeResponse.file(path)

    client = TestClient(app, extensions={"http.response.pathsend": {}} if pathsend else {})
    return client.request(method, "/", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_whole_file(path: Path) -> None:
    for pathsend in (False, True):
        reply = ask(path, pathsend=pathsend)
        assert (reply.status, reply.content) == (200, CONTENT)
        assert reply.headers["content-length"] == str(len(CONTENT))
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["last-modified"] == DATE
        assert reply.headers["accept-ranges"] == "bytes"
    assert ask(path, "HEAD").headers.raw == reply.headers.raw
    assert ask(path, "HEAD", pathsend=True).content == b""


def test_the_server_sends_it(path: Path) -> None:
    said: list[object] = []

    async def watched(scope, receive, send):  # type: ignore[no-untyped-def]
        async def out(message):  # type: ignore[no-untyped-def]
            said.append(message)
            await send(message)

        async def handler() -> EdgeResponse:
            return EdgeResponse.file(path)

        app = EdgeApp()
        app.get("/")(handler)
        await app(scope, receive, out)

    client = TestClient(watched, extensions={"http.response.pathsend": {}})
    assert client.get("/").content == CONTENT
    assert said[1:] == [{"type": "http.response.pathsend", "path": str(path)}]
    said.clear()
    assert client.get("/", headers={"range": "bytes=1-2"}).content == CONTENT[1:3]
    assert "http.response.pathsend" not in str(said)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": "TAG"}, 304),
        ({"if_none_match": 'W/TAG, "x"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"', "if_modified_since": DATE}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": "Wed, 31 Dec 2025 23:59:59 GMT"}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_match": "TAG"}, 200),
        ({"if_match": "W/TAG"}, 412),
        ({"if_match": '"x"'}, 412),
        ({"if_match": "*", "if_unmodified_since": "Wed, 31 Dec 2025 23:59:59 GMT"}, 200),
        ({"if_unmodified_since": "Wed, 31 Dec 2025 23:59:59 GMT"}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"range": "bytes=0-0"}, 206),
        ({"range": "bytes=0-0", "if_range": "TAG"}, 206),
        ({"range": "bytes=0-0", "if_range": DATE}, 206),
        ({"range": "bytes=0-0", "if_range": '"x"'}, 200),
        ({"range": "bytes=0-0", "if_range": "W/TAG"}, 200),
        ({"range": "bytes=0-0", "if_range": "Wed, 31 Dec 2025 23:59:59 GMT"}, 200),
        ({"range": "bytes=0-0", "if_none_match": "TAG"}, 304),
        ({"range": "bytes=99999-"}, 416),
        ({"range": "lines=0-0"}, 200),
    ],
)
def test_conditions(path: Path, headers: dict[str, str], status: int) -> None:
    tag = ask(path).headers["etag"]
    reply = ask(path, "GET", pathsend=False, **{name: value.replace("TAG", tag) for name, value in headers.items()})
    assert reply.status == status
    if status == 304:
        assert reply.content == b""
        assert reply.headers["etag"] == tag
    if status == 416:
        assert reply.headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_ranges_are_for_get_alone(path: Path) -> None:
    assert ask(path, "HEAD", range="bytes=0-0").status == 200
    assert ask(path, "POST", range="bytes=0-0").content == CONTENT
    assert "etag" not in ask(path, "POST").headers


def test_several_parts(path: Path) -> None:
    reply = ask(path, range="bytes=0-1, 10-11, -1")
    kind, _, boundary = reply.headers["content-type"].partition("; boundary=")
    assert (reply.status, kind) == (206, "multipart/byteranges")
    size = len(CONTENT)
    head = f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes "
    parts = [
        f"{head}{first}-{last}/{size}\r\n\r\n".encode() + CONTENT[first : last + 1]
        for first, last in ((0, 1), (10, 11), (size - 1, size - 1))
    ]
    assert reply.content == b"\r\n".join(parts) + f"\r\n--{boundary}--\r\n".encode()
    assert reply.headers["content-length"] == str(len(reply.content))


@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 120) | st.none(), st.integers(0, 120) | st.none())))
def test_ranges_are_within_the_file(size: int, specs: list[tuple[int | None, int | None]]) -> None:
    text = ",".join(f"{'' if first is None else first}-{'' if last is None else last}" for first, last in specs)
    parts = parse_ranges(f"bytes={text}", size)
    data = bytes(range(size))
    if parts is None:
        broken = any((a is None and b is None) or (a is not None and b is not None and b < a) for a, b in specs)
        assert broken or not specs or len(specs) > MAX_RANGES or len(specs) > 1
        return
    expected = []
    for first, last in specs:
        chosen = (
            data[size - min(last or 0, size) :] if first is None else data[first : None if last is None else last + 1]
        )
        expected += [chosen] if chosen else []
    assert [data[first:end] for first, end in parts] == expected
    assert len(parts) < 2 or sum(end - first for first, end in parts) <= size


@given(st.text(max_size=40))
def test_any_range_field_is_read(text: str) -> None:
    parse_ranges(text, 10)
    parse_ranges(f"bytes={text}", 10)
    Validators('"x"', 0).verdict(Headers([(b"if-none-match", text.encode()), (b"if-unmodified-since", text.encode())]))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("none", "", "fifo", "none/at/all", "\0"):
        assert ask(tmp_path / name).status == 404
    assert ask(tmp_path / ("a" * 300)).status == 404


def test_downloads(path: Path) -> None:
    app = EdgeApp()

    @app.get("/")
    async def handler() -> EdgeResponse:
        return EdgeResponse.file(path, filename='Zürich "1".pdf', headers={"x": "y"})

    reply = TestClient(app).get("/")
    assert reply.headers["content-type"] == "application/pdf"
    assert reply.headers["content-disposition"] == (
        "attachment; filename=\"Z_rich _1_.pdf\"; filename*=UTF-8''Z%C3%BCrich%20%221%22.pdf"
    )
    assert reply.headers["x"] == "y"
    assert disposition("a.txt") == 'attachment; filename="a.txt"'


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.JS", "text/javascript; charset=utf-8"),
        ("a.woff2", "font/woff2"),
        ("a.tar.gz", "application/gzip"),
        (".gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert media_type(name) == kind


def test_a_file_that_shrinks_is_no_whole_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from velocity.edge import files

    monkeypatch.setattr(files, "_open", lambda path: shrunk(path))

    def shrunk(path: Path):  # type: ignore[no-untyped-def]
        file = path.open("rb")
        facts = os.fstat(file.fileno())
        os.truncate(path, 10)
        return file, facts

    with pytest.raises(OSError, match="became shorter while it was sent"):
        ask(path)
