"""A hybrid certificate beside one of a public authority: same names, same classical key, same expiry.

Public authorities such as Let's Encrypt sign classically. Browsers go on to get their chain; clients that speak
`velocity/1` get a certificate by the Velocity CA for the same key, which names the original by its hash in a
RelatedCertificate extension (RFC 9763 section 4), so that the two are seen to belong to one server.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Final

from cryptography import x509

from velocity.errors import PkiError
from velocity.pki import bundle, der, hybrid, keys, names
from velocity.pki.bundle import Issued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from velocity.pki.ca import Authority
    from velocity.pki.keys import ClassicalKey, Profile

__all__ = ["RELATED_CERTIFICATE", "hybridize", "related", "related_digest"]

RELATED_CERTIFICATE: Final = "1.3.6.1.5.5.7.1.36"
_SHA256 = "2.16.840.1.101.3.4.2.1"
_USUAL: dict[str, Profile] = {"p256": "balanced", "p384": "secure", "ed25519": "balanced"}
_NEGOTIATED = {"light": "p256", "balanced": "p256", "secure": "p384"}


def hybridize(
    authority: Authority, chain: Sequence[bytes], key: ClassicalKey, profile: Profile | None = None
) -> Issued:
    """Certify the key of a classical chain again, with a fresh ML-DSA key beside it.

    Args:
        authority: which issues the hybrid certificate.
        chain: DER, leaf first, as the public authority issued it.
        key: the leaf's private key.
        profile: strength of the ML-DSA key; what is negotiated with a key of this kind by default.

    Returns:
        With the original chain as the lean one.

    Raises:
        PkiError: the key is another certificate's (`KEY_MISMATCH`) or does not suit the profile (`KEY_UNSUITABLE`),
            the chain does not hold together or has expired (`CERT_UNSUITABLE`); or as `Authority.issue`.
    """
    try:
        links = [hybrid.read(data) for data in chain]
    except der.DerError as error:
        raise PkiError("CERT_UNREADABLE", f"the chain holds a certificate that is malformed: {error}") from error
    leaf = links[0]
    public = key.public_key()
    if keys.spki(public) != _spki_of(leaf.plain):
        message = f"the key is not that of {leaf.subject}"
        raise PkiError(
            "KEY_MISMATCH", message, "pass the key that the chain was issued for, privkey.pem of the same folder"
        )
    kind = keys.key_type(public)
    assert kind is not None  # noqa: S101 - ClassicalKey is nothing else
    profile = profile or _USUAL[kind]
    if kind != "ed25519" and _NEGOTIATED[profile] != kind:
        message = f"the profile {profile} is not negotiated with an {keys.name_of(public)} key"
        raise PkiError("KEY_UNSUITABLE", message, f"choose --profile {_USUAL[kind]}")
    _check(links, authority)
    alternative = keys.generate_alternative(keys.PROFILES[profile][1])
    certificate = authority.certify(leaf.plain, alternative.public_key(), related(leaf.der))
    return Issued(
        leaf=certificate,
        chain=authority.chain_of(certificate.plain),
        classical_chain=bundle.pem(*(link.plain for link in links)),
        root=authority.root_pem,
        classical_key=key,
        alternative_key=alternative,
    )


def related(certificate: bytes) -> x509.UnrecognizedExtension:
    """The extension that names another certificate by the SHA-256 of its DER (RFC 9763 section 4.1)."""
    digest = hashlib.sha256(certificate).digest()
    value = der.sequence(der.sequence(der.oid(_SHA256)), der.encode(der.OCTET_STRING, digest))
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(RELATED_CERTIFICATE), value)


def related_digest(certificate: x509.Certificate) -> bytes | None:
    """The SHA-256 of the certificate that this one says it belongs with; None where it says so of none."""
    try:
        extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(RELATED_CERTIFICATE)).value
        if not isinstance(extension, x509.UnrecognizedExtension):
            return None
        algorithm, digest = der.children(der.only(extension.value, der.SEQUENCE).content)
        named = der.oid_value(der.children(algorithm.content)[0].raw)
    except (x509.ExtensionNotFound, der.DerError, ValueError, IndexError):
        return None
    return digest.content if named == _SHA256 and digest.tag == der.OCTET_STRING else None


def _spki_of(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check(links: Sequence[hybrid.Certificate], authority: Authority) -> None:
    """Whether a classical chain holds together, up to the last certificate in it."""

    def unsuitable(message: str, hint: str) -> PkiError:
        return PkiError("CERT_UNSUITABLE", message, hint)

    leaf, now = links[0], authority.now()
    if leaf.is_hybrid:
        raise unsuitable(f"the certificate of {leaf.subject} is hybrid already", "there is nothing to do")
    if not names.names_of(leaf.plain):
        raise unsuitable(f"the certificate of {leaf.subject} bears no name", "pass the certificate of a server")
    for link in links:
        if not link.plain.not_valid_before_utc <= now <= link.plain.not_valid_after_utc:
            until = link.plain.not_valid_after_utc
            raise unsuitable(f"the certificate of {link.subject} is good until {until:%Y-%m-%d} only", "renew it first")
    for below, above in itertools.pairwise(links):
        if below.plain.issuer != above.plain.subject or not below.signed_by(above.plain.public_key()):
            message = f"the certificate of {below.subject} was not issued by {above.subject}, which follows it"
            raise unsuitable(message, "pass the chain as it was issued, fullchain.pem, leaf first")
