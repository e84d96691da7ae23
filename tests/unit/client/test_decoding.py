"""Content codings: whole, in pieces of any size, cut off, broken, and far too large."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections import deque
from typing import TYPE_CHECKING

import brotli
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from velocity.client.decoding import accept_encoding, decoder_for
from velocity.client.exceptions import BodyTooLarge, DecodingError, DecompressionBomb
from velocity.client.responses import Response
from velocity.client.settings import Decompression

if TYPE_CHECKING:
    from collections.abc import Callable


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip of two members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "deflate": ("deflate", zlib.compress),
    "deflate as some have it": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "zstd of two frames": ("zstd", lambda data: zstd.compress(data[:7]) + zstd.compress(data[7:])),
    "several": ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
}
each = pytest.mark.parametrize(("name", "compress"), CODINGS.values(), ids=CODINGS)


def decoded(name: str, pieces: list[bytes], limits: Decompression | None = None) -> bytes:
    decoder = decoder_for(name, limits or Decompression())
    assert decoder is not None
    out = b"".join(part for piece in pieces for part in decoder.decode(piece))
    decoder.finish()
    return out


@each
@settings(max_examples=30)
@given(data=st.binary(max_size=3000), size=st.integers(1, 200))
def test_in_pieces(name: str, compress: Callable[[bytes], bytes], data: bytes, size: int) -> None:
    content = compress(data)
    assert decoded(name, [content[at : at + size] for at in range(0, len(content), size)]) == data


@each
def test_large(name: str, compress: Callable[[bytes], bytes]) -> None:
    data = bytes(range(256)) * 20_000
    assert decoded(name, [compress(data)]) == data


@each
def test_cut_off(name: str, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodingError, match="too early"):
        decoded(name, [compress(b"x" * 1000)[:-6]])


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_broken(name: str) -> None:
    with pytest.raises(DecodingError) as caught:
        decoded(name, [b"\xff\xfe\xfd this is none of them"])
    assert caught.value.code == "CONTENT_INVALID"


@pytest.mark.parametrize("name", ["", "identity", "unheard-of", "gzip, unheard-of"])
def test_what_cannot_or_need_not_be_undone(name: str) -> None:
    assert decoder_for(name, Decompression()) is None


def test_layers_are_few() -> None:
    with pytest.raises(DecodingError):
        decoder_for("gzip, " * 4 + "gzip", Decompression())


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_bombs(name: str) -> None:
    """64 MiB of zeros in a few hundred bytes: noticed early, and never held."""
    compress = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}
    content = bytes(64 << 20)
    for one in name.split(", "):
        content = compress[one](content)
    decoder = decoder_for(name, Decompression(ratio_after=1 << 20))
    assert decoder is not None
    tracemalloc.start()
    try:
        with pytest.raises(DecompressionBomb) as caught:
            deque(decoder.decode(content), maxlen=1)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.code == "DECOMPRESSION_BOMB"
    assert "max_ratio" in caught.value.hint


def test_a_response_that_grows() -> None:
    response = Response(200, headers={"content-encoding": "gzip"}, stream=gzip.compress(bytes(100_000)))
    response._limits = Decompression(max_size=50_000)
    with pytest.raises(BodyTooLarge):
        response.read()
    response = Response(200, headers={"content-encoding": "gzip"}, stream=gzip.compress(bytes(100_000)))
    assert len(response.read()) == 100_000
    assert response.num_bytes_downloaded < 1000


def test_what_is_offered() -> None:
    assert accept_encoding() == "gzip, deflate, br, zstd"
