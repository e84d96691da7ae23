"""Forms: `application/x-www-form-urlencoded` (WHATWG URL, section 5) and `multipart/form-data` (RFC 7578).

Both are read as they come. What a client may send is bounded: bytes in all by the route, and here the number of fields,
the size of each value, and the memory of a file, beyond which it is on disk.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qsl

from anyio import to_thread
from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header
from pydantic_core import core_schema

from velocity.edge.headers import Headers, Values
from velocity.edge.problems import HTTPProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["Form", "UploadFile", "read_form"]

MAX_FIELDS = 1000
MAX_VALUE = 1 << 20
"""Bytes of a field that is no file."""
IN_MEMORY = 256 << 10
"""Bytes of a file; more of it is on disk."""


class UploadFile:
    """A file that a client sent. It is gone after the request: copy what is to stay.

    Attributes:
        filename: as the client says, without any folders.
        content_type: as the client says.
        headers: of this part.
        file: open for reading, at its beginning.
        size: bytes.
    """

    def __init__(self, filename: str, content_type: str, headers: Headers, file: BinaryIO, size: int) -> None:
        self.filename = filename
        self.content_type = content_type
        self.headers = headers
        self.file = file
        self.size = size

    async def read(self, size: int = -1) -> bytes:
        """So many bytes more, or all that are left."""
        return await to_thread.run_sync(self.file.read, size)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A file is one, and nothing becomes one."""
        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """As OpenAPI describes files."""
        return {"type": "string", "format": "binary"}

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r}, {self.size} bytes>"


class Form(Values[str | UploadFile]):
    """The fields of a form by name."""

    def close(self) -> None:
        """Let go of its files."""
        for _, value in self.pairs():
            if isinstance(value, UploadFile):
                value.file.close()


async def read_form(content_type: str, stream: AsyncIterator[bytes]) -> Form:
    """Read a form from a body.

    Raises:
        HTTPProblem: 415 for another type, 400 for what is no such form, 413 for too much of it.
    """
    kind, options = parse_options_header(content_type)
    if kind == "application/x-www-form-urlencoded":
        return await _urlencoded(stream)
    if kind == "multipart/form-data":
        boundary = options.get("boundary", "")
        # RFC 2046 section 5.1.1
        if not 0 < len(boundary) <= 70 or not boundary.isascii():
            raise HTTPProblem(400, "the form has no boundary")
        return await _Multipart(boundary).read(stream)
    raise HTTPProblem(415, "this resource takes forms", headers={"accept": "multipart/form-data"})


async def _urlencoded(stream: AsyncIterator[bytes]) -> Form:
    body = b"".join([piece async for piece in stream])
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict", separator="&"
        )
    except UnicodeDecodeError:
        raise HTTPProblem(400, "the form is not UTF-8") from None
    except ValueError:
        raise HTTPProblem(413, f"the form has more than {MAX_FIELDS} fields") from None
    return Form(pairs)


class _Multipart:
    """The parts of a form while they come."""

    def __init__(self, boundary: str) -> None:
        # Strict parsing refuses what follows the last boundary when it comes late, and many send a line break there.
        self._parser = PushMultipartParser(boundary, max_segment_count=MAX_FIELDS)
        self._pairs: list[tuple[str, str | UploadFile]] = []
        self._part: object = None
        self._value = bytearray()
        self._file: BinaryIO | None = None

    async def read(self, stream: AsyncIterator[bytes]) -> Form:
        try:
            async for piece in stream:
                await self._parse(piece)
            self._parser.close()
        except MultipartError as error:
            self._abandon()
            status = 413 if isinstance(error, ParserLimitReached) else 400
            text = str(error.args[0]) if error.args else "not a form"
            raise HTTPProblem(status, f"the form cannot be read: {text[:1].lower()}{text[1:]}") from None
        except BaseException:
            self._abandon()
            raise
        return Form(self._pairs)

    async def _parse(self, piece: bytes) -> None:
        for event in self._parser.parse(piece):
            if event is None:
                await self._end()
            elif isinstance(event, (bytes, bytearray)):
                await self._take(bytes(event))
            else:
                self._part = event
                self._value = bytearray()
                if event.filename is not None:
                    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - the form closes it
                    self._file = cast("BinaryIO", file)

    async def _take(self, data: bytes) -> None:
        if self._file is not None:
            # Only what goes to disk may block.
            if self._file.tell() + len(data) > IN_MEMORY:
                await to_thread.run_sync(self._file.write, data)
            else:
                self._file.write(data)
        else:
            self._value += data
            if len(self._value) > MAX_VALUE:
                raise HTTPProblem(413, f"a field has more than {MAX_VALUE} bytes")

    async def _end(self) -> None:
        part = self._part
        name = str(getattr(part, "name", ""))
        if self._file is not None:
            size = self._file.tell()
            self._file.seek(0)
            pairs = getattr(part, "headerlist", [])
            headers = Headers((key.lower().encode("latin-1"), value.encode()) for key, value in pairs)
            # Browsers send a name, but some clients a path (RFC 7578 section 4.2).
            filename = str(getattr(part, "filename", "")).replace("\\", "/").rpartition("/")[2].replace("\0", "")
            kind = headers.get("content-type", "application/octet-stream")
            self._pairs.append((name, UploadFile(filename, kind, headers, self._file, size)))
            self._file = None
        else:
            try:
                self._pairs.append((name, self._value.decode()))
            except UnicodeDecodeError:
                raise HTTPProblem(400, f"the field {name[:60]} is not UTF-8") from None

    def _abandon(self) -> None:
        Form(self._pairs).close()
        if self._file is not None:
            self._file.close()
