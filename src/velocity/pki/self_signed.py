"""A certificate for trying things out: ECDSA P-256, signed by itself, kept under `.velocity/` in the root.

Chain and key are one PEM file each, but belong together; the key is written first and the
certificate names it by its public key, so a pair torn by a crash is noticed and made anew.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, NamedTuple

from velocity.errors import StartError
from velocity.pki.storage import is_private, locked, private_directory, write_private

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["DEFAULT_NAMES", "KeyPair", "ensure"]

DEFAULT_NAMES = ("localhost", "127.0.0.1", "::1")
_LIFETIME = dt.timedelta(days=90)
_RENEW_BEFORE = dt.timedelta(days=7)
_SKEW = dt.timedelta(hours=1)


class KeyPair(NamedTuple):
    """Where a certificate and its key are, and how long they are good."""

    chain_file: Path
    key_file: Path
    good_until: float
    """Unix time at which the pair should be made anew."""


def ensure(root: Path, names: tuple[str, ...]) -> KeyPair:
    """The self-signed certificate of a site, made if there is none that fits.

    Args:
        root: the site's folder; files go to `root/.velocity/certs/`, which is never served.
        names: DNS names and IP addresses the certificate must bear; `localhost` and its addresses when empty.

    Raises:
        StartError: the folder cannot be written (`CERT_UNWRITABLE`).
    """
    names = names or DEFAULT_NAMES
    directory = root / ".velocity" / "certs"
    chain_file, key_file = directory / "cert.pem", directory / "key.pem"
    expiry = _expiry(chain_file, key_file, names)
    if expiry is not None:
        return KeyPair(chain_file, key_file, (expiry - _RENEW_BEFORE).timestamp())
    try:
        private_directory(directory.parent)
        private_directory(directory)
        with locked(directory.parent):
            expiry = _expiry(chain_file, key_file, names)
            if expiry is None:  # else another start has made it meanwhile
                write_private(directory.parent / ".gitignore", b"*\n")
                chain, key = _make(names)
                write_private(key_file, key)
                write_private(chain_file, chain)
                expiry = dt.datetime.now(dt.UTC) + _LIFETIME
    except OSError as error:
        raise StartError(
            "CERT_UNWRITABLE",
            f"cannot keep a certificate in {directory}: {error.strerror}",
            "make the folder writable, or pass --cert FILE --key FILE",
        ) from error
    return KeyPair(chain_file, key_file, (expiry - _RENEW_BEFORE).timestamp())


def _expiry(chain_file: Path, key_file: Path, names: tuple[str, ...]) -> dt.datetime | None:
    """When the stored pair expires, if it bears these names, is good for a while, and belongs together."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if not all(map(is_private, (key_file.parent.parent, key_file.parent, key_file, chain_file))):
            return None
        certificate = x509.load_pem_x509_certificate(chain_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return None
    stored = {*san.get_values_for_type(x509.DNSName), *map(str, san.get_values_for_type(x509.IPAddress))}
    expiry = certificate.not_valid_after_utc
    fits = stored == set(names) and certificate.public_key() == key.public_key()
    return expiry if fits and expiry - dt.datetime.now(dt.UTC) > _RENEW_BEFORE else None


def _make(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A fresh certificate and its key, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
