"""A hybrid certificate beside one of a public authority."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from unit.pki.making import DAY, NOW
from velocity.errors import PkiError
from velocity.pki import bundle, chain, der, founding, hybrid, hybridize, keys, names, revocation, templates

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from velocity.pki.ca import Authority
    from velocity.pki.keys import ClassicalKey

NAMES = ("example.com", "*.example.com")
END = NOW + 89 * DAY


class PublicAuthority:
    """What Let's Encrypt does: an RSA root, an ECDSA authority below it, classical leaves."""

    def __init__(self) -> None:
        self.root_key = rsa.generate_private_key(65537, 2048)
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.name = templates.subject("Public E5")
        root = templates.subject("Public Root")
        self.certificate = (
            self._builder(self.name, root, self.key.public_key(), NOW + 900 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.root_key, hashes.SHA256())
        )

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: Any, end: dt.datetime, begin: dt.datetime = NOW - DAY
    ) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begin, end)

    def issue(self, key: ClassicalKey, bears: tuple[str, ...] = NAMES, end: dt.datetime = END) -> list[bytes]:
        subject = x509.Name([])
        builder = self._builder(subject, self.name, key.public_key(), end, NOW - 2 * DAY)
        if bears:
            builder = builder.add_extension(names.alternative_names(bears), critical=True)
        leaf = builder.sign(self.key, hashes.SHA384())
        return [one.public_bytes(Encoding.DER) for one in (leaf, self.certificate)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return founding.create(tmp_path / "ca", clock=lambda: NOW)


@pytest.mark.parametrize("intermediate", [False, True])
@pytest.mark.parametrize(("kind", "level"), [("p256", "ML-DSA-65"), ("p384", "ML-DSA-87"), ("ed25519", "ML-DSA-65")])
def test_hybridize(tmp_path: Path, kind: keys.KeyType, level: keys.Level, intermediate: bool) -> None:
    authority = founding.create(tmp_path / "ca", intermediate=intermediate, clock=lambda: NOW)
    key = keys.generate_classical(kind)
    original = PublicAuthority().issue(key)
    issued = hybridize.hybridize(authority, original, key)
    leaf, before = issued.leaf, hybrid.read(original[0])
    assert names.names_of(leaf.plain) == NAMES
    assert leaf.plain.public_key() == key.public_key()
    assert leaf.plain.not_valid_after_utc == before.plain.not_valid_after_utc
    assert leaf.plain.subject == before.plain.subject
    assert keys.level(leaf.alternative.key) == level
    assert hybridize.related_digest(leaf.plain) == hashlib.sha256(original[0]).digest()
    chained = [one.der for one in hybrid.read_pem(issued.chain)]
    chain.verify(chained, [authority.root.der], at=NOW, name="a.example.com")
    written = bundle.write(issued, tmp_path / "out")
    lean = keys.sibling(written.chain, "classical").read_bytes()
    assert [one.der for one in hybrid.read_pem(lean)] == original
    assert keys.load(written.key).alternative.public_key() == leaf.alternative.key
    assert authority.log.entries[-1]["classical_serial"] is None
    revocation.revoke(authority, leaf.plain.serial_number)
    assert len(hybrid.read_revocation_list(revocation.revocation_list(authority)).plain) == 1


def test_related_certificate_as_rfc_9763_has_it() -> None:
    digest = hashlib.sha256(b"certificate").hexdigest()
    assert hybridize.related(b"certificate").value.hex() == "302f300b0609608648016503040201" + "0420" + digest


@pytest.mark.parametrize("value", [b"", b"\x30\x00", der.sequence(der.sequence(der.oid("1.2.3")), b"\4\1\0")])
def test_related_to_nothing_we_know(value: bytes) -> None:
    oid = x509.ObjectIdentifier(hybridize.RELATED_CERTIFICATE)
    key = keys.generate()
    builder = templates.leaf(("a",), key.classical.public_key(), None, templates.Validity.of(NOW, DAY), "server")
    plain = templates.sign_classical(
        builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False), key.classical
    )
    assert hybridize.related_digest(plain) is None


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("another key", "KEY_MISMATCH"),
        ("profile", "KEY_UNSUITABLE"),
        ("expired", "CERT_UNSUITABLE"),
        ("no names", "CERT_UNSUITABLE"),
        ("not its issuer", "CERT_UNSUITABLE"),
        ("hybrid", "CERT_UNSUITABLE"),
        ("garbage", "CERT_UNREADABLE"),
        ("too long", "CA_POLICY_VIOLATION"),
    ],
)
def test_refused(authority: Authority, harm: str, code: str) -> None:
    key, public = keys.generate_classical("p256"), PublicAuthority()
    original, profile = public.issue(key), None
    match harm:
        case "another key":
            key = keys.generate_classical("p256")
        case "profile":
            profile = "secure"
        case "expired":
            original = public.issue(key, end=NOW - DAY)
        case "no names":
            original = public.issue(key, bears=())
        case "not its issuer":
            original[1] = PublicAuthority().issue(key)[1]
        case "hybrid":
            issued = authority.issue(["a"])
            assert issued.classical_key is not None
            key, original = issued.classical_key, [issued.leaf.der]
        case "garbage":
            original[1] = b"garbage"
        case "too long":
            original = public.issue(key, end=NOW + 91 * DAY)
    before = len(authority.log.entries)
    with pytest.raises(PkiError) as caught:
        hybridize.hybridize(authority, original, key, profile)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.hint or harm == "garbage"
    assert len(authority.log.entries) == before
