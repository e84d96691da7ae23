"""Hybrid certificates, requests and revocation lists: made, read back, judged by OpenSSL, and refused when wrong."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from support import needs
from unit.pki.making import DAY, NOW, leaf, make, root
from velocity.pki import bundle, der, hybrid, keys, names, templates

if TYPE_CHECKING:
    from pathlib import Path

OIDS = (hybrid.ALT_KEY, hybrid.ALT_SIGNATURE_ALGORITHM, hybrid.ALT_SIGNATURE)


@pytest.mark.parametrize("kind", keys.KEY_TYPES)
@pytest.mark.parametrize("level", keys.LEVELS)
def test_every_pair_of_keys(kind: keys.KeyType, level: keys.Level, tmp_path: Path) -> None:
    key = keys.HybridKey(keys.generate_classical(kind), keys.generate_alternative(level))
    top = root(key=key)
    below = leaf(top, key=key)
    for made in (top, below):
        again = hybrid.read(made.der)
        assert again.is_hybrid
        assert again.signed_by(key.classical.public_key())
        assert again.alternatively_signed_by(key.alternative.public_key())
        assert again.alternative.algorithm == level
        assert again.alternative.key == key.alternative.public_key()
        other = keys.HybridKey(keys.generate_classical(kind), keys.generate_alternative(level))
        assert not again.signed_by(other.classical.public_key())
        assert not again.alternatively_signed_by(other.alternative.public_key())
    (tmp_path / "root.pem").write_bytes(bundle.pem(top.certificate.plain))
    (tmp_path / "leaf.pem").write_bytes(bundle.pem(below.certificate.plain))
    openssl = needs.command("openssl", "openssl")
    command = [openssl, "verify", "-attime", str(int(NOW.timestamp())), "-CAfile", str(tmp_path / "root.pem")]
    subprocess.run([*command, str(tmp_path / "leaf.pem")], capture_output=True, check=True)
    text = subprocess.run(
        [openssl, "x509", "-noout", "-text", "-in", tmp_path / "leaf.pem"], capture_output=True, text=True, check=True
    ).stdout
    assert all(oid in text for oid in OIDS)


def test_the_extensions_are_not_critical() -> None:
    for extension in root().certificate.plain.extensions:
        if extension.oid.dotted_string in OIDS:
            assert not extension.critical


def test_what_the_alternative_signature_covers() -> None:
    certificate = root().certificate
    fields, extensions = hybrid._fields(certificate.plain.tbs_certificate_bytes, hybrid._CERTIFICATE)
    covered = der.children(der.only(certificate.covered, der.SEQUENCE).content)
    assert [one.raw for one in covered[:-1]] == [field.raw for number, field in enumerate(fields) if number != 2]
    kept = der.children(der.only(covered[-1].content, der.SEQUENCE).content)
    assert [one.raw for one in kept] == [
        one.raw for one in extensions if not one.content.startswith(der.oid(hybrid.ALT_SIGNATURE))
    ]
    assert len(kept) == len(extensions) - 1
    assert keys.verify(certificate.alternative.key, certificate.alternative.signature or b"", certificate.covered)


def test_an_ordinary_certificate() -> None:
    plain = hybrid.read(make("a", classical=True).der)
    assert not plain.is_hybrid
    assert plain.alternative == (None, None, None)


def test_pem() -> None:
    top = root()
    below = leaf(top)
    text = bundle.pem(below.certificate.plain, top.certificate.plain)
    assert [one.der for one in hybrid.read_pem(text)] == [below.der, top.der]
    for bad in (b"", b"nothing", text[:-100], text.replace(b"MII", b"MIJ", 1)):
        with pytest.raises(der.DerError):
            hybrid.read_pem(bad)


def builder_with(oid: str, value: bytes, critical: bool = False) -> x509.CertificateBuilder:
    key = keys.generate()
    builder = templates.leaf(("a",), key.classical.public_key(), None, templates.Validity.of(NOW, DAY), "server")
    return builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical)


@pytest.mark.parametrize(
    ("oid", "value", "critical"),
    [
        (hybrid.ALT_KEY, b"", False),
        (hybrid.ALT_KEY, der.sequence(), False),
        (hybrid.ALT_KEY, keys.spki(keys.generate_classical("p256").public_key()), False),
        (hybrid.ALT_KEY, keys.spki(keys.generate_alternative("ML-DSA-44").public_key())[:-1], False),
        (hybrid.ALT_KEY, keys.spki(keys.generate_alternative("ML-DSA-44").public_key()) + b"\0", False),
        (hybrid.ALT_KEY, keys.spki(keys.generate_alternative("ML-DSA-44").public_key()), True),
        (hybrid.ALT_SIGNATURE_ALGORITHM, der.sequence(der.oid("1.2.840.10045.4.3.2")), False),
        (hybrid.ALT_SIGNATURE_ALGORITHM, der.sequence(der.oid("2.16.840.1.101.3.4.3.18"), b"\5\0"), False),
        (hybrid.ALT_SIGNATURE, b"\x04\x01\x00", False),
        (hybrid.ALT_SIGNATURE, b"\x03\x02\x01\x00", False),
    ],
)
def test_malformed_extensions(oid: str, value: bytes, critical: bool) -> None:
    plain = templates.sign_classical(builder_with(oid, value, critical), keys.generate_classical("p256"))
    with pytest.raises(der.DerError):
        hybrid.read(plain.public_bytes(Encoding.DER))


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_refused_in_one_way(data: bytes) -> None:
    for read in (hybrid.read, hybrid.read_pem, hybrid.read_request, hybrid.read_revocation_list):
        with pytest.raises(der.DerError):
            read(data)


@pytest.mark.parametrize("kind", keys.KEY_TYPES)
@pytest.mark.parametrize("level", keys.LEVELS)
def test_requests(kind: keys.KeyType, level: keys.Level, tmp_path: Path) -> None:
    key = keys.HybridKey(keys.generate_classical(kind), keys.generate_alternative(level))
    encoded = hybrid.build_request(templates.subject("a.example"), [names.alternative_names(["a.example"])], key)
    request = hybrid.read_request(encoded)
    assert request.alternative_key == key.alternative.public_key()
    assert request.plain.public_key() == key.classical.public_key()
    (tmp_path / "request.der").write_bytes(encoded)
    openssl = needs.command("openssl", "openssl")
    command = [openssl, "req", "-inform", "DER", "-in", str(tmp_path / "request.der"), "-verify", "-noout"]
    subprocess.run(command, capture_output=True, check=True)


def test_a_request_with_any_bit_flipped_is_refused() -> None:
    encoded = hybrid.build_request(templates.subject("a"), [names.alternative_names(["a"])], keys.generate("light"))
    for place in range(0, len(encoded) * 8, 61):
        flipped = bytearray(encoded)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(der.DerError):
            hybrid.read_request(bytes(flipped))


@pytest.mark.parametrize("harm", ["no signature", "no algorithm", "no key", "another's key", "twice"])
def test_requests_that_prove_nothing(harm: str) -> None:
    key = keys.generate()
    encoded = hybrid.build_request(templates.subject("a"), [names.alternative_names(["a"])], key)
    outer = hybrid._outer(encoded)
    version, name, public, attributes = hybrid._request_fields(outer.tbs)
    gone = {
        "no signature": hybrid.ALT_SIGNATURE,
        "no algorithm": hybrid.ALT_SIGNATURE_ALGORITHM,
        "no key": hybrid.ALT_KEY,
    }
    if harm in gone:
        attributes = [one for one in attributes if der.oid(gone[harm]) not in one[:12]]
    elif harm == "another's key":
        attributes = [one for one in attributes if der.oid(hybrid.ALT_KEY) not in one[:12]]
        attributes.append(
            hybrid._attribute(hybrid.ALT_KEY, keys.spki(keys.generate_alternative("ML-DSA-65").public_key()))
        )
    else:
        attributes.append(attributes[0])
    tbs = hybrid._request_info(version, name, public, attributes)
    forged = der.sequence(tbs, outer.algorithm, der.bit_string(keys.sign(key.classical, tbs)))
    with pytest.raises(der.DerError):
        hybrid.read_request(forged)


def test_revocation_lists() -> None:
    key = keys.generate()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(templates.subject("the root"))
        .last_update(NOW)
        .next_update(NOW + DAY)
    )
    one = hybrid.sign_revocation_list(builder, key)
    for data in (one.der, one.plain.public_bytes(Encoding.PEM)):
        again = hybrid.read_revocation_list(data)
        assert again.signed_by(key.classical.public_key())
        assert again.alternatively_signed_by(key.alternative.public_key())
        assert not again.signed_by(keys.generate().classical.public_key())
        assert not again.alternatively_signed_by(keys.generate().alternative.public_key())
