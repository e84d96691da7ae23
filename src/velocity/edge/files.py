"""Files as content: conditional, in ranges, and sent by the server itself where it can (`http.response.pathsend`)."""

from __future__ import annotations

import mimetypes
import os
import secrets
import stat
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from anyio import to_thread

from velocity.edge.headers import Headers
from velocity.edge.problems import HTTPProblem
from velocity.edge.ranges import Validators, parse_ranges

if TYPE_CHECKING:
    from pathlib import Path

    from velocity.edge.exchange import Exchange
    from velocity.edge.responses import EdgeResponse

__all__ = ["FileContent", "disposition", "media_type"]

_PIECE = 256 << 10
_TYPES = mimetypes.MimeTypes()
"""By name alone, whatever files a machine has about that, with what the data plane knows besides, or otherwise."""
for _kind, _suffixes in {
    "text/javascript": ".js .jsx",
    "application/javascript": ".mjs",
    "text/calendar": ".ics",
    "text/markdown": ".md",
    "text/plain": ".ini .log .map .py",
    "text/sgml": ".sgm .sgml",
    "text/x-scss": ".scss",
    "text/x-toml": ".toml",
    "text/x-yaml": ".yaml .yml",
    "text/xml": ".wsdl .xsl",
    "image/avif": ".avif",
    "image/svg+xml": ".svgz",
    "image/webp": ".webp",
    "image/x-icon": ".ico",
    "audio/aiff": ".aif .aifc .aiff",
    "audio/flac": ".flac",
    "audio/m4a": ".m4a",
    "audio/mid": ".mid .midi",
    "audio/ogg": ".ogg .opus",
    "audio/wav": ".wav",
    "audio/x-mpegurl": ".m3u .m3u8",
    "video/3gpp": ".3gp .3gpp",
    "video/3gpp2": ".3g2",
    "video/vnd.dlna.mpeg-tts": ".ts",
    "video/x-matroska": ".mkv",
    "font/ttf": ".ttf",
    "font/woff2": ".woff2",
    "application/font-sfnt": ".otf",
    "application/font-woff": ".woff",
    "application/atom+xml": ".atom",
    "application/epub+zip": ".epub",
    "application/geo+json": ".geojson",
    "application/gzip": ".gz",
    "application/java-archive": ".jar",
    "application/ld+json": ".jsonld",
    "application/rdf+xml": ".rdf",
    "application/rss+xml": ".rss",
    "application/rtf": ".rtf",
    "application/vnd.android.package-archive": ".apk",
    "application/vnd.ms-fontobject": ".eot",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/wasm": ".wasm",
    "application/x-7z-compressed": ".7z",
    "application/x-bzip2": ".bz2",
    "application/x-compressed": ".tgz",
    "application/x-rar-compressed": ".rar",
    "application/x-subrip": ".srt",
    "application/x-xz": ".xz",
    "application/xhtml+xml": ".xhtml",
}.items():
    for _suffix in _suffixes.split():
        _TYPES.add_type(_kind, _suffix)


def media_type(name: str) -> str:
    """The media type of a file by its name, texts with their charset."""
    kind = _TYPES.types_map[True].get(PurePath(name).suffix.lower(), "application/octet-stream")
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def disposition(filename: str) -> str:
    """Content-Disposition of a download (RFC 6266 section 4, RFC 8187)."""
    plain = "".join(sign if " " <= sign <= "~" and sign not in '"\\' else "_" for sign in filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


class FileContent:
    """One file."""

    def __init__(self, path: Path, filename: str | None = None, content_type: str | None = None) -> None:
        self._path = path
        self._filename = filename
        self._content_type = content_type

    async def send(self, response: EdgeResponse, exchange: Exchange) -> None:
        """Send it, or as much of it as is asked for.

        Raises:
            HTTPProblem: 404, there is no such file; 412, and 416 (RFC 9110 sections 15.5.13 and 15.5.17).
        """
        file, facts = await to_thread.run_sync(_open, self._path)
        try:
            await self._send(response, exchange, file, facts)
        finally:
            file.close()

    async def _send(self, response: EdgeResponse, exchange: Exchange, file: BinaryIO, facts: os.stat_result) -> None:
        size = facts.st_size
        validators = Validators.of(facts, time.time())
        fields = response.headers
        kind = fields.get("content-type") or self._content_type or media_type(self._filename or self._path.name)
        parts: list[tuple[int, int]] | None = None
        if response.status == 200 and exchange.scope["method"] in ("GET", "HEAD"):
            fields.setdefault("etag", validators.etag)
            fields.setdefault("last-modified", validators.last_modified)
            fields.setdefault("accept-ranges", "bytes")
            asked = Headers(exchange.scope["headers"])
            verdict = validators.verdict(asked)
            if verdict == "failed":
                raise HTTPProblem(412, "the file has changed")
            if verdict == "not_modified":
                response.status = 304
                await exchange.start(304, fields.raw)
                await exchange.body(b"", more=False)
                return
            # Range is for GET alone (RFC 9110 section 14.2).
            if "range" in asked and exchange.scope["method"] == "GET" and validators.allows_range(asked):
                parts = parse_ranges(asked["range"], size)
                if parts == []:
                    raise HTTPProblem(416, f"the file has {size} bytes", headers={"content-range": f"bytes */{size}"})
        if self._filename is not None:
            fields.setdefault("content-disposition", disposition(self._filename))
        if parts is None:
            fields["content-type"] = kind
            fields["content-length"] = str(size)
            await exchange.start(response.status, fields.raw)
            if exchange.bodiless:
                await exchange.body(b"", more=False)
            elif exchange.offers("http.response.pathsend"):
                await exchange.path(str(self._path.absolute()))
            else:
                await _copy(exchange, file, 0, size)
                await exchange.body(b"", more=False)
        else:
            response.status = 206
            await _send_parts(response, exchange, file, kind, size, parts)


async def _send_parts(
    response: EdgeResponse, exchange: Exchange, file: BinaryIO, kind: str, size: int, parts: list[tuple[int, int]]
) -> None:
    """One part as it is, several as multipart/byteranges (RFC 9110 section 14.6)."""
    fields = response.headers
    if len(parts) == 1:
        first, end = parts[0]
        fields["content-type"] = kind
        fields["content-range"] = f"bytes {first}-{end - 1}/{size}"
        fields["content-length"] = str(end - first)
        await exchange.start(206, fields.raw)
        await _copy(exchange, file, first, end)
        await exchange.body(b"", more=False)
        return
    boundary = secrets.token_hex(16)
    heads = [
        f"--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{end - 1}/{size}\r\n\r\n".encode()
        for first, end in parts
    ]
    last = f"--{boundary}--\r\n".encode()
    total = sum(len(head) + end - first + 2 for head, (first, end) in zip(heads, parts, strict=True)) + len(last)
    fields["content-type"] = f"multipart/byteranges; boundary={boundary}"
    fields["content-length"] = str(total)
    await exchange.start(206, fields.raw)
    for head, (first, end) in zip(heads, parts, strict=True):
        await exchange.body(head, more=True)
        await _copy(exchange, file, first, end)
        await exchange.body(b"\r\n", more=True)
    await exchange.body(last, more=False)


async def _copy(exchange: Exchange, file: BinaryIO, first: int, end: int) -> None:
    """Send bytes of a file.

    Raises:
        OSError: the file has become shorter than was said.
    """
    await to_thread.run_sync(file.seek, first)
    while first < end:
        piece = await to_thread.run_sync(file.read, min(_PIECE, end - first))
        if not piece:
            raise OSError(f"{file.name} became shorter while it was sent")
        first += len(piece)
        await exchange.body(piece, more=True)


def _open(path: Path) -> tuple[BinaryIO, os.stat_result]:
    """A file and what is known of it; a FIFO must not make us wait for its writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise HTTPProblem(404) from None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise HTTPProblem(404)
    return os.fdopen(descriptor, "rb"), facts
