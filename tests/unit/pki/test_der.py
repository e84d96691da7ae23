"""Distinguished Encoding Rules: what is read, what is refused, and that any bytes are one or the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.pki import der


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths(size: int) -> None:
    encoded = der.encode(der.OCTET_STRING, bytes(size))
    assert der.only(encoded, der.OCTET_STRING) == (der.OCTET_STRING, bytes(size), encoded)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (b"\x30", "cut off"),
        (b"\x30\x01", "cut off"),
        (b"\x30\x80\x00\x00", "indefinite"),
        (b"\x30\x81", "cut off"),
        (b"\x30\x81\x01\x00", "more octets"),
        (b"\x30\x82\x00\x80" + bytes(128), "more octets"),
        (b"\x30\x85\x00\x00\x00\x00\x00", "too long"),
        (b"\x30\xff" + bytes(127), "too long"),
        (b"\x3f\x01\x00", "above 30"),
        (b"\x30\x00\x00", "follow"),
        (b"\x31\x00", "tag 0x31"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(der.DerError, match=message):
        der.only(data, der.SEQUENCE)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_back_or_refused(data: bytes) -> None:
    try:
        elements = der.children(data)
    except der.DerError:
        return
    assert b"".join(element.raw for element in elements) == data
    assert b"".join(der.encode(element.tag, element.content) for element in elements) == data


@pytest.mark.parametrize(
    ("dotted", "encoded"),
    [
        ("2.5.29.74", "0603551d4a"),
        ("2.16.840.1.101.3.4.3.18", "0609608648016503040312"),
        ("1.3.101.112", "06032b6570"),
        ("2.999.3", "0603883703"),
        ("0.0", "060100"),
    ],
)
def test_object_identifiers(dotted: str, encoded: str) -> None:
    assert der.oid(dotted).hex() == encoded
    assert der.oid_value(bytes.fromhex(encoded)) == dotted


@pytest.mark.parametrize("encoded", ["0600", "060180", "06028001", "0603551d80", "0501", "0641" + "01" * 65])
def test_no_object_identifiers(encoded: str) -> None:
    with pytest.raises(der.DerError):
        der.oid_value(bytes.fromhex(encoded))


@pytest.mark.parametrize(("value", "encoded"), [(0, "020100"), (127, "02017f"), (128, "02020080"), (256, "02020100")])
def test_integers(value: int, encoded: str) -> None:
    assert der.integer(value).hex() == encoded


def test_a_set_is_sorted() -> None:
    parts = [der.integer(300), der.integer(2), der.integer(1)]
    assert der.set_of(*parts) == der.encode(der.SET, parts[2] + parts[1] + parts[0])


def test_bit_strings() -> None:
    assert der.bit_string_value(der.bit_string(b"abc")) == b"abc"
    for bad in (b"\x03\x00", b"\x03\x02\x01\x80", b"\x04\x01\x00"):
        with pytest.raises(der.DerError):
            der.bit_string_value(bad)
