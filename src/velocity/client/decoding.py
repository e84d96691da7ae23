"""Content codings (RFC 9110 section 8.4): gzip, deflate, br and zstd, decoded piece by piece and never past a limit."""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from velocity.client.exceptions import DecodingError, DecompressionBomb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from velocity.client.settings import Decompression

__all__ = ["ContentDecoder", "accept_encoding", "decoder_for"]

_PIECE = 1 << 18
"""Bytes that are decoded at once."""
_MOST_CODINGS = 3
"""Layers that somebody could have meant."""


class _Coding(Protocol):
    """One coding of one body."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What comes out, in pieces."""

    @property
    def is_complete(self) -> bool:
        """Whether the content may end here."""


class _Zlib:
    """gzip (RFC 1952) and deflate (RFC 1950), or what many have taken deflate for (RFC 1951)."""

    def __init__(self, name: str) -> None:
        self._gzip = name == "gzip"
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 16 if self._gzip else zlib.MAX_WBITS)
        self._first: bytes | None = None if self._gzip else b""
        self._begun = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        if self._first is not None:
            self._first += data
            if len(self._first) < 2:
                return
            data, self._first = self._first, None
            if not _is_zlib(data):
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        while data:
            if self._decoder.eof:
                if not self._gzip or not data.startswith(b"\x1f"):
                    return  # what follows the end is nobody's
                self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)  # RFC 1952 section 2.2: members
            piece = self._decoder.decompress(data, _PIECE)
            data = self._decoder.unconsumed_tail or self._decoder.unused_data
            if piece:
                yield piece
            elif not self._decoder.eof:
                return

    @property
    def is_complete(self) -> bool:
        return self._decoder.eof or not self._begun


def _is_zlib(data: bytes) -> bool:
    """RFC 1950 section 2.2."""
    return data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0


class _Brotli:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        self._decoder = importlib.import_module("brotli").Decompressor()
        self._begun = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        while not self._decoder.is_finished():
            piece = self._decoder.process(data, output_buffer_limit=_PIECE)
            data = b""
            if not piece:  # it may say that it takes more while it holds back what the limit left
                return
            yield piece

    @property
    def is_complete(self) -> bool:
        return not self._begun or bool(self._decoder.is_finished())


class _Zstd:
    """zstd (RFC 8878), with windows of 8 MiB at most (RFC 9659)."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._decoder = self._new()
        self._begun = False

    def _new(self) -> Any:
        return self._module.ZstdDecompressor(options={self._module.DecompressionParameter.window_log_max: 23})

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        while True:
            if self._decoder.eof:
                if not data:
                    return
                self._decoder = self._new()
            piece = self._decoder.decompress(data, _PIECE)
            data = self._decoder.unused_data if self._decoder.eof else b""
            if piece:
                yield piece
            if not data and (self._decoder.eof or self._decoder.needs_input):
                return

    @property
    def is_complete(self) -> bool:
        return not self._begun or bool(self._decoder.eof)


class ContentDecoder:
    """What undoes the codings of one body.

    Args:
        codings: the last applied one first.
        limits: how much may come out for what goes in.
    """

    def __init__(self, codings: list[_Coding], limits: Decompression) -> None:
        self._codings = codings
        self._limits = limits
        self._came = 0
        self._made = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What a piece of the body becomes.

        Raises:
            DecompressionBomb: more than it may (`DECOMPRESSION_BOMB`).
            DecodingError: it is not what it was said to be (`CONTENT_INVALID`).
        """
        self._came += len(data)
        try:
            for piece in self._through(data, 0):
                self._made += len(piece)
                self._check()
                yield piece
        except _errors() as error:
            raise DecodingError("CONTENT_INVALID", f"the content cannot be decoded: {error}") from None

    def finish(self) -> None:
        """The body is at its end.

        Raises:
            DecodingError: the content is not.
        """
        if not all(coding.is_complete for coding in self._codings):
            raise DecodingError("CONTENT_INVALID", "the content cannot be decoded: it ends too early")

    def _through(self, data: bytes, index: int) -> Iterator[bytes]:
        if index == len(self._codings):
            yield data
            return
        for piece in self._codings[index].decode(data):
            yield from self._through(piece, index + 1)

    def _check(self) -> None:
        ratio = self._limits.max_ratio
        if ratio is not None and self._made > self._limits.ratio_after and self._made > self._came * ratio:
            raise DecompressionBomb(
                "DECOMPRESSION_BOMB",
                f"{self._came} bytes have become more than {self._made - 1}, over {ratio:g} times as many",
                "if that is what you want, raise max_ratio of Decompression",
            )


def decoder_for(content_encoding: str, limits: Decompression) -> ContentDecoder | None:
    """What undoes the codings that the field Content-Encoding lists; None where nothing is to be done, or can be.

    Raises:
        DecodingError: more layers than somebody could have meant (`CONTENT_INVALID`).
    """
    names = [name for part in content_encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(names) > _MOST_CODINGS:
        raise DecodingError("CONTENT_INVALID", f"{len(names)} codings on top of each other are no content")
    known = _known()
    if not names or any(name not in known for name in names):
        return None
    return ContentDecoder([known[name]() for name in reversed(names)], limits)


@lru_cache(maxsize=1)
def accept_encoding() -> str:
    """What the field Accept-Encoding may say."""
    return ", ".join(name for name in ("gzip", "deflate", "br", "zstd") if name in _known())


@lru_cache(maxsize=1)
def _known() -> dict[str, Callable[[], _Coding]]:
    known: dict[str, Callable[[], _Coding]] = {
        "gzip": lambda: _Zlib("gzip"),
        "x-gzip": lambda: _Zlib("gzip"),
        "deflate": lambda: _Zlib("deflate"),
    }
    if _is_there("brotli"):
        known["br"] = _Brotli
    if _zstd_module():
        known["zstd"] = lambda: _Zstd(importlib.import_module(_zstd_module()))
    return known


@lru_cache(maxsize=1)
def _zstd_module() -> str:
    """That of Python 3.14, or the same for older ones."""
    return next((name for name in ("compression.zstd", "backports.zstd") if _is_there(name)), "")


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _errors() -> tuple[type[Exception], ...]:
    """What decoders raise, of those that are there; looked for when one has raised something."""
    found: list[type[Exception]] = [zlib.error]
    if "br" in _known():
        found.append(importlib.import_module("brotli").error)
    if _zstd_module():
        found.append(importlib.import_module(_zstd_module()).ZstdError)
    return tuple(found)
