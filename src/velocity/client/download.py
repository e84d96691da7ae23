"""Downloads into files: whole or not at all, and resumable.

The bytes go to `FILE.part`; beside it `FILE.part.json` holds what a resumption needs: the URL and a
strong validator. The next run asks for the rest with Range and If-Range (RFC 9110 sections 13.1.5
and 14.2), so a file that has changed meanwhile is fetched from its beginning, never spliced.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from velocity.errors import ClientError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity._core import Response

__all__ = ["Resumption", "resumption", "save"]


class Resumption(NamedTuple):
    """A download that was begun before."""

    offset: int
    validator: str

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields that ask for the rest."""
        return [("range", f"bytes={self.offset}-"), ("if-range", self.validator)]


def _paths(target: Path) -> tuple[Path, Path]:
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")


def resumption(target: Path, url: str) -> Resumption | None:
    """What an earlier attempt left of this download, if that can be used."""
    part, notes = _paths(target)
    try:
        saved = json.loads(notes.read_text("utf-8"))
        offset = part.stat().st_size
        if saved["url"] == url and offset > 0 and isinstance(saved["validator"], str):
            return Resumption(offset, saved["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def save(
    response: Response, target: Path, url: str, resumed: Resumption | None, progress: Callable[[int, int | None], None]
) -> int:
    """Write a response body to `target`.

    Args:
        response: 200 begins anew, 206 continues at `resumed.offset`.
        target: replaced atomically once the body is complete.
        url: remembered for a resumption.
        resumed: what was asked for, if anything.
        progress: called with bytes so far and bytes in all (None if unknown).

    Returns:
        The size of the file.

    Raises:
        RequestError: the body ended early (what came is kept), or the server sent another range than asked for.
        ClientError: the file cannot be written (`OUTPUT_UNWRITABLE`).
    """
    part, notes = _paths(target)
    fields = dict(response.headers)
    offset = 0
    if response.status == 206:
        if resumed is None or not fields.get("content-range", "").startswith(f"bytes {resumed.offset}-"):
            raise RequestError("RANGE_UNEXPECTED", "the server sent another range than was asked for", f"remove {part}")
        offset = resumed.offset
    length = fields.get("content-length", "")
    total = offset + int(length) if length.isascii() and length.isdigit() else None
    try:
        etag = fields.get("etag", "")
        validator = etag if etag.startswith('"') else None
        if validator:
            notes.write_text(json.dumps({"url": url, "validator": validator}), "utf-8")
        else:
            notes.unlink(missing_ok=True)
        done = offset
        with part.open("ab" if offset else "wb") as file:
            progress(done, total)
            while (chunk := response.read()) is not None:
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
        part.replace(target)
        notes.unlink(missing_ok=True)
    except OSError as error:
        raise ClientError("OUTPUT_UNWRITABLE", f"cannot write {target}: {error.strerror}", "choose another -o FILE") from error
    return done
