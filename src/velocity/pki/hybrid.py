"""Hybrid certificates: ordinary X.509 with a second key and a second signature (ITU-T X.509 (10/2019) section 9.8).

Three non-critical extensions carry what a program without post-quantum cryptography passes over:

    2.5.29.72  subjectAltPublicKeyInfo   SubjectPublicKeyInfo of the subject's ML-DSA key (RFC 9881 section 4)
    2.5.29.73  altSignatureAlgorithm     AlgorithmIdentifier of the issuer's ML-DSA signature
    2.5.29.74  altSignatureValue         that signature, a BIT STRING

The alternative signature is made first, over the DER of TBSCertificate without its `signature` field and
without .74; the classical one then covers everything. Revocation lists carry .73 and .74 in the same way, and
certification requests (RFC 2986) carry all three as attributes, which proves that both keys are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from velocity.pki import der, keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from velocity.pki.keys import AlternativePublicKey, HybridKey, Level

__all__ = [
    "ALT_KEY",
    "ALT_SIGNATURE",
    "ALT_SIGNATURE_ALGORITHM",
    "Alternative",
    "Certificate",
    "Request",
    "RevocationList",
    "build_request",
    "read",
    "read_pem",
    "read_request",
    "read_revocation_list",
    "sign_certificate",
    "sign_revocation_list",
]

ALT_KEY: Final = "2.5.29.72"
ALT_SIGNATURE_ALGORITHM: Final = "2.5.29.73"
ALT_SIGNATURE: Final = "2.5.29.74"

_LEVEL_OIDS: dict[Level, str] = {
    "ML-DSA-44": "2.16.840.1.101.3.4.3.17",
    "ML-DSA-65": "2.16.840.1.101.3.4.3.18",
    "ML-DSA-87": "2.16.840.1.101.3.4.3.19",
}
_CLASSICAL_OIDS: dict[str, tuple[type, hashes.HashAlgorithm | None]] = {
    "1.2.840.10045.4.3.2": (ec.EllipticCurvePublicKey, hashes.SHA256()),
    "1.2.840.10045.4.3.3": (ec.EllipticCurvePublicKey, hashes.SHA384()),
    "1.2.840.10045.4.3.4": (ec.EllipticCurvePublicKey, hashes.SHA512()),
    "1.2.840.113549.1.1.11": (rsa.RSAPublicKey, hashes.SHA256()),
    "1.2.840.113549.1.1.12": (rsa.RSAPublicKey, hashes.SHA384()),
    "1.2.840.113549.1.1.13": (rsa.RSAPublicKey, hashes.SHA512()),
    "1.3.101.112": (ed25519.Ed25519PublicKey, None),
    "1.3.101.113": (ed448.Ed448PublicKey, None),
}
"""Signature algorithms that are still to be believed, by object identifier."""
_CERTIFICATE, _REVOCATION_LIST = 0xA3, 0xA0
"""The tag around the extensions: [3] in TBSCertificate, [0] in TBSCertList (RFC 5280 sections 4.1 and 5.1)."""
_ATTRIBUTES = 0xA0
_MAX_SIZE: Final = 1 << 16
"""Bytes of a certificate or request that is read."""
_MAX_LIST_SIZE: Final = 64 << 20
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class Alternative(NamedTuple):
    """What the three extensions say; None for one that is absent."""

    key: AlternativePublicKey | None
    algorithm: Level | None
    signature: bytes | None


class _Outer(NamedTuple):
    """Certificate, CertificateList or CertificationRequest: what is signed, how, and the signature."""

    tbs: bytes
    algorithm: bytes
    signature: bytes


@dataclass(frozen=True)
class Certificate:
    """A certificate that was read whole, hybrid or not."""

    plain: x509.Certificate
    der: bytes
    alternative: Alternative

    @cached_property
    def subject(self) -> str:
        """Whom it names, for people."""
        return describe_name(self.plain.subject)

    @property
    def is_hybrid(self) -> bool:
        """Whether it has all three extensions."""
        return None not in self.alternative

    @cached_property
    def covered(self) -> bytes:
        """What the alternative signature is made over."""
        return _covered(self.plain.tbs_certificate_bytes, _CERTIFICATE)

    def signed_by(self, key: object) -> bool:
        """Whether the classical signature is that of a public key."""
        return _classically_signed(_outer(self.der), _CERTIFICATE, key)

    def alternatively_signed_by(self, key: AlternativePublicKey) -> bool:
        """Whether the alternative signature is there and that of a public key."""
        return _alternatively_signed(self.alternative, self.covered, key)


@dataclass(frozen=True)
class RevocationList:
    """A revocation list (RFC 5280 section 5), with alternative signature or without."""

    plain: x509.CertificateRevocationList
    der: bytes
    alternative: Alternative

    def signed_by(self, key: object) -> bool:
        """Whether the classical signature is that of a public key."""
        return _classically_signed(_outer(self.der), _REVOCATION_LIST, key)

    def alternatively_signed_by(self, key: AlternativePublicKey) -> bool:
        """Whether the alternative signature is there and that of a public key."""
        return _alternatively_signed(self.alternative, _covered(self.plain.tbs_certlist_bytes, _REVOCATION_LIST), key)


@dataclass(frozen=True)
class Request:
    """A certification request whose signatures have been verified with the keys it carries."""

    plain: x509.CertificateSigningRequest
    alternative_key: AlternativePublicKey | None
    """None for a classical request."""


def read(data: bytes) -> Certificate:
    """A certificate from DER, every part of it looked at.

    Raises:
        DerError: these bytes are no certificate, or one that is not well formed.
    """
    if len(data) > _MAX_SIZE:
        raise der.DerError(f"it is larger than {_MAX_SIZE} bytes")
    try:
        plain = x509.load_der_x509_certificate(data)
        plain.public_key()
        _ = plain.subject, plain.issuer, plain.not_valid_before_utc, plain.not_valid_after_utc
        alternative = _alternative(plain.extensions)
        if plain.version is not x509.Version.v3 or plain.serial_number <= 0:
            raise der.DerError("it is not of version 3, or its serial number is not positive")
        outer = _outer(data)
        if not _names_algorithm(outer, _CERTIFICATE):
            raise der.DerError("it names two signature algorithms")
    except _UNREADABLE as error:
        raise der.DerError(_first_line(error)) from error
    return Certificate(plain, data, alternative)


def read_pem(data: bytes) -> list[Certificate]:
    """The certificates of a PEM file (RFC 7468 section 5), in order.

    Raises:
        DerError: there is none, or one is not well formed.
    """
    try:
        found = [read(plain.public_bytes(Encoding.DER)) for plain in x509.load_pem_x509_certificates(data)]
    except _UNREADABLE as error:
        raise der.DerError(_first_line(error)) from error
    if len(found) != data.count(b"-----BEGIN "):
        raise der.DerError("it is cut off, or holds something else too")
    return found


def sign_certificate(
    builder: x509.CertificateBuilder, issuer: HybridKey, alternative: AlternativePublicKey
) -> Certificate:
    """Sign a certificate twice.

    Args:
        builder: everything but the three extensions of this module.
        issuer: the keys of whoever issues it.
        alternative: the subject's ML-DSA key.
    """
    strength = _level(issuer)
    builder = builder.add_extension(_raw(ALT_KEY, keys.spki(alternative)), critical=False)
    builder = builder.add_extension(_raw(ALT_SIGNATURE_ALGORITHM, _algorithm(strength)), critical=False)
    draft = builder.sign(issuer.classical, keys.signature_hash(issuer.classical))
    return read(_sign_both(draft.tbs_certificate_bytes, _CERTIFICATE, issuer))


def sign_revocation_list(builder: x509.CertificateRevocationListBuilder, issuer: HybridKey) -> RevocationList:
    """Sign a revocation list twice."""
    builder = builder.add_extension(_raw(ALT_SIGNATURE_ALGORITHM, _algorithm(_level(issuer))), critical=False)
    draft = builder.sign(issuer.classical, keys.signature_hash(issuer.classical))
    return read_revocation_list(_sign_both(draft.tbs_certlist_bytes, _REVOCATION_LIST, issuer))


def read_revocation_list(data: bytes) -> RevocationList:
    """A revocation list from DER or PEM.

    Raises:
        DerError: these bytes are none.
    """
    if len(data) > _MAX_LIST_SIZE:
        raise der.DerError(f"it is larger than {_MAX_LIST_SIZE} bytes")
    try:
        pem = data.lstrip().startswith(b"-----")
        plain = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        _ = plain.issuer, plain.last_update_utc, plain.next_update_utc
        encoded = plain.public_bytes(Encoding.DER)
        alternative = _alternative(plain.extensions)
        outer = _outer(encoded)
        if not _names_algorithm(outer, _REVOCATION_LIST):
            raise der.DerError("it names two signature algorithms")
        return RevocationList(plain, encoded, alternative)
    except _UNREADABLE as error:
        raise der.DerError(_first_line(error)) from error


def build_request(subject: x509.Name, extensions: Iterable[x509.ExtensionType], key: HybridKey) -> bytes:
    """A certification request that proves possession of both keys, DER.

    The alternative signature is over CertificationRequestInfo with every attribute but altSignatureValue,
    as Bouncy Castle has it; the classical one covers that attribute too.

    Args:
        subject: whom the certificate shall name.
        extensions: what it shall carry, such as names.
        key: both private keys.
    """
    builder = x509.CertificateSigningRequestBuilder(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    draft = builder.sign(key.classical, keys.signature_hash(key.classical))
    version, name, public, attributes = _request_fields(draft.tbs_certrequest_bytes)
    attributes += [
        _attribute(ALT_KEY, keys.spki(key.alternative.public_key())),
        _attribute(ALT_SIGNATURE_ALGORITHM, _algorithm(_level(key))),
    ]
    signature = keys.sign(key.alternative, _request_info(version, name, public, attributes))
    attributes.append(_attribute(ALT_SIGNATURE, der.bit_string(signature)))
    tbs = _request_info(version, name, public, attributes)
    algorithm = _outer(draft.public_bytes(Encoding.DER)).algorithm
    return der.sequence(tbs, algorithm, der.bit_string(keys.sign(key.classical, tbs)))


def read_request(data: bytes) -> Request:
    """A certification request from DER or PEM, once its signatures have proved that its keys are held.

    Raises:
        DerError: these bytes are none, a signature does not verify, or one of the three attributes is missing.
    """
    if len(data) > _MAX_SIZE:
        raise der.DerError(f"it is larger than {_MAX_SIZE} bytes")
    try:
        pem = data.lstrip().startswith(b"-----")
        plain = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        _ = plain.subject, plain.public_key(), plain.extensions
        outer = _outer(plain.public_bytes(Encoding.DER))
        if not _signature_holds(outer, plain.public_key()):
            raise der.DerError("its classical signature is not by the key in it")
        return Request(plain, _proved_alternative(outer.tbs))
    except _UNREADABLE as error:
        raise der.DerError(_first_line(error)) from error


def describe_name(name: x509.Name) -> str:
    """The common name where there is one, else the whole (RFC 4514)."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "(no subject)"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _raw(dotted: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)


def _algorithm(strength: Level) -> bytes:
    """AlgorithmIdentifier of ML-DSA: no parameters (RFC 9881 section 2)."""
    return der.sequence(der.oid(_LEVEL_OIDS[strength]))


_ALGORITHMS: dict[bytes, Level] = {_algorithm(name): name for name in keys.LEVELS}


def _level(key: HybridKey) -> Level:
    strength = keys.level(key.alternative.public_key())
    assert strength is not None  # noqa: S101 - HybridKey holds nothing else
    return strength


def _alternative(extensions: x509.Extensions) -> Alternative:
    """What the three extensions hold, each checked for its form."""
    values: dict[str, bytes] = {}
    for extension in extensions:
        dotted = extension.oid.dotted_string
        if dotted in (ALT_KEY, ALT_SIGNATURE_ALGORITHM, ALT_SIGNATURE):
            if extension.critical or not isinstance(extension.value, x509.UnrecognizedExtension):
                raise der.DerError(f"its extension {dotted} is critical")
            values[dotted] = extension.value.value
    return _alternative_of(values)


def _alternative_of(values: dict[str, bytes]) -> Alternative:
    key = algorithm = signature = None
    if ALT_KEY in values:
        der.only(values[ALT_KEY], der.SEQUENCE)
        key = load_der_public_key(values[ALT_KEY])
        if keys.level(key) is None or keys.spki(key) != values[ALT_KEY]:  # type: ignore[arg-type]
            raise der.DerError("its alternative key is not an ML-DSA key")
    if ALT_SIGNATURE_ALGORITHM in values:
        algorithm = _ALGORITHMS.get(values[ALT_SIGNATURE_ALGORITHM])
        if algorithm is None:
            raise der.DerError("its alternative signature algorithm is not ML-DSA")
    if ALT_SIGNATURE in values:
        signature = der.bit_string_value(values[ALT_SIGNATURE])
    return Alternative(key, algorithm, signature)  # type: ignore[arg-type]


def _outer(data: bytes) -> _Outer:
    parts = der.children(der.only(data, der.SEQUENCE).content)
    if [part.tag for part in parts] != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise der.DerError("it is not three parts: what is signed, how, and the signature")
    return _Outer(parts[0].raw, parts[1].raw, der.bit_string_value(parts[2].raw))


def _fields(tbs: bytes, extensions_tag: int) -> tuple[list[der.Element], list[der.Element]]:
    """The fields before the extensions, and the extensions, which have to be there and last."""
    fields = der.children(der.only(tbs, der.SEQUENCE).content)
    shape = [0xA0, der.INTEGER, der.SEQUENCE] if extensions_tag == _CERTIFICATE else [der.INTEGER, der.SEQUENCE]
    if [field.tag for field in fields[: len(shape)]] != shape:
        raise der.DerError("it is not of the version that has extensions")
    if fields[-1].tag != extensions_tag:
        raise der.DerError("it has no extensions")
    return fields[:-1], der.children(der.only(fields[-1].content, der.SEQUENCE).content)


def _without_alternative_signature(extensions: list[der.Element]) -> list[bytes]:
    name = der.oid(ALT_SIGNATURE)
    return [one.raw for one in extensions if not one.content.startswith(name)]


def _covered(tbs: bytes, extensions_tag: int) -> bytes:
    """What the alternative signature is made over: no `signature` field, no altSignatureValue."""
    fields, extensions = _fields(tbs, extensions_tag)
    kept = [field.raw for field in fields]
    del kept[2 if extensions_tag == _CERTIFICATE else 1]
    rest = _without_alternative_signature(extensions)
    return der.sequence(*kept, der.encode(extensions_tag, der.sequence(*rest)))


def _sign_both(draft: bytes, extensions_tag: int, issuer: HybridKey) -> bytes:
    """Sign a draft, which has every extension but altSignatureValue: alternatively, then classically."""
    signature = keys.sign(issuer.alternative, _covered(draft, extensions_tag))
    fields, extensions = _fields(draft, extensions_tag)
    value = der.encode(der.OCTET_STRING, der.bit_string(signature))
    rest = [*_without_alternative_signature(extensions), der.sequence(der.oid(ALT_SIGNATURE), value)]
    tbs = der.sequence(*(field.raw for field in fields), der.encode(extensions_tag, der.sequence(*rest)))
    algorithm = fields[2 if extensions_tag == _CERTIFICATE else 1].raw
    return der.sequence(tbs, algorithm, der.bit_string(keys.sign(issuer.classical, tbs)))


def _classically_signed(outer: _Outer, extensions_tag: int, key: object) -> bool:
    return _names_algorithm(outer, extensions_tag) and _signature_holds(outer, key)


def _names_algorithm(outer: _Outer, extensions_tag: int) -> bool:
    """Whether what is signed names the algorithm it is signed with (RFC 5280 sections 4.1.1.2 and 5.1.1.2)."""
    fields = der.children(der.only(outer.tbs, der.SEQUENCE).content)
    index = 2 if extensions_tag == _CERTIFICATE else 1
    return len(fields) > index and fields[index].raw == outer.algorithm


def _signature_holds(outer: _Outer, key: object) -> bool:
    """Whether a signature is by `key`, and by an algorithm that goes with it."""
    identifier = der.children(der.only(outer.algorithm, der.SEQUENCE).content)
    if not identifier:
        return False
    try:
        kind, hash_ = _CLASSICAL_OIDS[der.oid_value(identifier[0].raw)]
    except (KeyError, der.DerError):
        return False
    return isinstance(key, kind) and keys.verify(key, outer.signature, outer.tbs, hash_)


def _alternatively_signed(alternative: Alternative, covered: bytes, key: AlternativePublicKey) -> bool:
    if alternative.signature is None or alternative.algorithm != keys.level(key):
        return False
    return keys.verify(key, alternative.signature, covered)


def _request_fields(tbs: bytes) -> tuple[bytes, bytes, bytes, list[bytes]]:
    """CertificationRequestInfo: version, subject, public key, attributes (RFC 2986 section 4.1)."""
    fields = der.children(der.only(tbs, der.SEQUENCE).content)
    if [field.tag for field in fields] != [der.INTEGER, der.SEQUENCE, der.SEQUENCE, _ATTRIBUTES]:
        raise der.DerError("it is not made of version, subject, key and attributes")
    version, name, public, attributes = fields
    return version.raw, name.raw, public.raw, [one.raw for one in der.children(attributes.content)]


def _request_info(version: bytes, name: bytes, public: bytes, attributes: list[bytes]) -> bytes:
    body = der.only(der.set_of(*attributes), der.SET).content
    return der.sequence(version, name, public, der.encode(_ATTRIBUTES, body))


def _attribute(dotted: str, value: bytes) -> bytes:
    return der.sequence(der.oid(dotted), der.set_of(value))


def _proved_alternative(tbs: bytes) -> AlternativePublicKey | None:
    """The alternative key of a request, once the alternative signature has proved that it is held."""
    version, name, public, attributes = _request_fields(tbs)
    values: dict[str, bytes] = {}
    covered = []
    for attribute in attributes:
        parts = der.children(der.only(attribute, der.SEQUENCE).content)
        if [part.tag for part in parts] != [der.OID, der.SET]:
            raise der.DerError("an attribute is not made of a type and values")
        dotted = der.oid_value(parts[0].raw)
        if dotted in values:
            raise der.DerError(f"the attribute {dotted} is there twice")
        if dotted in (ALT_KEY, ALT_SIGNATURE_ALGORITHM, ALT_SIGNATURE):
            values[dotted] = parts[1].content
        if dotted != ALT_SIGNATURE:
            covered.append(attribute)
    if not values:
        return None
    alternative = _alternative_of(values)
    if alternative.key is None or alternative.algorithm is None or alternative.signature is None:
        raise der.DerError("it has an alternative key, algorithm or signature, but not all three")
    if not _alternatively_signed(alternative, _request_info(version, name, public, covered), alternative.key):
        raise der.DerError("its alternative signature is not by the alternative key in it")
    return alternative.key
