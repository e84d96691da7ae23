"""Text and lines out of bytes, wherever the pieces begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.client.text import Chunks, Lines, charset_of, detect


@given(st.lists(st.text(alphabet="a\r\n\u2028\x0b", max_size=6), max_size=8))
def test_lines_are_those_of_the_whole(pieces: list[str]) -> None:
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)] + lines.end()
    assert found == "".join(pieces).splitlines()


@given(st.lists(st.binary(max_size=9), max_size=8), st.integers(1, 7))
def test_chunks(pieces: list[bytes], size: int) -> None:
    chunks = Chunks(size)
    found = [part for piece in pieces for part in chunks.feed(piece)] + chunks.end()
    assert b"".join(found) == b"".join(pieces)
    assert all(len(part) == size for part in found[:-1])


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain; charset=ISO-8859-15", "iso-8859-15"), ('text/html; charset="utf-8"; x=y', "utf-8"),
        ("text/plain", None), (None, None), ("text/plain; charset=klingon", None), ("text/plain; charset=rot13", None),
        ("text/plain; charset=\0", None),
    ],
)  # fmt: skip
def test_charset(content_type: str | None, expected: str | None) -> None:
    assert charset_of(content_type) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "utf-8"), ("ü".encode(), "utf-8"), ("ü".encode("cp1252"), "windows-1252"),
        ("ü".encode("utf-16"), "utf-16"), ("ü".encode("utf-8-sig"), "utf-8-sig"), ("ü".encode("utf-32"), "utf-32"),
    ],
)  # fmt: skip
def test_detection(content: bytes, expected: str) -> None:
    assert detect(content) == expected
    assert content.decode(detect(content)) in ("", "ü")
