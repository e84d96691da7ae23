"""What is in certificates, as plain data: both keys, both signatures and whether they hold, the chain, days left."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from velocity.errors import PkiError
from velocity.pki import der, hybrid, hybridize, keys, names

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from velocity.pki.hybrid import Certificate

__all__ = ["inspect"]

_PURPOSES = {"serverAuth": "server", "clientAuth": "client"}


def inspect(chain: Sequence[bytes], roots: Sequence[bytes], at: dt.datetime) -> list[dict[str, Any]]:
    """What each certificate of a chain says, and whether its signatures hold.

    A signature is True (verified), False (it does not verify), or None: its issuer is neither next in the
    chain nor among the roots. An `alternative` of None means an ordinary certificate. Nothing is said about trust;
    `chain.verify` decides that.

    Args:
        chain: DER, leaf first.
        roots: DER of roots that may have issued the last.
        at: the time from which days are counted, with a time zone.

    Raises:
        PkiError: a certificate is malformed (`CERT_UNREADABLE`).
    """
    try:
        links = [hybrid.read(data) for data in chain]
        above = [*links, *(hybrid.read(data) for data in roots)]
    except der.DerError as error:
        raise PkiError("CERT_UNREADABLE", f"a certificate is malformed: {error}") from error
    return [_describe(link, _issuer(link, above), at) for link in links]


def _issuer(certificate: Certificate, candidates: Sequence[Certificate]) -> Certificate | None:
    """Who has issued it, by name and, where several bear it, by signature."""
    named = [one for one in candidates if one.plain.subject.public_bytes() == certificate.plain.issuer.public_bytes()]
    signed = (one for one in named if certificate.signed_by(one.plain.public_key()))
    return next(signed, named[0] if named else None)


def _describe(certificate: Certificate, issuer: Certificate | None, at: dt.datetime) -> dict[str, Any]:
    plain, alternative = certificate.plain, certificate.alternative
    public = plain.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    facts: dict[str, Any] = {
        "subject": certificate.subject,
        "issuer": hybrid.describe_name(plain.issuer),
        "names": list(names.names_of(plain)),
        "serial": f"{plain.serial_number:x}",
        "not_before": plain.not_valid_before_utc.isoformat(),
        "not_after": plain.not_valid_after_utc.isoformat(),
        "days_left": (plain.not_valid_after_utc - at).days,
        "authority": _is_authority(plain),
        "usage": _usage(plain),
        "size": len(certificate.der),
        "sha256": hashlib.sha256(certificate.der).hexdigest(),
        "hybrid": certificate.is_hybrid,
        "classical": {
            "key": keys.name_of(plain.public_key()),
            "key_sha256": hashlib.sha256(public).hexdigest(),
            "signature": _signature_name(plain),
            "verified": None if issuer is None else certificate.signed_by(issuer.plain.public_key()),
        },
        "alternative": None,
        "related_sha256": None,
    }
    digest = hybridize.related_digest(plain)
    if digest is not None:
        facts["related_sha256"] = digest.hex()
    if any(value is not None for value in alternative):
        above = None if issuer is None else issuer.alternative.key
        facts["alternative"] = {
            "key": None if alternative.key is None else keys.name_of(alternative.key),
            "key_sha256": None if alternative.key is None else hashlib.sha256(keys.spki(alternative.key)).hexdigest(),
            "signature": alternative.algorithm,
            "verified": None if issuer is None else above is not None and certificate.alternatively_signed_by(above),
        }
    return facts


def _is_authority(plain: x509.Certificate) -> bool:
    try:
        return plain.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _usage(plain: x509.Certificate) -> list[str]:
    try:
        purposes = plain.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    return [_PURPOSES.get(one._name, one.dotted_string) for one in purposes]


def _signature_name(plain: x509.Certificate) -> str:
    digest = plain.signature_hash_algorithm
    family = {"1.2.840.10045": "ECDSA", "1.2.840.113549": "RSA"}
    dotted = plain.signature_algorithm_oid.dotted_string
    name = next((word for arc, word in family.items() if dotted.startswith(arc)), "Ed25519")
    return name if digest is None else f"{name} with {digest.name.upper().replace('SHA', 'SHA-')}"
