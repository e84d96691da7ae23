"""What an authority has done, line by line, in a file that can be added to but not changed unnoticed.

Every line of `issued.jsonl` is a JSON object that holds the SHA-256 of the line before it. `issued.head` names the
number of lines and the SHA-256 of the last one, signed with both keys of the issuing certificate: whoever changes,
inserts, drops or cuts lines would have to forge that signature. Restoring an older pair of files is beyond
what a file can show; keep a copy of the head elsewhere to notice that too.

A line counts once the head covers it, and nothing leaves the authority before. So one line after the head is
an interrupted command: it is passed over, and the next line takes its place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, NoReturn

from velocity.errors import PkiError
from velocity.pki import keys
from velocity.pki.storage import write_all

if TYPE_CHECKING:
    from pathlib import Path

    from velocity.pki.keys import AlternativePublicKey, HybridKey

__all__ = ["IssuanceLog"]

_CONTEXT = b"velocity issuance log head\0"
_NOTHING = hashlib.sha256(b"").hexdigest()


class IssuanceLog:
    """The log of one authority. Whoever appends holds the lock of its directory.

    Args:
        directory: where `issued.jsonl` and `issued.head` are.
        classical: public key of the issuing certificate, which signs the head.
        alternative: its ML-DSA key.
    """

    def __init__(self, directory: Path, classical: object, alternative: AlternativePublicKey) -> None:
        self.path = directory / "issued.jsonl"
        self._head_path = directory / "issued.head"
        self._keys = (classical, alternative)
        self._offset = 0
        self._hash = _NOTHING
        self.entries: list[dict[str, Any]] = []

    def refresh(self) -> None:
        """Read and verify what was added since the last time; the first time everything.

        Raises:
            PkiError: the log was tampered with (`CA_LOG_TAMPERED`) or cannot be read (`CA_LOG_UNREADABLE`).
        """
        try:
            head, added = self._read()
        except OSError as error:
            raise PkiError("CA_LOG_UNREADABLE", f"cannot read {self.path}: {error.strerror}") from error
        count, last = self._read_head(head)
        if count < len(self.entries):
            self._tampered("its head covers fewer lines than before")
        lines = added.split(b"\n")
        whole, rest = lines[:-1], lines[-1]
        missing = count - len(self.entries)
        if len(whole) < missing:
            self._tampered(f"it has {len(self.entries) + len(whole)} lines, and its head covers {count}")
        if len(whole) - missing + bool(rest) > 1:
            self._tampered("lines follow that its head does not cover")
        for line in whole[:missing]:
            self._take(line)
        if self._hash != last:
            self._tampered("its head is of another line")

    def append(self, entry: dict[str, Any], key: HybridKey) -> None:
        """Add a line, and put it and its head on the disk before returning.

        Args:
            entry: what happened; `n` and `previous` are added.
            key: the private keys of the issuing certificate.

        Raises:
            PkiError: as `refresh`.
            OSError: the disk is full or not writable; the line does not count.
        """
        self.refresh()
        line = json.dumps(
            {**entry, "n": len(self.entries), "previous": self._hash}, sort_keys=True, separators=(",", ":")
        ).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(descriptor, self._offset)  # what an interrupted command left does not count
            os.lseek(descriptor, self._offset, os.SEEK_SET)
            remaining = memoryview(line + b"\n")
            while remaining:
                remaining = remaining[os.write(descriptor, remaining) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        write_all({self._head_path: self._sign(len(self.entries) + 1, hashlib.sha256(line).hexdigest(), key)})
        self._take(line)

    def _read(self) -> tuple[bytes | None, bytes]:
        """The head, and what follows the lines that are known, as they were at one moment."""
        while True:
            head = self._head()
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "rb") as file:
                file.seek(self._offset)
                added = file.read()
            if self._head() == head:  # else somebody has added a line meanwhile
                return head, added

    def _head(self) -> bytes | None:
        try:
            return self._head_path.read_bytes()
        except FileNotFoundError:
            return None

    def _take(self, line: bytes) -> None:
        number = len(self.entries)
        try:
            entry = json.loads(line)
            fits = entry["n"] == number and entry["previous"] == self._hash and isinstance(entry["event"], str)
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            self._tampered(f"line {number + 1} does not continue line {number}")
        self.entries.append(entry)
        self._offset += len(line) + 1
        self._hash = hashlib.sha256(line).hexdigest()

    def _sign(self, count: int, last: str, key: HybridKey) -> bytes:
        said = _said(count, last)
        head = {
            "entries": count,
            "sha256": last,
            "classical": base64.b64encode(keys.sign(key.classical, said)).decode(),
            "ml_dsa": base64.b64encode(keys.sign(key.alternative, said)).decode(),
        }
        return json.dumps(head, indent=1).encode() + b"\n"

    def _read_head(self, head: bytes | None) -> tuple[int, str]:
        if head is None:
            return 0, _NOTHING
        try:
            values = json.loads(head)
            count, last = int(values["entries"]), str(values["sha256"])
            signatures = [base64.b64decode(values[name], validate=True) for name in ("classical", "ml_dsa")]
        except (ValueError, KeyError, TypeError):
            self._tampered("its head cannot be read")
        said = _said(count, last)
        if not all(keys.verify(key, one, said) for key, one in zip(self._keys, signatures, strict=True)):
            self._tampered("the signatures of its head do not verify")
        return count, last

    def _tampered(self, why: str) -> NoReturn:
        raise PkiError(
            "CA_LOG_TAMPERED",
            f"the issuance log {self.path} was changed: {why}",
            "restore it from a backup, and find out who could write there",
        )


def _said(count: int, last: str) -> bytes:
    return _CONTEXT + f"{count} {last}".encode()
