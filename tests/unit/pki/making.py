"""Hybrid certificates for tests, with any of their parts wrong."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from velocity.pki import hybrid, keys, names, templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from velocity.pki.hybrid import Certificate
    from velocity.pki.keys import HybridKey

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True)
class Made:
    """A certificate and its keys."""

    certificate: Certificate
    key: HybridKey

    @property
    def der(self) -> bytes:
        return self.certificate.der


def usage(**bits: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: bits.get(name, False) for name in every})


def make(
    name: str,
    issuer: Made | None = None,
    *,
    key: HybridKey | None = None,
    profile: keys.Profile = "balanced",
    ca: bool = False,
    path_length: int | None = None,
    bears: Sequence[str] = (),
    begin: dt.datetime = NOW - DAY,
    end: dt.datetime = NOW + 7 * DAY,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    classical: bool = False,
    signed_with: HybridKey | None = None,
    **more: Any,
) -> Made:
    """A certificate signed by `issuer`, or by itself.

    Args:
        classical: without the three extensions.
        signed_with: other keys than the issuer's.
    """
    key = key or keys.generate(profile)
    subject = templates.subject(name)
    above = issuer.certificate.plain.subject if issuer else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(more.get("issuer_name", above))
        .public_key(key.classical.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if bears:
        builder = builder.add_extension(names.alternative_names(bears), critical=False)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    by = signed_with or (issuer.key if issuer else key)
    if classical:
        plain = templates.sign_classical(builder, by.classical)
        return Made(
            hybrid.Certificate(plain, plain.public_bytes(Encoding.DER), hybrid.Alternative(None, None, None)), key
        )
    return Made(hybrid.sign_certificate(builder, by, key.alternative.public_key()), key)


def root(name: str = "the root", **more: Any) -> Made:
    more.setdefault("end", NOW + 3650 * DAY)
    return make(name, ca=True, **more)


def leaf(issuer: Made, name: str = "a.example", **more: Any) -> Made:
    more.setdefault("bears", (name, "192.0.2.1"))
    more.setdefault("extra", [(usage(digital_signature=True), True), (SERVER, False)])
    return make(name, issuer, **more)
