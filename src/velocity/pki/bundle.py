"""What is issued, and the files it becomes.

fullchain.pem            the hybrid chain, leaf first, without the root
fullchain.classical.pem  a lean chain for the same names and the same classical key
privkey.pem              the classical key
privkey.mldsa.pem        the ML-DSA key
root.pem                 the root, for those who shall trust it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from velocity.errors import PkiError
from velocity.pki import keys
from velocity.pki.names import names_of
from velocity.pki.storage import write_all

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from velocity.pki.hybrid import Certificate
    from velocity.pki.keys import AlternativeKey, ClassicalKey

__all__ = ["Issued", "Written", "pem", "write"]


@dataclass(frozen=True)
class Issued:
    """A certificate, fresh from an authority. Its keys show in no repr.

    Attributes:
        leaf: the hybrid certificate.
        chain: it and what is between it and the root, PEM.
        classical_chain: the lean chain, PEM.
        root: the root, PEM.
        classical_key: None where the authority has never seen it.
        alternative_key: None where the authority has never seen it.
    """

    leaf: Certificate
    chain: bytes
    classical_chain: bytes
    root: bytes
    classical_key: ClassicalKey | None = None
    alternative_key: AlternativeKey | None = None

    def __repr__(self) -> str:
        return f"Issued({', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names it bears."""
        return names_of(self.leaf.plain)


class Written(NamedTuple):
    """Files that were written."""

    chain: Path
    key: Path
    """Where the classical key is, or would be."""
    root: Path
    names: tuple[str, ...]


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates in PEM, in this order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def write(issued: Issued, directory: Path) -> Written:
    """Write what was issued; keys with mode 0600, certificates with 0644, each whole or not at all.

    The directory is made, for its owner only, if it is not there.

    Returns:
        Where what is.

    Raises:
        PkiError: the directory cannot be written (`CERT_UNWRITABLE`); the old files are as they were.
    """
    chain_file, key_file = directory / "fullchain.pem", directory / "privkey.pem"
    private: dict[Path, bytes] = {}
    if issued.alternative_key is not None:
        private[keys.sibling(key_file, "mldsa")] = keys.encode(issued.alternative_key)
    if issued.classical_key is not None:
        private[key_file] = keys.encode(issued.classical_key)
    public = {
        directory / "root.pem": issued.root,
        keys.sibling(chain_file, "classical"): issued.classical_chain,
        chain_file: issued.chain,
    }
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_all(private, public)
    except OSError as error:
        message = f"cannot write certificates to {directory}: {error.strerror}"
        raise PkiError("CERT_UNWRITABLE", message, "choose another folder with --out DIR") from error
    return Written(
        chain_file, key_file, directory / "root.pem", tuple(sorted(path.name for path in (*private, *public)))
    )
