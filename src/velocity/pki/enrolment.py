"""Asking an authority that is elsewhere: keys, and a certification request that proves that both are held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from velocity.errors import PkiError
from velocity.pki import hybrid, keys, names, templates
from velocity.pki.storage import write_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from velocity.pki.keys import KeyType, Profile

__all__ = ["request"]


def request(
    wanted: Sequence[str], directory: Path, *, profile: Profile = "balanced", key_type: KeyType | None = None
) -> Path:
    """Make keys and a request for them: `privkey.pem`, `privkey.mldsa.pem` and `request.pem`.

    Args:
        wanted: DNS names (A-labels, lower case) and IP addresses.
        directory: made, for its owner only, if it is not there.
        profile: strength of the keys.
        key_type: another classical key than the profile's.

    Returns:
        The file of the request.

    Raises:
        PkiError: the directory cannot be written (`CERT_UNWRITABLE`).
    """
    key = keys.generate(profile, key_type)
    encoded = hybrid.build_request(templates.subject(wanted[0]), [names.alternative_names(wanted)], key)
    pem = x509.load_der_x509_csr(encoded).public_bytes(Encoding.PEM)
    path, key_file = directory / "request.pem", directory / "privkey.pem"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_all(
            {keys.sibling(key_file, "mldsa"): keys.encode(key.alternative), key_file: keys.encode(key.classical)},
            {path: pem},
        )
    except OSError as error:
        message = f"cannot write a request to {directory}: {error.strerror}"
        raise PkiError("CERT_UNWRITABLE", message, "choose another folder with --out DIR") from error
    return path
