"""Where the passphrase of an authority's keys comes from: a file, the environment, or the keyring of the system.

The keyring needs the package `keyring` (`pip install velocity-pq[keyring]`), which is imported only when asked.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from velocity.errors import PkiError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VARIABLE", "find", "for_new", "from_keyring", "read_file", "to_keyring"]

VARIABLE = "VELOCITY_CA_PASSPHRASE"
_SERVICE = "velocity-ca"


def find(directory: Path, file: Path | None = None) -> str | None:
    """The passphrase of the authority in `directory`: from `file`, `VELOCITY_CA_PASSPHRASE`, or the keyring.

    Raises:
        PkiError: the file cannot be read or is empty (`PASSPHRASE_UNREADABLE`).
    """
    if file is not None:
        return read_file(file)
    return os.environ.get(VARIABLE) or from_keyring(directory)


def for_new(directory: Path, file: Path | None = None, *, keyring: bool = False) -> str | None:
    """The passphrase that is to encrypt the keys of a new authority; None leaves them plain.

    Args:
        directory: where the authority will be.
        file: holds it.
        keyring: keep it in the keyring too, and make one up where neither `file` nor the environment has any.

    Raises:
        PkiError: as `find` and `to_keyring`.
    """
    given = read_file(file) if file is not None else os.environ.get(VARIABLE) or None
    if keyring:
        given = given or secrets.token_urlsafe(32)
        to_keyring(directory, given)
    return given


def read_file(file: Path) -> str:
    """The first line of a file.

    Raises:
        PkiError: it cannot be read or is empty (`PASSPHRASE_UNREADABLE`).
    """
    try:
        first = file.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PkiError("PASSPHRASE_UNREADABLE", f"cannot read the passphrase in {file}: {why}") from error
    if not first:
        raise PkiError("PASSPHRASE_UNREADABLE", f"the first line of {file} is empty", "write the passphrase there")
    return first


def from_keyring(directory: Path) -> str | None:
    """What the keyring holds for the authority in `directory`; None without a keyring or an entry."""
    module = _keyring()
    if module is None:
        return None
    try:
        found = module.get_password(_SERVICE, str(directory.resolve()))
    except module.errors.KeyringError:
        return None
    return str(found) if found else None


def to_keyring(directory: Path, passphrase: str) -> None:
    """Keep the passphrase of the authority in `directory` in the keyring.

    Raises:
        PkiError: there is no keyring (`KEYRING_MISSING`), or it refuses (`KEYRING_REFUSED`).
    """
    module = _keyring()
    if module is None:
        message = "the package keyring is not installed"
        raise PkiError("KEYRING_MISSING", message, "pip install 'velocity-pq[keyring]', or use --passphrase-file")
    try:
        module.set_password(_SERVICE, str(directory.resolve()), passphrase)
    except module.errors.KeyringError as error:
        message = f"the keyring did not take the passphrase: {error}"
        raise PkiError("KEYRING_REFUSED", message, "unlock it, or use --passphrase-file") from error


def _keyring() -> Any:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    return keyring
