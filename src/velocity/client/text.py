"""From bytes to text and lines, whole or piece by piece."""

from __future__ import annotations

import codecs
from email.message import Message

__all__ = ["Chunks", "Lines", "charset_of", "detect"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` takes for the end of a line."""


def charset_of(content_type: str | None) -> str | None:
    """The parameter `charset` of a media type, if it is one that Python knows (RFC 9110 section 8.3.2)."""
    if not content_type or "charset" not in content_type.lower():
        return None
    message = Message()
    message["content-type"] = content_type[:1000]
    name = message.get_content_charset()
    try:
        return None if name is None or not codecs.lookup(name)._is_text_encoding else name
    except (LookupError, ValueError):
        return None


def detect(content: bytes) -> str:
    """The encoding of text that nobody named: that of its byte order mark, UTF-8 if it is that, else windows-1252."""
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


class Lines:
    """Text in pieces becomes lines without their ends."""

    __slots__ = ("_carriage", "_held")

    def __init__(self) -> None:
        self._held: list[str] = []
        self._carriage = False

    def feed(self, text: str) -> list[str]:
        """The lines that are complete now."""
        if self._carriage:
            text = "\r" + text
        self._carriage = text.endswith("\r")  # its line feed may follow
        if self._carriage:
            text = text[:-1]
        lines = text.splitlines()
        if not lines:
            return []
        ended = text[-1] in _ENDS
        if len(lines) == 1 and not ended:
            self._held.append(lines[0])
            return []
        if self._held:
            lines[0] = "".join((*self._held, lines[0]))
            self._held.clear()
        if not ended:
            self._held.append(lines.pop())
        return lines

    def end(self) -> list[str]:
        """The last line, if it has no end."""
        if not self._held and not self._carriage:
            return []
        return ["".join(self._held)]


class Chunks:
    """Bytes or text in pieces of one size, the last one excepted."""

    __slots__ = ("_held", "_size")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"pieces of {size} cannot be")
        self._size = size
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces that are complete now."""
        held, size = self._held, self._size
        held += data
        whole = len(held) // size * size
        if not whole:
            return []
        pieces = [bytes(held[at : at + size]) for at in range(0, whole, size)]
        del held[:whole]
        return pieces

    def end(self) -> list[bytes]:
        """What is left."""
        return [bytes(self._held)] if self._held else []
