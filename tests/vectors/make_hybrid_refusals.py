"""Makes `hybrid-refusals.json` anew: what the vectors of the specification leave out.

    PYTHONPATH=src:tests python tests/vectors/make_hybrid_refusals.py

Revocation lists, encodings that are not DER, one extension missing, other kinds of keys, and single bits flipped all
over a chain. What stands there as cause and link is what `velocity.pki.chain` says, so that a second implementation
can be held against it. Keys and signatures are random, so every run makes other bytes.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from unit.pki.making import CLIENT, DAY, NOW, Made, leaf, make, usage
from vectors.make_hybrid_certificates import text
from velocity.errors import ChainError, PkiError
from velocity.pki import chain, der, hybrid, keys, names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OUT = Path(__file__).with_name("hybrid-refusals.json")
CERTIFICATE = hybrid._CERTIFICATE
FLIPS = 200
"""Bits flipped all over each certificate; three more in each of its parts."""

sampled = random.Random(1)


def light(name: str = "root", issuer: Made | None = None, **more: Any) -> Made:
    more.setdefault("end", NOW + 365 * DAY)
    return make(name, issuer, **{"profile": "light", "ca": True, **more})


def end(issuer: Made, **more: Any) -> Made:
    return leaf(issuer, **{"profile": "light", **more})


class Vectors:
    def __init__(self) -> None:
        self.certificates: dict[str, str] = {}
        self.lists: dict[str, str] = {}
        self.cases: list[dict[str, Any]] = []

    @staticmethod
    def name(known: dict[str, str], data: bytes) -> str:
        encoded = text(data)
        for name, other in known.items():
            if other == encoded:
                return name
        name = str(len(known))
        known[name] = encoded
        return name

    def case(
        self,
        what: str,
        links: Sequence[Made | bytes],
        roots: Sequence[Made | bytes],
        cause: str | None,
        link: int = 0,
        **more: Any,
    ) -> None:
        """Put a case down, with what Python says of it, which has to be `cause` and `link`.

        Args:
            what: the difference from a chain that passes.
            links: leaf first.
            roots: what is trusted.
            cause: None for one that passes.
            link: where.
            **more: `name`, `usage`, `at_least`, `lists`; and `webpki`, the cause for which webpki alone refuses it.
        """
        sent = [one if isinstance(one, bytes) else one.der for one in links]
        trusted = [one if isinstance(one, bytes) else one.der for one in roots]
        asked = {"name": more.get("name", "a.example"), "usage": more.get("usage", "server")}
        asked["at_least"] = more.get("at_least", "ML-DSA-44")
        said = verdict(sent, trusted, revocation=more.get("lists", ()), **asked)
        wanted = (cause, link) if cause else None
        assert said == wanted, f"{what}: {said}"
        self.cases.append(
            {
                "what": what,
                "chain": [self.name(self.certificates, one) for one in sent],
                "roots": [self.name(self.certificates, one) for one in trusted],
                "lists": [self.name(self.lists, one) for one in more.get("lists", ())],
                "at": NOW.isoformat(),
                **asked,
                "cause": cause,
                "link": link if cause else None,
                **({"webpki": more["webpki"]} if "webpki" in more else {}),
            }
        )


def verdict(links: Sequence[bytes], roots: Sequence[bytes], **asked: Any) -> tuple[str, int] | None:
    try:
        chain.verify(links, roots, at=NOW, **asked)
    except ChainError as error:
        return error.cause, error.link
    except PkiError as error:
        if error.code == "CRL_UNREADABLE":
            return "bad_revocation_list", 0
        raise
    return None


def same(parts: list[bytes]) -> list[bytes]:
    return parts


def remade(
    made: Made,
    by: Made,
    *,
    fields: Callable[[list[bytes]], list[bytes]] = same,
    extensions: Callable[[list[bytes]], list[bytes]] = same,
    last: Callable[[list[bytes]], list[bytes]] = same,
) -> bytes:
    """A certificate with other fields or extensions, signed twice again.

    Args:
        made: the certificate.
        by: who signs it.
        fields: makes the fields before the extensions from what they were.
        extensions: makes the extensions that both signatures cover.
        last: makes all the extensions, which only the classical signature covers.
    """
    before, old = hybrid._fields(made.certificate.plain.tbs_certificate_bytes, CERTIFICATE)
    first = fields([one.raw for one in before])
    draft = der.sequence(*first, der.explicit(3, der.sequence(*extensions(hybrid._without_alternative_signature(old)))))
    outer = hybrid._outer(hybrid._sign_both(draft, CERTIFICATE, by.key))
    _, new = hybrid._fields(outer.tbs, CERTIFICATE)
    tbs = der.sequence(*first, der.explicit(3, der.sequence(*last([one.raw for one in new]))))
    return der.sequence(tbs, first[2], der.bit_string(keys.sign(by.key.classical, tbs)))


def signed_with(made: Made, algorithm: str, sign: Callable[[bytes], bytes]) -> bytes:
    """A certificate with another classical signature; the alternative one does not cover which."""
    before, extensions = hybrid._fields(made.certificate.plain.tbs_certificate_bytes, CERTIFICATE)
    fields = [one.raw for one in before]
    fields[2] = der.sequence(der.oid(algorithm))
    tbs = der.sequence(*fields, der.explicit(3, der.sequence(*(one.raw for one in extensions))))
    return der.sequence(tbs, fields[2], der.bit_string(sign(tbs)))


def changed(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """What replaces octets that have to be there; lengths around them must stay the same."""

    def change(parts: list[bytes]) -> list[bytes]:
        assert any(old in part for part in parts), old.hex()
        return [part.replace(old, new) for part in parts]

    return change


def extension(dotted: str, value: bytes, critical: bytes = b"") -> bytes:
    return der.sequence(der.oid(dotted), critical, der.encode(der.OCTET_STRING, value))


def replaced(dotted: str, *new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """What puts other extensions in the place of one."""

    def replace(parts: list[bytes]) -> list[bytes]:
        kept = [part for part in parts if not der.only(part, der.SEQUENCE).content.startswith(der.oid(dotted))]
        return [*kept, *new]

    return replace


def good_ones(vectors: Vectors, top: Made) -> None:
    own = light("a.example", ca=False, bears=("a.example",))
    vectors.case("a leaf that is trusted itself", [own], [own], None)
    vectors.case("a leaf that signed itself and is not trusted", [own], [top], "unknown_root")
    many = end(top, bears=("a.example", "*.b.example", "192.0.2.1", "2001:db8::1"))
    for name in ("A.Example", "a.example.", "x.b.example", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", None):
        vectors.case(f"the name {name}", [many], [top], None, name=name)
    for name in ("x.a.example", "x.y.b.example", ".b.example", "b.example", "", "192.0.2.2", "example", "a b", "a\n"):
        vectors.case(f"the name {name!r}", [many], [top], "wrong_name", name=name)
    vectors.case("no names at all", [end(top, bears=())], [top], "wrong_name")
    any_purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    vectors.case("for any purpose", [end(top, extra=[(any_purpose, False)])], [top], None)
    vectors.case("for no stated purpose", [end(top, extra=[])], [top], None)
    vectors.case("for clients, as client", [end(top, extra=[(CLIENT, False)])], [top], None, usage="client")
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    vectors.case("an unknown extension that is not critical", [end(top, extra=[(unknown, False)])], [top], None)
    inner = [top]
    for number in range(7):
        inner.insert(0, light(f"between {number}", inner[0]))
    vectors.case("eight certificates", [end(inner[1]), *inner[1:]], inner[-1:], None)
    # webpki goes through six authorities at most.
    vectors.case("nine, the root not sent", [end(inner[0]), *inner[:-1]], inner[-1:], None, webpki="path_too_long")
    vectors.case("nine certificates", [end(inner[0]), *inner], inner[-1:], "malformed")
    vectors.case("no certificate", [], [top], "malformed")
    vectors.case("no root", [many], [], "unknown_root")


def kinds_of_keys(vectors: Vectors) -> None:
    ed25519 = light(key=keys.generate("light", "ed25519"))
    vectors.case("Ed25519", [end(ed25519)], [ed25519], None)
    p384 = light(key=keys.generate("light", "p384"))
    one = end(p384)
    vectors.case("ECDSA P-384", [one], [p384], None)
    secret = p384.key.classical
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    hashed: tuple[tuple[str, hashes.HashAlgorithm, str | None], ...] = (
        ("1.2.840.10045.4.3.2", hashes.SHA256(), None),
        ("1.2.840.10045.4.3.4", hashes.SHA512(), None),
        ("1.2.840.10045.4.1", hashes.SHA1(), "bad_classical_signature"),
    )
    for dotted, hash_, cause in hashed:
        data = signed_with(one, dotted, lambda tbs, hash_=hash_: secret.sign(tbs, ec.ECDSA(hash_)))  # type: ignore[misc]
        vectors.case(f"ECDSA P-384 with {hash_.name}", [data], [p384], cause)
    p521 = ec.generate_private_key(ec.SECP521R1())
    top = light(key=keys.HybridKey(p521, keys.generate_alternative("ML-DSA-44")))
    data = signed_with(end(top), "1.2.840.10045.4.3.4", lambda tbs: p521.sign(tbs, ec.ECDSA(hashes.SHA512())))
    vectors.case("ECDSA P-521", [data], [top], None)
    modulus = rsa.generate_private_key(65537, 2048)
    real = keys.sign

    def sign(key: Any, data: bytes) -> bytes:
        return modulus.sign(data, padding.PKCS1v15(), hashes.SHA256()) if key is modulus else real(key, data)

    usual = mock.patch.object(keys, "signature_hash", return_value=hashes.SHA256())
    with mock.patch.object(keys, "sign", sign), usual:
        top = light(key=keys.HybridKey(modulus, keys.generate_alternative("ML-DSA-44")))  # type: ignore[arg-type]
        vectors.case("RSA 2048", [end(top)], [top], None)


def roots_and_extensions(vectors: Vectors, top: Made) -> None:
    good = end(top)
    vectors.case("another root of the same name first", [good], [light(), top], None)
    vectors.case("another root of the same name", [good], [light()], "bad_classical_signature")
    own = x509.SubjectKeyIdentifier.from_public_key(top.key.classical.public_key())
    known = light(key=top.key, extra=[(own, False)])
    other = light()
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(other.key.classical.public_key())
    vectors.case("another key identifier", [end(other, extra=[(above, False)])], [known], "unknown_root")
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(top.key.classical.public_key())
    vectors.case("the right key identifier", [end(top, extra=[(above, False)])], [known], None)
    middle = light("between", top)
    vectors.case("not in order", [end(top), middle], [top], "unknown_root")
    vectors.case("the root sent, but not trusted", [good, top], [light("another")], "unknown_root", 1)
    classical = light(classical=True)
    vectors.case("a classical root", [end(classical)], [classical], "missing_extension", 1)
    between = light("between", top, classical=True)
    vectors.case("classical in between", [end(between), between], [top], "missing_extension", 1)
    for dotted in (hybrid.ALT_KEY, hybrid.ALT_SIGNATURE_ALGORITHM):
        data = remade(good, top, extensions=replaced(dotted))
        vectors.case(f"without {dotted}", [data], [top], "missing_extension")
    data = remade(good, top, last=replaced(hybrid.ALT_SIGNATURE))
    vectors.case(f"without {hybrid.ALT_SIGNATURE}", [data], [top], "missing_extension")
    stronger = keys.HybridKey(top.key.classical, keys.generate_alternative("ML-DSA-65"))
    vectors.case("a signature of another level", [end(top, signed_with=stronger)], [top], "bad_ml_dsa_signature")
    labelled = replaced(
        hybrid.ALT_SIGNATURE_ALGORITHM,
        extension(hybrid.ALT_SIGNATURE_ALGORITHM, hybrid._algorithm("ML-DSA-65")),
    )
    data = remade(good, top, extensions=labelled)
    vectors.case("a signature said to be of another level", [data], [top], "bad_ml_dsa_signature")
    first = light("strong", profile="balanced")
    weak = light("weak", first)
    vectors.case("weak in between", [end(weak, profile="balanced"), weak], [first], "weak_key", at_least="ML-DSA-65")
    authority = light(bears=("a.example",))
    vectors.case("a root as leaf", [authority], [authority], "ca_as_leaf")
    own_leaf = light("a.example", ca=False, bears=("a.example",))
    vectors.case("issued by a leaf that is trusted", [end(own_leaf)], [own_leaf], "leaf_as_ca", 1)
    short = light(path_length=0)
    renewed = light("root", short)
    vectors.case("self-issued below a path length of 0", [end(renewed), renewed], [short], None)
    idle = light(extra=[(usage(crl_sign=True), True)])
    vectors.case("a root that may not sign", [end(idle)], [idle], "wrong_usage", 1)
    clients = light(extra=[(CLIENT, False)])
    vectors.case("a root for clients", [end(clients)], [clients], "wrong_usage", 1)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    strange = light(extra=[(unknown, True)])
    vectors.case(
        "a root with an unknown critical extension", [end(strange)], [strange], "unknown_critical_extension", 1
    )
    late: dict[str, Any] = {"begin": NOW + dt.timedelta(seconds=1)}
    early: dict[str, Any] = {"end": NOW - dt.timedelta(seconds=1)}
    for what, times, cause in (("not yet", late, "not_yet_valid"), ("no more", early, "expired")):
        old = light(**times)
        vectors.case(f"a root {what} valid", [end(old)], [old], cause, 1)
        vectors.case(f"a leaf {what} valid", [end(top, **times)], [top], cause)
    vectors.case("valid in this second", [end(top, begin=NOW, end=NOW)], [top], None)


def constraints(vectors: Vectors) -> None:
    outside: list[tuple[list[str], list[str], list[str], str | None]] = [
        (["example.com"], [], ["example.com", "notexample.com"], "name_constraint"),
        ([], ["a.example"], ["x.a.example"], "name_constraint"),
        ([], ["secret.a.example"], ["*.a.example"], "name_constraint"),
        (["10.0.0.0/8"], [], ["192.0.2.1"], "name_constraint"),
        ([], ["2001:db8::/32"], ["2001:db8::1"], "name_constraint"),
        (["10.0.0.0/8"], [], ["2001:db8::1"], "name_constraint"),
        ([".example.com"], [], ["example.com"], "name_constraint"),
        (["example.com"], [], ["example.com", "a.EXAMPLE.com", "*.example.com", "192.0.2.1"], None),
        (["10.0.0.0/8", "example.com"], [], ["10.1.2.3", "example.com"], None),
        ([], ["secret.example.com"], ["example.com", "*.a.example.com"], None),
        ([".example.com"], [], ["a.example.com"], None),
    ]
    for permit, exclude, bears, cause in outside:
        limits = x509.NameConstraints(names.subtrees(permit) or None, names.subtrees(exclude) or None)
        top = light(extra=[(limits, True)])
        vectors.case(f"{bears} within {permit} without {exclude}", [end(top, bears=bears)], [top], cause, name=bears[0])
    limits = x509.NameConstraints(names.subtrees(["example.com"]), None)
    top = light(extra=[(limits, True)])
    vectors.case("a leaf of its issuer's name", [leaf(top, "root", bears=["a.example"])], [top], "name_constraint")
    middle = light("root", top, bears=["b.example"])
    one = end(middle, bears=["example.com"])
    # webpki makes no exception of authorities that are self-issued, and says of them what it first tried.
    path, apart = [one, middle], "bad_classical_signature"
    vectors.case("a self-issued authority", path, [top], None, name="example.com", webpki=apart)
    uri = x509.NameConstraints(None, [x509.UniformResourceIdentifier("example.com")])
    top = light(extra=[(uri, True)])
    other = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("https://example.org")])
    one = end(top, bears=(), extra=[(other, False)])
    vectors.case("names that cannot be compared", [one], [top], "name_constraint", name=None)
    vectors.case("names of another kind", [end(top)], [top], None)
    # webpki refuses every certificate under a constraint on directory names; ours are not of that kind.
    directory = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")]))
    top = light(extra=[(x509.NameConstraints([directory], None), True)])
    vectors.case("within a directory", [end(top)], [top], None, webpki="name_constraint")
    top = light(extra=[(x509.NameConstraints(None, [directory]), True)])
    vectors.case("in an excluded directory", [end(top)], [top], "name_constraint")


def malformed(vectors: Vectors, top: Made) -> None:
    good = end(top)
    basic, alt_key, alt_algorithm = "2.5.29.19", hybrid.ALT_KEY, hybrid.ALT_SIGNATURE_ALGORITHM
    alternative = good.key.alternative.public_key()
    spki = keys.spki(alternative)
    serial = der.integer(good.certificate.plain.serial_number)
    true, false = b"\1\1\xff", b"\1\1\0"
    not_ca = der.sequence()
    both = [der.oid("2.5.4.3"), der.encode(0x0C, b"a")], [der.oid("2.5.4.10"), der.encode(0x0C, b"a")]
    unsorted = der.sequence(der.encode(der.SET, der.sequence(*both[1]) + der.sequence(*both[0])))
    empty_sets = der.sequence(der.encode(der.SET, b""))
    number = der.sequence(der.encode(der.SET, der.sequence(der.oid("2.5.4.3"), der.integer(1))))
    no_network = der.sequence(der.encode(0xA1, der.sequence(der.encode(0x87, bytes(7) + b"\1"))))

    def fields(number: int, new: bytes) -> bytes:
        return remade(good, top, fields=lambda old: [*old[:number], new, *old[number + 1 :]])

    def extensions(dotted: str, *new: bytes) -> bytes:
        return remade(good, top, extensions=replaced(dotted, *new))

    data = good.der
    wrong: dict[str, bytes] = {
        "nothing": b"",
        "no certificate": b"\x30\x00",
        "cut off": data[:-1],
        "followed by an octet": data + b"\0",
        "too large": b"\x30\x83\x01\x11\x6c" + bytes(70_000),
        "of indefinite length": b"\x30\x80" + data[4:] + b"\0\0",
        "with a length of more octets than it needs": b"\x30\x83\0" + data[2:],
        "of version 1": fields(0, der.explicit(0, der.integer(0))),
        "with serial number 0": fields(1, der.integer(0)),
        "with a negative serial number": fields(1, der.encode(der.INTEGER, b"\x80")),
        "with a serial number of more octets than it needs": fields(1, der.encode(der.INTEGER, b"\0\0" + serial[2:])),
        "that names two signature algorithms": data.replace(
            der.oid("1.2.840.10045.4.3.2"), der.oid("1.2.840.10045.4.3.3"), 1
        ),
        "with a subject out of order": fields(5, unsorted),
        "with a critical alternative key": extensions(alt_key, extension(alt_key, spki, true)),
        "with a critical alternative algorithm": extensions(
            alt_algorithm, extension(alt_algorithm, hybrid._algorithm("ML-DSA-44"), true)
        ),
        "with an alternative key that is cut off": extensions(
            alt_key, extension(alt_key, der.sequence(hybrid._algorithm("ML-DSA-44"), der.bit_string(spki[22:-1])))
        ),
        "with an alternative key of another level": extensions(
            alt_key, extension(alt_key, spki.replace(hybrid._algorithm("ML-DSA-44"), hybrid._algorithm("ML-DSA-65")))
        ),
        "with a classical alternative key": extensions(
            alt_key, extension(alt_key, keys.spki(top.key.classical.public_key()))
        ),
        "with parameters of the alternative algorithm": extensions(
            alt_algorithm,
            extension(alt_algorithm, der.sequence(der.oid("2.16.840.1.101.3.4.3.17"), b"\5\0")),
        ),
        "with a classical alternative algorithm": extensions(
            alt_algorithm, extension(alt_algorithm, der.sequence(der.oid("1.2.840.10045.4.3.2")))
        ),
        "with unused bits in the alternative signature": remade(
            good, top, last=replaced(hybrid.ALT_SIGNATURE, extension(hybrid.ALT_SIGNATURE, b"\3\2\1\0"))
        ),
        "with an alternative signature that is none": remade(
            good, top, last=replaced(hybrid.ALT_SIGNATURE, extension(hybrid.ALT_SIGNATURE, b"\4\1\0"))
        ),
        "with an alternative key twice": extensions(alt_key, extension(alt_key, spki), extension(alt_key, spki)),
        "that says FALSE where it is the default": extensions(basic, extension(basic, not_ca, false)),
        "that says TRUE in another way": extensions(basic, extension(basic, not_ca, b"\1\1\1")),
        "that says not to be an authority": extensions(basic, extension(basic, der.sequence(false))),
        "with octets after a value": extensions(basic, extension(basic, not_ca + b"\0")),
        "with an address of five octets": extensions(
            "2.5.29.17", extension("2.5.29.17", der.sequence(der.encode(0x87, bytes(5))))
        ),
        "with no network as constraint": extensions("2.5.29.30", extension("2.5.29.30", no_network, true)),
        "with a point that is not on the curve": remade(
            good, top, fields=changed(keys.spki(good.key.classical.public_key())[-8:], bytes(8))
        ),
        "with a subject of sets without members": fields(5, empty_sets),
        "with a subject that is a number": fields(5, number),
    }
    for what, bad in wrong.items():
        vectors.case(f"a leaf {what}", [bad], [top], "malformed")
    middle = light("between", top)
    vectors.case("an intermediate that is none", [end(middle), b"\x30\x00"], [top], "malformed", 1)
    vectors.case("a root that is none", [good], [b"\x30\x00"], "malformed", 1)


def revocations(issuer: Made, *serials: int, begin: dt.datetime = NOW - DAY, **more: Any) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.plain.subject)
        .last_update(begin)
        .next_update(more.get("end", NOW + DAY))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, NOW - DAY)
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    if more.get("critical"):
        builder = builder.add_extension(
            x509.IssuingDistributionPoint(None, None, True, False, None, False, False), critical=True
        )
    by = more.get("by", issuer.key)
    if more.get("classical"):
        return builder.sign(by.classical, keys.signature_hash(by.classical)).public_bytes(Encoding.DER)
    return hybrid.sign_revocation_list(builder, by).der


def revoked(vectors: Vectors, top: Made) -> None:
    middle = light("between", top)
    one = end(middle)
    path, serial = [one, middle], one.certificate.plain.serial_number
    lists = [revocations(top, 1), revocations(middle, 2)]
    vectors.case("lists of others", path, [top], None, lists=lists)
    vectors.case("a list without entries", path, [top], None, lists=[revocations(top)])
    vectors.case("a revoked leaf", path, [top], "revoked", lists=[*lists, revocations(middle, 1, serial, 3)])
    gone = revocations(top, middle.certificate.plain.serial_number)
    vectors.case("a revoked authority", path, [top], "revoked", 1, lists=[gone])
    elsewhere = revocations(light("another"), serial, begin=NOW - 9 * DAY, end=NOW - 8 * DAY)
    vectors.case("the list of an authority that has no part", path, [top], None, lists=[elsewhere])
    impostor, lists = light(), [revocations(top, 1)]
    vectors.case("one of two of a name", [end(top)], [impostor, top], None, lists=lists)
    vectors.case("the other", [end(impostor)], [impostor, top], "bad_revocation_list", 1, lists=lists)
    other = keys.generate("light")
    harms: dict[str, dict[str, Any]] = {
        "an old list": {"begin": NOW - 9 * DAY, "end": NOW - DAY},
        "a list from the future": {"begin": NOW + DAY, "end": NOW + 2 * DAY},
        "a classical list": {"classical": True},
        "a list with another classical signature": {"by": keys.HybridKey(other.classical, top.key.alternative)},
        "a list with another alternative signature": {"by": keys.HybridKey(top.key.classical, other.alternative)},
        "a list with a critical extension": {"critical": True},
    }
    for what, harm in harms.items():
        bad = [revocations(top, 1, **harm)]
        vectors.case(what, [end(top)], [top], "bad_revocation_list", 1, lists=bad)
    idle = light(extra=[(usage(key_cert_sign=True), True)])
    lists = [revocations(idle, 1)]
    vectors.case("a list by whom may not sign one", [end(idle)], [idle], "bad_revocation_list", 1, lists=lists)
    for what, data in {"nothing": b"", "a certificate": top.der, "a cut": revocations(top, 1)[:-1]}.items():
        vectors.case(f"{what} for a list", [end(top)], [top], "bad_revocation_list", lists=[data])


def places(data: bytes) -> list[int]:
    """Bits all over a certificate, and three of each of its parts, by number; 0 is the lowest of the first octet."""
    size = len(data) * 8
    stride = size // FLIPS
    found = {number * stride + sampled.randrange(stride) for number in range(FLIPS)}
    outer = hybrid._outer(data)
    fields, extensions = hybrid._fields(outer.tbs, CERTIFICATE)
    for part in [outer.algorithm, outer.signature, *(one.raw for one in fields), *(one.raw for one in extensions)]:
        # Both algorithms look alike; the outer one is the last.
        begin = data.rindex(part) if part == outer.algorithm else data.index(part)
        found |= {begin * 8 + sampled.randrange(len(part) * 8) for _ in range(3)}
    return sorted(found)


def flips(vectors: Vectors) -> dict[str, Any]:
    top = light(extra=[(usage(key_cert_sign=True, crl_sign=True), True)])
    middle = light("between", top)
    good = [end(middle).der, middle.der, top.der]
    assert verdict(good[:2], good[2:], name="a.example") is None
    said: dict[str, list[int]] = {}
    for which, data in enumerate(good):
        for bit in places(data):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            whole = [*good[:which], bytes(flipped), *good[which + 1 :]]
            try:
                found = verdict(whole[:2], whole[2:], name="a.example")
            except x509.InvalidVersion:
                found = "malformed", which
            assert found, f"bit {bit} of certificate {which} may be anything"
            said.setdefault(f"{which} {found[0]} {found[1]}", []).append(bit)
    return {
        "certificates": [vectors.name(vectors.certificates, one) for one in good],
        "at": NOW.isoformat(),
        "name": "a.example",
        "bits": said,
    }


def main() -> None:
    vectors = Vectors()
    top = light()
    good_ones(vectors, top)
    kinds_of_keys(vectors)
    roots_and_extensions(vectors, top)
    constraints(vectors)
    malformed(vectors, top)
    revoked(vectors, top)
    flipped = flips(vectors)
    content = {
        "about": "Hybrid certificates of Velocity/1 that are refused, or nearly; see make_hybrid_refusals.py",
        "certificates": vectors.certificates,
        "lists": vectors.lists,
        "cases": vectors.cases,
        "flips": {**flipped, "bits": {key: " ".join(map(str, bits)) for key, bits in flipped["bits"].items()}},
    }
    OUT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
