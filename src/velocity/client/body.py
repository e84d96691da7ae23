"""What a request carries: bytes, a form, JSON, or whatever comes piece by piece."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from velocity.client.query import encode_pairs, text_of

if TYPE_CHECKING:
    from velocity.client.multipart import FileTypes

__all__ = ["Content", "RequestContent", "RequestData", "RequestFiles", "Streamed", "encode"]

RequestContent: TypeAlias = "str | bytes | bytearray | memoryview | Iterable[bytes] | AsyncIterable[bytes]"
RequestData: TypeAlias = "Mapping[str, Any] | Sequence[tuple[str, Any]]"
RequestFiles: TypeAlias = "Mapping[str, FileTypes] | Sequence[tuple[str, FileTypes]]"

_PIECE = 1 << 16


class Streamed:
    """Content that comes piece by piece.

    Args:
        pieces: where from; a file is read from where it stands.
        length: in bytes, where known.
        repeatable: whether it can be sent twice.
    """

    __slots__ = ("_begun", "_pieces", "_start", "length", "repeatable")

    def __init__(self, pieces: Iterable[bytes] | AsyncIterable[bytes] | IO[bytes], length: int | None = None) -> None:
        self._pieces = pieces
        self._begun = False
        self._start: int | None = None
        if length is None and hasattr(pieces, "read") and _seekable(pieces):
            self._start, length = _extent(pieces)
        self.length = length
        self.repeatable = self._start is not None or isinstance(pieces, (list, tuple)) or hasattr(pieces, "rewind")

    @property
    def is_asynchronous(self) -> bool:
        """Whether only an `AsyncClient` can send it."""
        return isinstance(self._pieces, AsyncIterable)

    def __iter__(self) -> Iterator[bytes]:
        if not isinstance(self._pieces, Iterable):
            raise TypeError("asynchronous content is for an AsyncClient")
        self._begin()
        if hasattr(self._pieces, "read"):
            while piece := self._pieces.read(_PIECE):
                yield _as_bytes(piece)
        else:
            for piece in self._pieces:
                if piece:
                    yield _as_bytes(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not isinstance(self._pieces, AsyncIterable):
            for piece in self:
                yield piece
            return
        self._begin()
        async for piece in self._pieces:
            if piece:
                yield _as_bytes(piece)

    def _begin(self) -> None:
        if self._begun and not self.repeatable:
            from velocity.client.exceptions import StreamConsumed

            raise StreamConsumed
        if self._start is not None and self._begun:
            self._pieces.seek(self._start)  # type: ignore[union-attr]
        self._begun = True


Content: TypeAlias = "bytes | Streamed | None"


def encode(
    content: RequestContent | None = None,
    data: RequestData | None = None,
    files: RequestFiles | None = None,
    json: Any = None,
    boundary: str | None = None,
) -> tuple[Content, str | None]:
    """The content of a request, and its media type.

    Args:
        content: as it is.
        data: fields of a form.
        files: of a form.
        json: anything that JSON can say.
        boundary: between the parts of a form with files.

    Raises:
        TypeError: several of these at once, or something that is no content.
    """
    if sum((content is not None, bool(data) or bool(files), json is not None)) > 1:
        raise TypeError("content, data or files, and json exclude each other")
    if content is not None:
        return _raw(content)
    if files:
        from velocity.client.multipart import multipart

        return multipart(_pairs(data), files.items() if isinstance(files, Mapping) else files, boundary)
    if data is not None and (data or json is None):
        if isinstance(data, (str, bytes)) or not isinstance(data, (Mapping, Sequence)):
            return _raw(data)
        form = encode_pairs((str(name), text_of(value)) for name, value in _pairs(data))
        return form.encode("ascii"), "application/x-www-form-urlencoded"
    if json is not None:
        text = jsons.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8"), "application/json"
    return None, None


def _raw(content: Any) -> tuple[Content, str | None]:
    if isinstance(content, str):
        return content.encode("utf-8"), None
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content), None
    if isinstance(content, (Iterable, AsyncIterable)) or hasattr(content, "read"):
        if isinstance(content, Mapping):
            raise TypeError("a mapping is no content: pass it as data, or as json")
        return Streamed(content), None
    raise TypeError(f"content is bytes, str or something that yields bytes, not {type(content).__name__}")


def _pairs(data: RequestData | None) -> list[tuple[str, Any]]:
    """Lists are several fields of a name."""
    if data is None:
        return []
    if not isinstance(data, Mapping):
        return list(data)
    return [
        (name, one) for name, value in data.items() for one in (value if isinstance(value, (list, tuple)) else (value,))
    ]


def _seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except (AttributeError, ValueError):
        return False


def _extent(file: Any) -> tuple[int, int]:
    """Where a file stands, and how much follows."""
    start = file.tell()
    end = file.seek(0, 2)
    file.seek(start)
    return start, end - start


def _as_bytes(piece: Any) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, str):
        raise TypeError("content comes as bytes; open files in binary mode")
    return bytes(piece)
