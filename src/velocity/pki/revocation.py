"""Taking back what was issued: revoking, revocation lists (RFC 5280 section 5), and OCSP responses (RFC 6960)."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from velocity.errors import PkiError
from velocity.pki import der, hybrid, keys
from velocity.pki.storage import write_all

if TYPE_CHECKING:
    from velocity.pki.ca import Authority

__all__ = ["REASONS", "Revoked", "ocsp_response", "revocation_list", "revoke", "revoked"]

REASONS: Final[dict[str, x509.ReasonFlags]] = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key_compromise": x509.ReasonFlags.key_compromise,
    "ca_compromise": x509.ReasonFlags.ca_compromise,
    "affiliation_changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation_of_operation": x509.ReasonFlags.cessation_of_operation,
}
"""Why something may be revoked (RFC 5280 section 5.3.1)."""

_MAX_REQUEST = 1 << 14


class Revoked(NamedTuple):
    """A serial number that is no longer good."""

    serial: int
    at: dt.datetime
    reason: x509.ReasonFlags
    until: dt.datetime
    """When the certificate would have expired."""


def revoke(authority: Authority, serial: int, reason: str = "unspecified") -> tuple[str, ...]:
    """Revoke what was issued under a serial number, hybrid and lean alike.

    Args:
        authority: which has issued it.
        serial: of either of the two.
        reason: one of `REASONS`.

    Returns:
        The names it bore.

    Raises:
        PkiError: it was not issued here (`SERIAL_UNKNOWN`), is revoked already (`ALREADY_REVOKED`), or the reason is
            none (`REASON_UNKNOWN`).
    """
    if reason not in REASONS:
        raise PkiError("REASON_UNKNOWN", f"{reason!r} is no reason", f"known are {', '.join(REASONS)}")
    with authority.locked():
        authority.log.refresh()
        entry = authority.issued(serial)
        if entry is None:
            message = f"this authority has issued nothing under serial number {serial:x}"
            raise PkiError("SERIAL_UNKNOWN", message, "velocity cert inspect shows serial number and issuer")
        if authority.revoked(serial) is not None:
            raise PkiError("ALREADY_REVOKED", f"serial number {serial:x} is revoked already")
        authority.record({"event": "revoke", "serial": entry["serial"], "reason": reason})
    return tuple(entry["names"])


def revoked(authority: Authority) -> list[Revoked]:
    """Every serial number that was revoked, in the order of revocation."""
    found = []
    for entry in authority.log.entries:
        if entry["event"] == "revoke":
            found += _revoked(authority, int(entry["serial"], 16))
    return found


def revocation_list(authority: Authority) -> bytes:
    """A fresh revocation list with both signatures, PEM, kept as `crl.pem` too.

    Certificates that have expired by themselves are left out.

    Raises:
        PkiError: the authority's key cannot be used, or its log was tampered with.
    """
    with authority.locked():
        authority.log.refresh()
        now = authority.now()
        number = 1 + sum(entry["event"] == "crl" for entry in authority.log.entries)
        own = authority.issuer.plain.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.issuer.plain.subject)
            .last_update(now)
            .next_update(now + authority.policy.revocation.crl_lifetime)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for one in revoked(authority):
            if one.until > now:
                entry = x509.RevokedCertificateBuilder(one.serial, one.at)
                if one.reason is not x509.ReasonFlags.unspecified:
                    entry = entry.add_extension(x509.CRLReason(one.reason), critical=False)
                builder = builder.add_revoked_certificate(entry.build())
        encoded = hybrid.sign_revocation_list(builder, authority.key).plain.public_bytes(Encoding.PEM)
        authority.record({"event": "crl", "number": number})
        write_all({}, {authority.directory / "crl.pem": encoded})
    return encoded


def ocsp_response(authority: Authority, request: bytes) -> bytes:
    """Answer one OCSP request, DER to DER; whoever serves it over HTTP adds nothing (RFC 6960 appendix A).

    Responses are signed classically, by the issuing key, and are good for a day. What cannot be read is answered with
    `malformedRequest`, a question about another issuer with `unauthorized`.

    Args:
        authority: which answers.
        request: with one certificate in it.

    Raises:
        PkiError: the authority's key cannot be used, or its log was tampered with.
    """

    def refuse(status: ocsp.OCSPResponseStatus) -> bytes:
        return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)

    try:
        if len(request) > _MAX_REQUEST:
            return refuse(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        asked = ocsp.load_der_ocsp_request(request)
        serial, digest = asked.serial_number, asked.hash_algorithm
        issuer = asked.issuer_name_hash, asked.issuer_key_hash
        nonces = [one.value for one in asked.extensions if isinstance(one.value, x509.OCSPNonce)]
    except (ValueError, NotImplementedError, x509.DuplicateExtension):
        return refuse(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    if issuer != _identity(authority, digest):
        return refuse(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    authority.log.refresh()
    taken_back = next((one for one in _revoked(authority, serial) if one.serial == serial), None)
    status = ocsp.OCSPCertStatus.GOOD if authority.issued(serial) else ocsp.OCSPCertStatus.UNKNOWN
    if taken_back is not None:
        status = ocsp.OCSPCertStatus.REVOKED
    now = authority.now()
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=issuer[0],
        issuer_key_hash=issuer[1],
        serial_number=serial,
        algorithm=digest,
        cert_status=status,
        this_update=now,
        next_update=now + dt.timedelta(days=1),
        revocation_time=taken_back.at if taken_back else None,
        revocation_reason=taken_back.reason if taken_back else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.issuer.plain)
    for nonce in nonces:
        builder = builder.add_extension(nonce, critical=False)
    key = authority.key.classical
    return builder.sign(key, keys.signature_hash(key)).public_bytes(Encoding.DER)


def _identity(authority: Authority, digest: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """The hashes of the issuer's name and key that OCSP speaks of it with (RFC 6960 section 4.1.1)."""
    public = authority.issuer.plain.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = der.bit_string_value(der.children(der.only(public, der.SEQUENCE).content)[1].raw)
    return _hash(digest, authority.issuer.plain.subject.public_bytes()), _hash(digest, key)


def _hash(digest: hashes.HashAlgorithm, data: bytes) -> bytes:
    hasher = hashes.Hash(digest)
    hasher.update(data)
    return hasher.finalize()


def _revoked(authority: Authority, serial: int) -> list[Revoked]:
    """Both serial numbers of what was revoked under one of them."""
    entry, taken_back = authority.issued(serial), authority.revoked(serial)
    if entry is None or taken_back is None:
        return []
    at, until = dt.datetime.fromisoformat(taken_back["time"]), dt.datetime.fromisoformat(entry["not_after"])
    reason = REASONS[taken_back["reason"]]
    serials = filter(None, (entry["serial"], entry["classical_serial"]))
    return [Revoked(int(one, 16), at, reason, until) for one in serials]
