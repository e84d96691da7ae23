"""A certificate chain, verified twice: by its classical signatures, and by its ML-DSA signatures.

Path validation is that of RFC 5280 section 6.1, with no policies, on a chain in the order TLS 1.3 asks for
(RFC 9846 section 4.4.2), up to a trusted root that has an ML-DSA key itself. A link passes only if both of
its signatures do; nothing falls back to one. The clock, the roots and the name are arguments.

Signatures come first, from the root down, and what certificates say is looked at only then: nothing is
reported of a certificate that nobody vouched for, but that nobody did.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeAlias, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from velocity.errors import ChainError, PkiError
from velocity.pki import hybrid, keys, names
from velocity.pki.der import DerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from velocity.pki.hybrid import Certificate, RevocationList
    from velocity.pki.keys import Level

__all__ = ["HINTS", "Cause", "Usage", "Verified", "load", "verify"]

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
Usage: TypeAlias = Literal["server", "client"]
Cause: TypeAlias = Literal[
    "malformed",
    "missing_extension",
    "bad_ml_dsa_signature",
    "bad_classical_signature",
    "unknown_root",
    "expired",
    "not_yet_valid",
    "wrong_name",
    "ca_as_leaf",
    "leaf_as_ca",
    "path_too_long",
    "name_constraint",
    "revoked",
    "bad_revocation_list",
    "wrong_usage",
    "unknown_critical_extension",
    "weak_key",
]

HINTS: Final[dict[Cause, str]] = {
    "malformed": "the file or what was received is damaged: fetch or issue it again",
    "missing_extension": "it is an ordinary certificate: make a hybrid one with velocity cert issue or cert hybridize",
    "bad_ml_dsa_signature": "it was not issued by that authority, or changed since: issue it again",
    "bad_classical_signature": "it was not issued by that authority, or changed since: issue it again",
    "unknown_root": "pass the root of its authority with --cacert; velocity ca export-root prints it",
    "expired": "renew it; if it should still be valid, check the clock of this machine",
    "not_yet_valid": "check the clocks of this machine and of the authority",
    "wrong_name": "ask for a name that it bears, or issue one that bears this name",
    "ca_as_leaf": "serve a certificate that the authority issued, not its own",
    "leaf_as_ca": "put the certificate of the authority after it, not one that may not issue",
    "path_too_long": "issue from an authority nearer to the root",
    "name_constraint": "the authority may not certify this name: use one that may",
    "revoked": "issue a new one with new keys",
    "bad_revocation_list": "fetch the authority's list again; velocity ca crl makes a fresh one",
    "wrong_usage": "issue one for this purpose: velocity cert issue, with --client for clients",
    "unknown_critical_extension": "it demands something that Velocity does not know; use another certificate",
    "weak_key": "issue the chain with a stronger profile: velocity cert issue --profile",
}
"""What to do about each cause."""

_MAX_LINKS = 8
_KNOWN_CRITICAL = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.NameConstraints,
)
_PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Verified:
    """A chain that passed."""

    path: tuple[Certificate, ...]
    """From the leaf to the root; one certificate where the leaf itself is trusted."""
    level: Level
    """The weakest ML-DSA parameter set that anything in it rests on."""


def load(path: Path) -> list[bytes]:
    """The certificates of a PEM file, DER, in order.

    Raises:
        PkiError: it cannot be read, or holds anything else (`CERT_UNREADABLE`).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PkiError("CERT_UNREADABLE", f"cannot read {path}: {error.strerror}") from error
    try:
        return [certificate.der for certificate in hybrid.read_pem(content)]
    except DerError as error:
        message = f"{path} holds no certificates in PEM that are well formed: {error}"
        raise PkiError("CERT_UNREADABLE", message, "it should hold the chain, leaf first") from error


def verify(
    chain: Sequence[bytes],
    roots: Sequence[bytes],
    *,
    at: dt.datetime,
    name: str | None = None,
    usage: Usage = "server",
    revocation: Sequence[bytes] = (),
    at_least: Level = "ML-DSA-44",
) -> Verified:
    """Verify a chain by both of its signatures.

    Args:
        chain: DER, leaf first, each issued by the next; the root may end it or be left out.
        roots: DER of what is trusted: roots, or a certificate that is signed by itself.
        at: the time for which it should be valid, with a time zone.
        name: DNS name or IP address the leaf must be good for; None looks at no name.
        usage: what the leaf is used for.
        revocation: revocation lists, DER or PEM. Where one is by the issuer of a link, it has to be current and
            to have both signatures; lists of other authorities are passed over.
        at_least: the weakest ML-DSA parameter set to accept anywhere in the chain.

    Returns:
        The whole path, root included.

    Raises:
        ChainError: which link does not pass, and why (`CERT_PQ_VALIDATION_FAILED`).
        PkiError: a revocation list cannot be read (`CRL_UNREADABLE`).
    """
    lists = [_read_list(data) for data in revocation]
    if not 1 <= len(chain) <= _MAX_LINKS:
        raise ChainError(
            0, "", "malformed", f"a chain of {len(chain)} certificates is not verified", HINTS["malformed"]
        )
    links = [_read(data, index) for index, data in enumerate(chain)]
    anchors = [_read(data, len(chain)) for data in roots]
    failure: ChainError | None = None
    for path in _paths(links, anchors):
        try:
            return _verify_path(path, at, name, usage, lists, at_least)
        except ChainError as error:
            failure = failure or error
    last = len(links) - 1
    raise failure or _error("unknown_root", last, links[last], _untrusted(links[last]))


def _read(data: bytes, link: int) -> Certificate:
    try:
        return hybrid.read(data)
    except DerError as error:
        message = f"certificate {link} of the chain is malformed: {error}"
        raise ChainError(link, "", "malformed", message, HINTS["malformed"]) from error


def _read_list(data: bytes) -> RevocationList:
    try:
        return hybrid.read_revocation_list(data)
    except DerError as error:
        message = f"a revocation list cannot be read: {error}"
        raise PkiError("CRL_UNREADABLE", message, HINTS["bad_revocation_list"]) from error


def _error(cause: Cause, link: int, certificate: Certificate, what: str) -> ChainError:
    message = f"certificate {link} of the chain ({certificate.subject}) {what}"
    return ChainError(link, certificate.subject, cause, message, HINTS[cause])


def _fail(cause: Cause, link: int, certificate: Certificate, what: str) -> NoReturn:
    raise _error(cause, link, certificate, what)


def _untrusted(certificate: Certificate) -> str:
    if certificate.plain.issuer == certificate.plain.subject:
        return "is signed by itself and not trusted"
    return f"was issued by {hybrid.describe_name(certificate.plain.issuer)}, which is no trusted root"


def _paths(links: list[Certificate], anchors: list[Certificate]) -> list[tuple[Certificate, ...]]:
    """Every way from the leaf to a trusted root that the names allow."""
    last = links[-1]
    if any(anchor.der == last.der for anchor in anchors):
        return [tuple(links)]
    return [
        (*links, anchor)
        for anchor in anchors
        if anchor.plain.subject.public_bytes() == last.plain.issuer.public_bytes() and _may_be_by(last, anchor)
    ]


def _may_be_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether key identifiers, where both are given, allow it (RFC 5280 section 4.2.1.1)."""
    authority = _extension(certificate, x509.AuthorityKeyIdentifier)
    subject = _extension(issuer, x509.SubjectKeyIdentifier)
    if authority is None or authority.key_identifier is None or subject is None:
        return True
    return bool(authority.key_identifier == subject.digest)


def _verify_path(
    path: tuple[Certificate, ...],
    at: dt.datetime,
    name: str | None,
    usage: Usage,
    lists: list[RevocationList],
    at_least: Level,
) -> Verified:
    top = len(path) - 1
    _check_signatures(top, path[top], path[top])
    for link in range(top - 1, -1, -1):
        _check_signatures(link, path[link], path[link + 1])
    for link in range(top, -1, -1):
        _check_critical(link, path[link])
        _check_time(link, path[link], at)
        if link:
            _check_issuer(link, path, usage)
    _check_leaf(path[0], name, usage)
    for link in range(top - 1, -1, -1):
        _check_revocation(link, path[link], path[link + 1], at, lists)
    level = _weakest(path)
    for link, certificate in enumerate(path):
        if keys.LEVELS.index(_weakest((certificate,))) < keys.LEVELS.index(at_least):
            _fail("weak_key", link, certificate, f"rests on {_weakest((certificate,))}, below {at_least}")
    return Verified(path, level)


def _weakest(path: tuple[Certificate, ...]) -> Level:
    used = {keys.level(certificate.alternative.key) for certificate in path}
    used |= {certificate.alternative.algorithm for certificate in path}
    return next(level for level in keys.LEVELS if level in used)


def _check_signatures(link: int, certificate: Certificate, issuer: Certificate) -> None:
    by = f"by {issuer.subject}" if issuer is not certificate else "its own"
    if certificate.plain.issuer.public_bytes() != issuer.plain.subject.public_bytes():
        other = hybrid.describe_name(certificate.plain.issuer)
        _fail("unknown_root", link, certificate, f"was issued by {other}, but {issuer.subject} comes next")
    if not certificate.signed_by(issuer.plain.public_key()):
        _fail("bad_classical_signature", link, certificate, f"has a classical signature that is not {by}")
    if not certificate.is_hybrid:
        lacks = [
            what
            for what, value in zip(
                (
                    f"subjectAltPublicKeyInfo ({hybrid.ALT_KEY})",
                    f"altSignatureAlgorithm ({hybrid.ALT_SIGNATURE_ALGORITHM})",
                    f"altSignatureValue ({hybrid.ALT_SIGNATURE})",
                ),
                certificate.alternative,
                strict=True,
            )
            if value is None
        ]
        _fail("missing_extension", link, certificate, f"has no {' and no '.join(lacks)}")
    key = issuer.alternative.key
    if key is None or not certificate.alternatively_signed_by(key):
        _fail(
            "bad_ml_dsa_signature",
            link,
            certificate,
            f"has an {certificate.alternative.algorithm} signature that is not {by}",
        )


def _check_critical(link: int, certificate: Certificate) -> None:
    for extension in certificate.plain.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN_CRITICAL):
            dotted = extension.oid.dotted_string
            _fail("unknown_critical_extension", link, certificate, f"has a critical extension {dotted}")


def _check_time(link: int, certificate: Certificate, at: dt.datetime) -> None:
    begin, end = certificate.plain.not_valid_before_utc, certificate.plain.not_valid_after_utc
    if at < begin:
        _fail("not_yet_valid", link, certificate, f"is not valid before {_time(begin)}; the clock says {_time(at)}")
    if at > end:
        _fail("expired", link, certificate, f"expired at {_time(end)}; the clock says {_time(at)}")


def _time(when: dt.datetime) -> str:
    return when.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _check_issuer(link: int, path: tuple[Certificate, ...], usage: Usage) -> None:
    """Whether the certificate at `link` may have issued those below it."""
    certificate = path[link]
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is None or not basic.ca:
        _fail("leaf_as_ca", link, certificate, "is not one of an authority, but another was issued with it")
    key_usage = _extension(certificate, x509.KeyUsage)
    if key_usage is not None and not key_usage.key_cert_sign:
        _fail("wrong_usage", link, certificate, "may not sign certificates")
    below = sum(one.plain.subject != one.plain.issuer for one in path[1:link])
    if basic.path_length is not None and below > basic.path_length:
        _fail(
            "path_too_long",
            link,
            certificate,
            f"allows {basic.path_length} authorities below it, and there {'is' if below == 1 else 'are'} {below}",
        )
    _check_purpose(link, certificate, usage)
    constraints = _extension(certificate, x509.NameConstraints)
    if constraints is not None:
        for lower in range(link - 1, -1, -1):
            name = names.violation(constraints, path[lower].plain)
            if name is not None and (lower == 0 or path[lower].plain.subject != path[lower].plain.issuer):
                _fail(
                    "name_constraint", lower, path[lower], f"bears {name}, which {certificate.subject} may not certify"
                )


def _check_leaf(leaf: Certificate, name: str | None, usage: Usage) -> None:
    basic = _extension(leaf, x509.BasicConstraints)
    if basic is not None and basic.ca:
        _fail("ca_as_leaf", 0, leaf, "is one of an authority and cannot stand for a server or client")
    key_usage = _extension(leaf, x509.KeyUsage)
    if key_usage is not None and not key_usage.digital_signature:
        _fail("wrong_usage", 0, leaf, "may not sign handshakes")
    _check_purpose(0, leaf, usage)
    if name is not None and not names.covers(leaf.plain, name):
        borne = ", ".join(names.names_of(leaf.plain)) or "no name at all"
        _fail("wrong_name", 0, leaf, f"is not for {name}; it bears {borne}")


def _check_purpose(link: int, certificate: Certificate, usage: Usage) -> None:
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes or _PURPOSES[usage] in purposes:
        return
    _fail("wrong_usage", link, certificate, f"is not for {usage}s")


def _check_revocation(
    link: int, certificate: Certificate, issuer: Certificate, at: dt.datetime, lists: list[RevocationList]
) -> None:
    for one in lists:
        if one.plain.issuer.public_bytes() != certificate.plain.issuer.public_bytes():
            continue
        _check_list(link, issuer, one, at)
        entry = one.plain.get_revoked_certificate_by_serial_number(certificate.plain.serial_number)
        if entry is not None:
            _fail("revoked", link, certificate, f"was revoked at {_time(entry.revocation_date_utc)}")


def _check_list(link: int, issuer: Certificate, one: RevocationList, at: dt.datetime) -> None:
    """Whether a revocation list is by the issuer of `link`, and current (RFC 5280 section 6.3)."""

    def fail(what: str) -> NoReturn:
        message = f"the revocation list of {issuer.subject} {what}"
        raise ChainError(link + 1, issuer.subject, "bad_revocation_list", message, HINTS["bad_revocation_list"])

    key_usage, key = _extension(issuer, x509.KeyUsage), issuer.alternative.key
    if key_usage is not None and not key_usage.crl_sign:
        fail("is by an authority that may not sign one")
    if not one.signed_by(issuer.plain.public_key()):
        fail("has a bad classical signature")
    if one.alternative.signature is None:
        fail(f"has no altSignatureValue ({hybrid.ALT_SIGNATURE})")
    if key is None or not one.alternatively_signed_by(key):
        fail("has a bad ML-DSA signature")
    if any(extension.critical for extension in one.plain.extensions):
        fail("has a critical extension, so it may not be complete")
    end = one.plain.next_update_utc
    if at < one.plain.last_update_utc:
        fail(f"is from {_time(one.plain.last_update_utc)}; the clock says {_time(at)}")
    if end is None or at > end:
        fail(f"was good until {_time(end)}" if end else "does not say how long it is good")


def _extension(certificate: Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.plain.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
