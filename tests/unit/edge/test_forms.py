"""Forms: whatever the pieces they come in, and whatever somebody makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.edge import HTTPProblem, UploadFile
from velocity.edge.forms import IN_MEMORY, MAX_VALUE, read_form

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from velocity.edge.forms import Form


def read(kind: str, *pieces: bytes) -> list[tuple[str, str | tuple[str, str, bytes]]]:
    async def run() -> Form:
        async def stream() -> AsyncIterator[bytes]:
            for piece in pieces:
                if piece:
                    yield piece

        return await read_form(kind, stream())

    form = anyio.run(run)
    found: list[tuple[str, str | tuple[str, str, bytes]]] = []
    for name, value in form.pairs():
        if isinstance(value, UploadFile):
            content = value.file.read()
            assert value.size == len(content)
            found.append((name, (value.filename, value.content_type, content)))
        else:
            found.append((name, value))
    form.close()
    return found


def part(name: str, content: bytes, extra: str = "", kind: str = "") -> bytes:
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n{kind}\r\n'
    return head.encode() + content + b"\r\n"


MULTIPART = "multipart/form-data; boundary=B"
NAMES = st.text("abc ä€", min_size=1, max_size=5)
CONTENTS = st.binary(max_size=60) | st.sampled_from([b"\r\n--", b"\r\n--B", b"--B--", b"\r\n--A\r\n", b"\r", b"\n"])


@given(st.data(), st.lists(st.tuples(NAMES, CONTENTS), max_size=5), st.booleans())
def test_pieces_of_any_size(data: st.DataObject, files: list[tuple[str, bytes]], epilogue: bool) -> None:
    files = [(name, content) for name, content in files if b"\r\n--B" not in b"\r\n" + content]
    body = b"".join(part(name, content, '; filename="f.bin"') for name, content in files) + b"--B--"
    body += b"\r\n" if epilogue else b""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    by_name: dict[str, list[bytes]] = {}
    for name, content in files:
        by_name.setdefault(name, []).append(content)
    expected = [
        (name, ("f.bin", "application/octet-stream", one)) for name, contents in by_name.items() for one in contents
    ]
    assert read(MULTIPART, *pieces) == expected


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_whatever_comes_is_a_form_or_refused(head: bytes, tail: bytes) -> None:
    for body in (head + tail, part("a", head) + tail, b"--B\r\n" + head + b"\r\n\r\n" + tail + b"\r\n--B--"):
        statuses: list[int] = []
        try:
            read(MULTIPART, body)
        except HTTPProblem as problem:
            statuses.append(problem.status)
        assert set(statuses) <= {400, 413}


def test_a_form_with_files() -> None:
    body = (
        part("text", "ä".encode())
        + part("file", b"\0\r\n", '; filename="C:\\\\dir\\\\x.png"', "Content-Type: image/png\r\n")
        + part("empty", b"", '; filename=""')
        + b"--B--\r\n"
    )
    assert read(MULTIPART, body) == [
        ("text", "ä"),
        ("file", ("x.png", "image/png", b"\0\r\n")),
        ("empty", ("", "application/octet-stream", b"")),
    ]


def test_large_files_are_not_kept_in_memory() -> None:
    content = b"x" * (IN_MEMORY + 1)
    body = part("f", content, '; filename="f"') + b"--B--"
    pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    assert read(MULTIPART, *pieces) == [("f", ("f", "application/octet-stream", content))]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"--B--", 400),
        ("multipart/form-data; boundary=" + "B" * 71, b"", 400),
        (MULTIPART, b"", 400),
        (MULTIPART, part("a", b""), 400),
        (MULTIPART, b"--B\r\nContent-Disposition: attachment\r\n\r\n\r\n--B--", 400),
        (MULTIPART, part("a", b"\xff") + b"--B--", 400),
        (MULTIPART, part("a", b"x" * (MAX_VALUE + 1)) + b"--B--", 413),
        (MULTIPART, part("a", b"") * 1001 + b"--B--", 413),
        (MULTIPART, b"--B\r\n" + b"X: y\r\n" * 9 + b"\r\n\r\n--B--", 413),
        (MULTIPART, b"--B\r\nX: " + b"y" * 5000, 413),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 1001), 413),
        ("application/x-www-form-urlencoded", b"a=%ff", 400),
        ("application/x-www-form-urlencoded", b"a=\xff", 400),
        ("application/json", b"{}", 415),
        ("", b"", 415),
    ],
)
def test_forms_that_are_refused(kind: str, body: bytes, status: int) -> None:
    with pytest.raises(HTTPProblem) as caught:
        read(kind, body)
    assert caught.value.status == status
    assert "\n" not in caught.value.detail


def test_urlencoded() -> None:
    assert read("application/x-www-form-urlencoded; charset=utf-8", b"a=1&b=%C3%A4+x", b"&a=&c") == [
        ("a", "1"),
        ("a", ""),
        ("b", "ä x"),
        ("c", ""),
    ]
