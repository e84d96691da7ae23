"""A certificate for trying things out: hybrid, signed by itself, kept under `.velocity/` in the root.

`cert.pem` holds the certificate, `key.pem` its ECDSA P-256 key and `key.mldsa.pem` its ML-DSA-65 key;
`cert.classical.pem` is a lean certificate for the same names and the same classical key, and `trust.pem` holds
both, for clients that shall trust the site. They belong together; the keys are written first and the certificates
name them by their public keys, so a set torn by a crash is noticed and made anew, and so is what an older
version made.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path  # noqa: TC003
from typing import NamedTuple

from velocity.errors import StartError
from velocity.pki.storage import is_private, locked, private_directory, write_all, write_private

__all__ = ["DEFAULT_NAMES", "KeyPair", "ensure"]

DEFAULT_NAMES = ("localhost", "127.0.0.1", "::1")
_LIFETIME = dt.timedelta(days=90)
_RENEW_BEFORE = dt.timedelta(days=7)


class KeyPair(NamedTuple):
    """Where a certificate and its keys are, and how long they are good; the others are siblings of these two."""

    chain_file: Path
    key_file: Path
    trust_file: Path
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
    chain_file, key_file, trust_file = directory / "cert.pem", directory / "key.pem", directory / "trust.pem"
    expiry = _expiry(chain_file, key_file, names)
    if expiry is not None:
        return KeyPair(chain_file, key_file, trust_file, (expiry - _RENEW_BEFORE).timestamp())
    try:
        private_directory(directory.parent)
        private_directory(directory)
        with locked(directory.parent):
            expiry = _expiry(chain_file, key_file, names)
            if expiry is None:  # else another start has made it meanwhile
                write_private(directory.parent / ".gitignore", b"*\n")
                _make(names, chain_file, key_file, trust_file)
                expiry = dt.datetime.now(dt.UTC) + _LIFETIME
    except OSError as error:
        raise StartError(
            "CERT_UNWRITABLE",
            f"cannot keep a certificate in {directory}: {error.strerror}",
            "make the folder writable, or pass --cert FILE --key FILE",
        ) from error
    return KeyPair(chain_file, key_file, trust_file, (expiry - _RENEW_BEFORE).timestamp())


def _expiry(chain_file: Path, key_file: Path, names: tuple[str, ...]) -> dt.datetime | None:
    """When what is stored expires, if it is hybrid, bears these names, is good for a while, and belongs together."""
    from velocity.errors import PkiError
    from velocity.pki import chain, hybrid, keys
    from velocity.pki import names as names_

    lean_file, alternative_file = keys.sibling(chain_file, "classical"), keys.sibling(key_file, "mldsa")
    files = (key_file, alternative_file, chain_file, lean_file, chain_file.with_name("trust.pem"))
    if not all(map(is_private, (key_file.parent.parent, key_file.parent, *files))):
        return None
    try:
        certificate = hybrid.read(chain.load(chain_file)[0])
        lean = hybrid.read(chain.load(lean_file)[0])
        trusted = chain.load(files[-1])
        key = keys.load(key_file)
    except PkiError:
        return None
    if trusted != [certificate.der, lean.der]:
        return None
    if certificate.alternative.key is None or set(names_.names_of(certificate.plain)) != set(names):
        return None
    pairs = (
        (certificate.plain.public_key(), key.classical.public_key()),
        (certificate.alternative.key, key.alternative.public_key()),
        (lean.plain.public_key(), key.classical.public_key()),
    )
    expiry = certificate.plain.not_valid_after_utc
    fits = certificate.is_hybrid and all(certified == held for certified, held in pairs)
    return expiry if fits and expiry - dt.datetime.now(dt.UTC) > _RENEW_BEFORE else None


def _make(names: tuple[str, ...], chain_file: Path, key_file: Path, trust_file: Path) -> None:
    """Make fresh certificates and their keys."""
    from velocity.pki import bundle, hybrid, keys, templates

    key = keys.generate("balanced")
    validity = templates.Validity.of(dt.datetime.now(dt.UTC), _LIFETIME)
    full, lean = (templates.leaf(names, key.classical.public_key(), None, validity, "server") for _ in range(2))
    certificate = bundle.pem(hybrid.sign_certificate(full, key, key.alternative.public_key()).plain)
    classical = bundle.pem(templates.sign_classical(lean, key.classical))
    write_all(
        {
            keys.sibling(key_file, "mldsa"): keys.encode(key.alternative),
            key_file: keys.encode(key.classical),
            keys.sibling(chain_file, "classical"): classical,
            chain_file: certificate,
            trust_file: certificate + classical,
        }
    )
