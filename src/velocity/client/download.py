"""Downloads into files: whole or not at all, and resumable.

The bytes go to `FILE.part`; beside it `FILE.part.json` holds what a resumption needs: the URL and a
strong validator. The next run asks for the rest with Range and If-Range (RFC 9110 sections 13.1.5
and 14.2), so a file that has changed meanwhile is fetched from its beginning, never spliced. For the
same reason the note is written only after what it does not describe is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from typing import IO, TYPE_CHECKING, NamedTuple

from velocity.errors import ClientError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from velocity._core import Response

__all__ = ["Resumption", "resumption", "save"]

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)
_NOTE_LIMIT = 65536


class Resumption(NamedTuple):
    """A download that was begun before."""

    target: Path
    offset: int
    validator: str

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields that ask for the rest."""
        return [("range", f"bytes={self.offset}-"), ("if-range", self.validator)]

    def complete(self, response: Response) -> bool:
        """Whether a 416 says that there is no rest: If-Range held, and the whole is as long as what we have."""
        found = _content_range(response)
        return response.status == 416 and found is not None and found.total == self.offset

    def discard(self) -> None:
        """Forget what there is, so that the next attempt begins anew."""
        _, note = _paths(self.target)
        with contextlib.suppress(OSError):
            note.unlink()


class _Range(NamedTuple):
    first: int | None
    last: int | None
    total: int | None


def resumption(target: Path, url: str) -> Resumption | None:
    """What an earlier attempt left of this download, if that can be used."""
    part, note = _paths(target)
    try:
        with note.open("rb") as file:
            saved = json.loads(file.read(_NOTE_LIMIT))
        offset = part.stat().st_size
        if saved["url"] == url and offset > 0 and _is_strong(saved["validator"]):
            return Resumption(target, offset, saved["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def save(
    response: Response, target: Path, url: str, resumed: Resumption | None, progress: Callable[[int, int | None], None]
) -> int:
    """Write a response body to `target`.

    Args:
        response: 206 continues at `resumed.offset`, 416 says that nothing is missing; anything else begins anew.
        target: replaced atomically once the body is complete.
        url: remembered for a resumption.
        resumed: what was asked for, if anything.
        progress: called with bytes so far and bytes in all (None if unknown).

    Returns:
        The size of the file.

    Raises:
        RequestError: the body ended early (what came is kept), or the server sent another range than asked for.
        ClientError: the file cannot be written (`OUTPUT_UNWRITABLE`), or is being written (`OUTPUT_BUSY`).
    """
    part, note = _paths(target)
    try:
        with _opened(part) as file:
            done, total = _position(response, resumed)
            if os.fstat(file.fileno()).st_size < done:
                raise RequestError("RANGE_UNEXPECTED", f"{part} changed meanwhile", "run the command again")
            if response.status != 416:
                # Cut first, then say what the rest belongs to: a crash in between costs a resumption, no more.
                file.truncate(done)
                _describe(note, url, response)
            file.seek(done)
            progress(done, total)
            while response.status != 416 and (chunk := response.read()) is not None:
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
            if total is not None and done != total:
                raise RequestError("BODY_TRUNCATED", f"{done} of {total} bytes came", "run the command again to resume")
            file.flush()
            part.replace(target)
        note.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ClientError("OUTPUT_UNWRITABLE", f"cannot write {target}: {reason}", "choose another -o FILE") from error
    return done


def _paths(target: Path) -> tuple[Path, Path]:
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[IO[bytes]]:
    """The unfinished file, for this download alone."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClientError(
                "OUTPUT_BUSY", f"another download is writing {part}", "wait for it, or choose another -o FILE"
            ) from error
        yield file


def _position(response: Response, resumed: Resumption | None) -> tuple[int, int | None]:
    """Where the body of this response begins in the file, and how long the file will be if that is known."""
    if response.status == 416 and resumed is not None:
        return resumed.offset, resumed.offset
    if response.status == 206:
        found = _content_range(response)
        if resumed is None or found is None or found.first != resumed.offset:
            raise RequestError(
                "RANGE_UNEXPECTED", "the server sent another range than was asked for", "use -o with a whole file"
            )
        return resumed.offset, found.total
    length = dict(response.headers).get("content-length", "")
    return 0, int(length) if length.isascii() and length.isdigit() else None


def _content_range(response: Response) -> _Range | None:
    """The field Content-Range (RFC 9110 section 14.4)."""
    found = _CONTENT_RANGE.fullmatch(dict(response.headers).get("content-range", ""))
    if found is None:
        return None
    return _Range(*(int(text) if text and text != "*" else None for text in found.groups()))


def _describe(note: Path, url: str, response: Response) -> None:
    etag = dict(response.headers).get("etag")
    if _is_strong(etag):
        temporary = note.with_name(note.name + ".new")
        temporary.write_text(json.dumps({"url": url, "validator": etag}), "utf-8")
        temporary.replace(note)
    else:
        note.unlink(missing_ok=True)


def _is_strong(validator: object) -> bool:
    """Only a strong validator may vouch for a part (RFC 9110 section 13.1.5)."""
    return isinstance(validator, str) and validator.isprintable() and validator.startswith('"')
