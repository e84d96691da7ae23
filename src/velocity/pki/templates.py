"""What the certificates of an authority and of those it certifies look like, before they are signed (RFC 5280)."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from velocity.pki import names as names_
from velocity.pki.keys import signature_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from velocity.pki.chain import Usage
    from velocity.pki.keys import ClassicalKey, ClassicalPublicKey
    from velocity.pki.policy import Constraints, Revocation

__all__ = ["SKEW", "Validity", "authority", "leaf", "sign_classical", "subject", "with_names"]

SKEW = dt.timedelta(hours=1)
"""How far the clocks of those who verify may be behind."""
_MAX_COMMON_NAME = 64
"""RFC 5280 appendix A.1, ub-common-name."""
_PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


class Validity(NamedTuple):
    """From when until when."""

    begin: dt.datetime
    end: dt.datetime

    @classmethod
    def of(cls, now: dt.datetime, lifetime: dt.timedelta) -> Validity:
        """From an hour ago, for clocks that are behind, until `lifetime` from now; in whole seconds."""
        now = now.replace(microsecond=0)
        return cls(now - SKEW, now + lifetime)


def subject(common_name: str) -> x509.Name:
    """A name of one common name; an empty one where it would be too long."""
    if len(common_name) > _MAX_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def authority(
    name: x509.Name,
    key: ClassicalPublicKey,
    issuer: x509.Certificate | None,
    validity: Validity,
    constraints: Constraints,
    path_length: int | None,
) -> x509.CertificateBuilder:
    """A root (no issuer), or an authority below one."""
    builder = _base(name, key, issuer, validity)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_key_usage(issues=True), critical=True)
    if constraints.permit or constraints.exclude:
        permitted = names_.subtrees(constraints.permit) or None
        limits = x509.NameConstraints(permitted, names_.subtrees(constraints.exclude) or None)
        builder = builder.add_extension(limits, critical=True)
    return builder


def leaf(
    names: Sequence[str],
    key: ClassicalPublicKey,
    issuer: x509.Certificate | None,
    validity: Validity,
    usage: Usage,
    revocation: Revocation | None = None,
) -> x509.CertificateBuilder:
    """A server or client; signed by itself where there is no issuer."""
    return with_names(subject(names[0]), names_.alternative_names(names), key, issuer, validity, usage, revocation)


def with_names(
    name: x509.Name,
    names: x509.SubjectAlternativeName,
    key: ClassicalPublicKey,
    issuer: x509.Certificate | None,
    validity: Validity,
    usage: Usage,
    revocation: Revocation | None = None,
) -> x509.CertificateBuilder:
    """As `leaf`, with the names as an extension that there is already."""
    builder = _base(name, key, issuer, validity)
    builder = builder.add_extension(names, critical=not name.rdns)  # RFC 5280 section 4.2.1.6
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(issues=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([_PURPOSES[usage]]), critical=False)
    if revocation is None:
        return builder
    if revocation.crl_urls:
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
            for url in revocation.crl_urls
        ]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    if revocation.ocsp_urls:
        access = [
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
            for url in revocation.ocsp_urls
        ]
        builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
    return builder


def sign_classical(builder: x509.CertificateBuilder, key: ClassicalKey) -> x509.Certificate:
    """Sign once only: for clients that would make nothing of a second signature."""
    return builder.sign(key, signature_hash(key))


def _base(
    name: x509.Name, key: ClassicalPublicKey, issuer: x509.Certificate | None, validity: Validity
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(key)
    above = own if issuer is None else issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=name if issuer is None else issuer.subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=validity.begin,
        not_valid_after=validity.end,
    ).add_extension(own, critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
    return builder.add_extension(identifier, critical=False)


def _key_usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )
