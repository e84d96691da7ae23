"""Conditions and byte ranges of requests for files (RFC 9110 sections 13 and 14), as the data plane has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import os

    from velocity.edge.headers import Headers

__all__ = ["MAX_RANGES", "Validators", "parse_ranges"]

MAX_RANGES = 16
"""More than that in one request are no download but an attack (RFC 9110 section 17.15)."""

_SPEC = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of one representation.

    Attributes:
        etag: strong; it changes whenever the file does.
        modified: whole seconds since 1970.
    """

    etag: str
    modified: int

    @classmethod
    def of(cls, stat: os.stat_result, now: float) -> Validators:
        """Those of a file; its date is never in the future (RFC 9110 section 8.8.2.1)."""
        return cls(f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"', int(min(stat.st_mtime, now)))

    @property
    def last_modified(self) -> str:
        """The date as a field has it."""
        return formatdate(self.modified, usegmt=True)

    def verdict(self, headers: Headers) -> Literal["proceed", "not_modified", "failed"]:
        """What the preconditions amount to, in the order of RFC 9110 section 13.2.2."""
        if "if-match" in headers:
            if not self._listed(headers["if-match"], weak=False):
                return "failed"
        elif (since := _date(headers.get("if-unmodified-since"))) is not None and self.modified > since:
            return "failed"
        if "if-none-match" in headers:
            if self._listed(headers["if-none-match"], weak=True):
                return "not_modified"
        elif (since := _date(headers.get("if-modified-since"))) is not None and self.modified <= since:
            return "not_modified"
        return "proceed"

    def allows_range(self, headers: Headers) -> bool:
        """Whether If-Range, where there is one, still means this representation."""
        condition = headers.get("if-range")
        if condition is None:
            return True
        if condition.startswith(('"', "W/")):
            return condition == self.etag
        return _date(condition) == self.modified

    def _listed(self, field: str, *, weak: bool) -> bool:
        if field.strip() == "*":
            return True
        tags = _TAG.findall(field)
        return self.etag in [tag.removeprefix("W/") if weak else tag for tag in tags]


def _date(text: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp()) if text else None
    except (ValueError, TypeError, OverflowError):
        return None


def parse_ranges(field: str, size: int) -> list[tuple[int, int]] | None:
    """The parts of a representation that a Range field asks for, as first byte and the one after the last.

    Args:
        field: the whole field.
        size: bytes of the representation.

    Returns:
        None for everything: what is not understood, or is more work than the whole. An empty list for nothing there is.
    """
    unit, _, specs = field.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    found = [spec.strip() for spec in specs.split(",") if spec.strip()]
    if not found or len(found) > MAX_RANGES:
        return None
    parts = []
    for spec in found:
        match = _SPEC.fullmatch(spec)
        if match is None or match[0] == "-":
            return None
        if not match[1]:
            first, end = max(size - int(match[2]), 0), size
        else:
            first, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
            if match[2] and int(match[2]) < first:
                return None
        if first < end:
            parts.append((first, end))
    if len(parts) > 1 and sum(end - first for first, end in parts) > size:
        return None
    return parts
