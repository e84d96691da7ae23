"""Forms with files (RFC 7578)."""

from __future__ import annotations

import mimetypes
import os
import secrets
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

from velocity.client.body import Content, Streamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FileTypes", "multipart"]

FileContent: TypeAlias = IO[bytes] | bytes | str
FileTypes: TypeAlias = (
    FileContent
    | tuple[str | None, FileContent]
    | tuple[str | None, FileContent, str | None]
    | tuple[str | None, FileContent, str | None, Mapping[str, str]]
)

_ESCAPES = str.maketrans({"\n": "%0A", "\r": "%0D", '"': "%22"})
"""As HTML has it ("multipart/form-data encoding algorithm")."""


class _Part(NamedTuple):
    head: bytes
    content: bytes | Streamed


def multipart(
    fields: Iterable[tuple[str, Any]], files: Iterable[tuple[str, Any]], boundary: str | None = None
) -> tuple[Content, str]:
    """A form, and its media type. In memory if its files are; read while it is sent otherwise.

    Args:
        fields: names and values.
        files: names and content, or name of the file and content, and its type, and further fields.
        boundary: between the parts; drawn at random if not given.

    Raises:
        TypeError: something that is no file.
    """
    border = boundary or secrets.token_hex(16)
    parts = [_field(name, value) for name, value in fields] + [_file(name, file) for name, file in files]
    form = _Form(parts, border.encode("ascii"))
    kind = f"multipart/form-data; boundary={border}"
    if all(isinstance(part.content, bytes) for part in parts):
        return b"".join(form), kind
    return Streamed(form if form.repeatable else iter(form), form.length), kind


class _Form:
    def __init__(self, parts: list[_Part], boundary: bytes) -> None:
        self._parts = parts
        self._boundary = boundary
        self.repeatable = all(isinstance(part.content, bytes) or part.content.repeatable for part in parts)

    @property
    def length(self) -> int | None:
        """In bytes; None where a file does not tell."""
        total = len(self._boundary) + 6
        for head, content in self._parts:
            length = len(content) if isinstance(content, bytes) else content.length
            if length is None:
                return None
            total += len(self._boundary) + len(head) + length + 6
        return total

    def rewind(self) -> None:
        """It can be read again from its beginning; `__iter__` sees to it."""

    def __iter__(self) -> Iterator[bytes]:
        for head, content in self._parts:
            yield b"--" + self._boundary + b"\r\n" + head
            if isinstance(content, bytes):
                yield content
            else:
                yield from content
            yield b"\r\n"
        yield b"--" + self._boundary + b"--\r\n"


def _field(name: str, value: Any) -> _Part:
    if isinstance(value, (bytes, bytearray)):
        content = bytes(value)
    elif isinstance(value, bool):
        content = b"true" if value else b"false"
    elif value is None or isinstance(value, (str, int, float)):
        content = b"" if value is None else str(value).encode("utf-8")
    else:
        raise TypeError(f"the field {name} is {type(value).__name__}: pass str, bytes, int, float or None")
    return _Part(_head(name, None, None, {}), content)


def _file(name: str, file: Any) -> _Part:
    filename: str | None
    kind: str | None = None
    more: Mapping[str, str] = {}
    if isinstance(file, tuple):
        filename, content, *rest = file
        if rest:
            kind = rest[0]
        if len(rest) > 1:
            more = rest[1]
    else:
        content = file
        filename = os.path.basename(str(getattr(file, "name", "upload")))  # noqa: PTH119 - a name, not a path
    if isinstance(content, str):
        content = content.encode("utf-8")
    if not isinstance(content, (bytes, bytearray)):
        if not hasattr(content, "read"):
            raise TypeError(f"the file {name} is {type(content).__name__}: pass bytes, str or an open file")
        if hasattr(content, "encoding"):
            raise TypeError(f"the file {name} is open in text mode: open it in binary mode")
        content = Streamed(content)
    else:
        content = bytes(content)
    if kind is None and filename and not any(known.lower() == "content-type" for known in more):
        kind = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return _Part(_head(name, filename, kind, more), content)


def _head(name: str, filename: str | None, kind: str | None, more: Mapping[str, str]) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{name.translate(_ESCAPES)}"']
    if filename:
        lines[0] += f'; filename="{filename.translate(_ESCAPES)}"'
    lines += [f"{known}: {value}" for known, value in more.items()]
    if kind:
        lines.append(f"Content-Type: {kind}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"the part {name!r} has a line break in its head")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
