"""What requests carry, read back by parsers that nobody here wrote."""

from __future__ import annotations

import asyncio
import email
import email.policy
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import multipart
import pytest

from velocity.client.body import Streamed, encode
from velocity.client.exceptions import RequestNotRead, StreamConsumed
from velocity.client.requests import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

FILES: list[tuple[str, Any]] = [
    ("plain", b"\x00\x01\r\n--"),
    ("named", ('näme "x".txt', "text", "text/plain; charset=utf-8")),
    ("open", io.BytesIO(b"y" * 100_000)),
    ("open", ("again.png", io.BytesIO(b"png"))),
    ("fields", ("f", b"z", None, {"X-Note": "1"})),
]


def test_nothing() -> None:
    assert encode() == (None, None)


def test_form() -> None:
    content, kind = encode(data={"a": ["1", 2], "b": "x & y", "c": None, "d": True})
    assert kind == "application/x-www-form-urlencoded"
    assert isinstance(content, bytes)
    pairs = parse_qsl(content.decode(), keep_blank_values=True)
    assert pairs == [("a", "1"), ("a", "2"), ("b", "x & y"), ("c", ""), ("d", "true")]


def test_the_order_of_pairs_stays() -> None:
    assert encode(data=[("a", 1), ("b", 2), ("a", 3)])[0] == b"a=1&b=2&a=3"


def test_json() -> None:
    content, kind = encode(json={"a": [1, "ü"], "b": None})
    assert kind == "application/json"
    assert isinstance(content, bytes)
    assert json.loads(content) == {"a": [1, "ü"], "b": None}
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(json=float("nan"))


def test_one_thing_at_a_time() -> None:
    with pytest.raises(TypeError, match="exclude each other"):
        encode(content=b"", json={})
    with pytest.raises(TypeError, match="no content"):
        encode(content={"a": 1})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="not int"):
        encode(content=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("files", [FILES, FILES[:2]])
def test_multipart_read_by_multipart(files: list[tuple[str, Any]]) -> None:
    request = Request("POST", "https://h/", data={"a": ["1", "2"], "ü": "ü\r\n"}, files=files)
    kind = request.headers["content-type"]
    announced = request.body.length if isinstance(request.body, Streamed) else len(request.content)
    content = request.read()
    assert announced == len(content)
    assert Request("POST", "https://h/", files=files).headers["content-type"] != kind
    boundary = kind.partition("boundary=")[2]
    parts = list(multipart.MultipartParser(io.BytesIO(content), boundary, content_length=len(content)))
    assert [(part.name, part.filename) for part in parts[:5]] == [
        ("a", None), ("a", None), ("ü", None), ("plain", "upload"), ("named", 'näme "x".txt')
    ]  # fmt: skip
    assert [part.raw for part in parts[:3]] == [b"1", b"2", "ü\r\n".encode()]
    assert parts[3].raw == b"\x00\x01\r\n--"
    assert parts[4].headers["Content-Type"] == "text/plain; charset=utf-8"
    if len(files) > 2:
        assert len(parts[5].raw) == 100_000
        assert (parts[6].filename, parts[6].content_type) == ("again.png", "image/png")
        assert parts[7].headers["X-Note"] == "1"
    for part in parts:
        part.close()


def test_multipart_read_by_the_standard_library() -> None:
    request = Request("POST", "https://h/", data={"a": "1"}, files={"f": ("f.bin", b"\xff\x00")})
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.content, policy=email.policy.HTTP)
    parts = [part.get_payload(decode=True) for part in message.iter_parts()]
    assert parts == [b"1", b"\xff\x00"]


def test_a_boundary_of_ones_own() -> None:
    request = Request(
        "POST", "https://h/", files={"f": b"x"}, headers={"content-type": "multipart/form-data; boundary=abc"}
    )
    assert request.content.startswith(b"--abc\r\n")


def test_heads_of_parts_are_not_split() -> None:
    with pytest.raises(ValueError, match="line break"):
        Request("POST", "https://h/", files={"f": ("n", b"x", "text/plain\r\nX: y")})


def test_text_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with (tmp_path / "f").open() as file, pytest.raises(TypeError, match="binary mode"):
        Request("POST", "https://h/", files={"f": file})  # type: ignore[dict-item]


def test_files_are_sent_from_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        file.seek(4)
        request = Request("POST", "https://h/", content=file)
        assert isinstance(request.body, Streamed)
        assert (request.body.length, request.is_repeatable) == (6, True)
        assert b"".join(request.body) == b"456789"
        assert b"".join(request.body) == b"456789"
        with pytest.raises(RequestNotRead):
            _ = request.content
        assert request.read() == b"456789"
        assert request.content == b"456789"


def test_generators_are_sent_once() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        yield b""
        yield b"b"

    request = Request("POST", "https://h/", content=pieces())
    assert not request.is_repeatable
    assert list(request.stream) == [b"a", b"b"]
    with pytest.raises(StreamConsumed):
        request.read()


def test_asynchronous_content() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    request = Request("POST", "https://h/", content=pieces())
    with pytest.raises(TypeError, match="AsyncClient"):
        request.read()
    assert asyncio.run(request.aread()) == b"ab"
    assert asyncio.run(Request("POST", "https://h/", content=[b"c", b"d"]).aread()) == b"cd"
