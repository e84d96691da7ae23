"""Distinguished Encoding Rules (ITU-T X.690 section 10): as much as signing around an extension takes.

A reader that takes any bytes, and either gives the elements in them or says `DerError`; it never recurses,
so no input makes it deep. It accepts the one encoding that DER allows: definite lengths in as few
octets as they need. Tag numbers above 30 do not occur in certificates and are refused.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BIT_STRING",
    "BOOLEAN",
    "INTEGER",
    "NULL",
    "OCTET_STRING",
    "OID",
    "SEQUENCE",
    "SET",
    "DerError",
    "Element",
    "bit_string",
    "bit_string_value",
    "children",
    "encode",
    "explicit",
    "integer",
    "oid",
    "oid_value",
    "only",
    "sequence",
    "set_of",
]

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
SEQUENCE, SET = 0x30, 0x31
_MAX_LENGTH_OCTETS = 4


class DerError(ValueError):
    """These bytes are no DER, or not the DER that was expected."""


class Element(NamedTuple):
    """One element: tag, length and content."""

    tag: int
    """The identifier octet, with its class and constructed bits."""
    content: bytes
    raw: bytes
    """The whole element as it was encoded."""


def _read(data: bytes, offset: int) -> tuple[Element, int]:
    """The element at `offset`, and where the next one begins."""
    if offset + 2 > len(data):
        raise DerError("an element is cut off")
    tag, length, start = data[offset], data[offset + 1], offset + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag number is above 30")
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= _MAX_LENGTH_OCTETS or start + octets > len(data):
            raise DerError("a length is indefinite, too long or cut off")
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
        if length < 0x80 or length >> 8 * (octets - 1) == 0:
            raise DerError("a length takes more octets than it needs")
    end = start + length
    if end > len(data):
        raise DerError("an element is cut off")
    return Element(tag, data[start:end], data[offset:end]), end


def children(content: bytes) -> list[Element]:
    """The elements that stand one after another in `content`.

    Raises:
        DerError: it is anything else.
    """
    elements, offset = [], 0
    while offset < len(content):
        element, offset = _read(content, offset)
        elements.append(element)
    return elements


def only(data: bytes, tag: int) -> Element:
    """The one element that `data` is.

    Raises:
        DerError: it has another tag, or something follows it.
    """
    element, end = _read(data, 0)
    if element.tag != tag:
        raise DerError(f"tag 0x{element.tag:02x} stands where 0x{tag:02x} belongs")
    if end != len(data):
        raise DerError("bytes follow the end")
    return element


def encode(tag: int, content: bytes) -> bytes:
    """An element with its length in as few octets as it needs."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | octets)) + size.to_bytes(octets, "big") + content


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of encoded elements."""
    return encode(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """SET OF encoded elements, in the order DER demands (X.690 section 11.6)."""
    # A shorter encoding counts as if it ended in zeros; since tag and length come first, plain order is the same.
    return encode(SET, b"".join(sorted(parts)))


def explicit(number: int, *parts: bytes) -> bytes:
    """A constructed element with the context-specific tag `number`."""
    return encode(0xA0 | number, b"".join(parts))


def integer(value: int) -> bytes:
    """INTEGER of a number that is not negative."""
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bit_string(value: bytes) -> bytes:
    """BIT STRING of whole octets."""
    return encode(BIT_STRING, b"\0" + value)


def bit_string_value(data: bytes) -> bytes:
    """The octets of a BIT STRING that has whole ones.

    Raises:
        DerError: it is no BIT STRING, or has unused bits.
    """
    content = only(data, BIT_STRING).content
    if content[:1] != b"\0":
        raise DerError("a BIT STRING has unused bits")
    return content[1:]


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form (X.690 section 8.19)."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        content += bytes(reversed(septets))
    return encode(OID, bytes(content))


def oid_value(data: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER.

    Raises:
        DerError: it is none, or one that ends in the middle of an arc.
    """
    content = only(data, OID).content
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise DerError("an object identifier is empty, cut off or too long")
    arcs, arc = [], 0
    for octet in content:
        if arc == 0 and octet == 0x80:
            raise DerError("an arc takes more octets than it needs")
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
