"""Chains: what passes, each cause for which one does not, and two thousand flipped bits."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from unit.pki.making import CLIENT, DAY, NOW, SERVER, Made, leaf, make, root, usage
from velocity.errors import ChainError, PkiError
from velocity.pki import bundle, chain, der, hybrid, keys, names, templates

if TYPE_CHECKING:
    from pathlib import Path


def between(issuer: Made, name: str = "between", **more: Any) -> Made:
    return make(name, issuer, ca=True, end=NOW + 365 * DAY, **more)


def refused(cause: chain.Cause, *links: Made, roots: list[Made], link: int = 0, **more: Any) -> ChainError:
    more.setdefault("at", NOW)
    more.setdefault("name", "a.example")
    with pytest.raises(ChainError) as caught:
        chain.verify([one.der for one in links], [one.der for one in roots], **more)
    error = caught.value
    assert (error.code, error.cause, error.link) == ("CERT_PQ_VALIDATION_FAILED", cause, link), error.message
    assert error.hint == chain.HINTS[cause]
    assert "\n" not in error.message
    if cause != "malformed":
        assert error.subject
        assert error.subject in error.message
    return error


@pytest.mark.parametrize("profile", keys.PROFILES)
@pytest.mark.parametrize("with_root", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_passes(profile: keys.Profile, with_root: bool, depth: int) -> None:
    top = root(profile=profile)
    path = [top]
    for number in range(depth):
        path.insert(0, between(path[0], f"between {number}", profile=profile))
    path.insert(0, leaf(path[0], profile=profile))
    sent = path if with_root else path[:-1]
    passed = chain.verify([one.der for one in sent], [root().der, top.der], at=NOW, name="a.example")
    assert [one.subject for one in passed.path] == [one.certificate.subject for one in path]
    assert passed.level == keys.PROFILES[profile][1]


@pytest.mark.parametrize(
    "name",
    ["a.example", "A.Example", "a.example.", "x.b.example", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", None],
)
def test_names_that_match(name: str | None) -> None:
    top = root()
    one = leaf(top, bears=("a.example", "*.b.example", "192.0.2.1", "2001:db8::1"))
    chain.verify([one.der], [top.der], at=NOW, name=name)


@pytest.mark.parametrize(
    "name",
    ["b.example", "x.a.example", "x.y.b.example", ".b.example", "", "192.0.2.2", "example", "2001:db8::2"],
)
def test_wrong_name(name: str) -> None:
    top = root()
    one = leaf(top, bears=("a.example", "*.b.example", "192.0.2.1", "2001:db8::1"))
    error = refused("wrong_name", one, roots=[top], name=name)
    assert "a.example, *.b.example" in error.message


def test_common_names_are_no_names() -> None:
    top = root()
    error = refused("wrong_name", leaf(top, bears=()), roots=[top])
    assert "no name at all" in error.message


def test_trusted_and_signed_by_itself() -> None:
    key = keys.generate()
    builder = templates.leaf(
        ("a.example",), key.classical.public_key(), None, templates.Validity.of(NOW, DAY), "server"
    )
    one = hybrid.sign_certificate(builder, key, key.alternative.public_key())
    assert len(chain.verify([one.der], [one.der], at=NOW, name="a.example").path) == 1
    refused("unknown_root", Made(one, key), roots=[root()])


def test_classical_only() -> None:
    top = root()
    error = refused("missing_extension", leaf(top, classical=True), roots=[top])
    for oid in ("2.5.29.72", "2.5.29.73", "2.5.29.74"):
        assert oid in error.message


def test_classical_root() -> None:
    top = root(classical=True)
    refused("missing_extension", leaf(top), roots=[top], link=1)


def test_classical_in_between() -> None:
    top = root()
    middle = between(top, classical=True)
    refused("missing_extension", leaf(middle), middle, roots=[top], link=1)


@pytest.mark.parametrize("oid", ["2.5.29.72", "2.5.29.73", "2.5.29.74"])
def test_one_extension_missing(oid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the authority has really signed, without one of the three."""
    top = root()
    real = hybrid._without_alternative_signature
    with monkeypatch.context() as patch:
        if oid == hybrid.ALT_SIGNATURE:
            one = leaf(top)
            fields, extensions = hybrid._fields(one.certificate.plain.tbs_certificate_bytes, hybrid._CERTIFICATE)
            rest = real(extensions)
        else:
            patch.setattr(hybrid, "_raw", _leaving_out(oid))
            one = leaf(top)
    if oid == hybrid.ALT_SIGNATURE:
        tbs = der.sequence(*(field.raw for field in fields), der.explicit(3, der.sequence(*rest)))
        outer = hybrid._outer(one.der)
        data = der.sequence(tbs, outer.algorithm, der.bit_string(keys.sign(top.key.classical, tbs)))
        one = Made(hybrid.read(data), one.key)
    assert oid in refused("missing_extension", one, roots=[top]).message


def _leaving_out(oid: str) -> Any:
    """What makes an extension of no meaning where one of ours would be."""

    def raw(dotted: str, value: bytes) -> x509.UnrecognizedExtension:
        return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4" if dotted == oid else dotted), value)

    return raw


def test_alternative_signature_by_another_root() -> None:
    top = root()
    forged = keys.HybridKey(top.key.classical, keys.generate().alternative)
    error = refused("bad_ml_dsa_signature", leaf(top, signed_with=forged), roots=[top])
    assert "the root" in error.message


def test_alternative_signature_of_another_strength() -> None:
    top = root()
    forged = keys.HybridKey(top.key.classical, keys.generate("light").alternative)
    refused("bad_ml_dsa_signature", leaf(top, signed_with=forged), roots=[top])


def test_alternative_keys_swapped() -> None:
    """Whoever breaks ECDSA exchanges the ML-DSA key and signs anew, but classically only."""
    top = root()
    one, other = leaf(top), keys.generate_alternative("ML-DSA-65").public_key()
    outer = hybrid._outer(one.der)
    alternative = one.certificate.alternative.key
    assert alternative is not None
    tbs = outer.tbs.replace(keys.spki(alternative), keys.spki(other))
    data = der.sequence(tbs, outer.algorithm, der.bit_string(keys.sign(top.key.classical, tbs)))
    refused("bad_ml_dsa_signature", Made(hybrid.read(data), one.key), roots=[top])


def test_classical_signature_by_another_root() -> None:
    top = root()
    forged = keys.HybridKey(keys.generate().classical, top.key.alternative)
    refused("bad_classical_signature", leaf(top, signed_with=forged), roots=[top])


def test_a_root_of_the_same_name() -> None:
    top, impostor = root(), root()
    refused("bad_classical_signature", leaf(impostor), roots=[top])
    chain.verify([leaf(top).der], [impostor.der, top.der], at=NOW, name="a.example")


def test_a_root_of_the_same_name_and_another_key_identifier() -> None:
    def known(made: Made) -> Made:
        own = x509.SubjectKeyIdentifier.from_public_key(made.key.classical.public_key())
        return root(key=made.key, extra=[(own, False)])

    top, impostor = known(root()), known(root())
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(impostor.key.classical.public_key())
    refused("unknown_root", leaf(impostor, extra=[(above, False)]), roots=[top])


def test_unknown_root() -> None:
    top = root()
    middle = between(top)
    error = refused("unknown_root", leaf(middle), middle, roots=[root("another")], link=1)
    assert "the root" in error.message
    refused("unknown_root", leaf(top), roots=[])
    refused("unknown_root", leaf(top), top, roots=[root("another")], link=1)


def test_not_in_order() -> None:
    top = root()
    middle = between(top)
    refused("unknown_root", leaf(top), middle, roots=[top])
    refused("unknown_root", middle, leaf(middle), roots=[top], link=1)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_expired(which: int) -> None:
    times: list[dict[str, Any]] = [
        {"end": NOW - dt.timedelta(seconds=1)} if number == which else {} for number in range(3)
    ]
    top = root(**times[2])
    middle = make("between", top, ca=True, **times[1])
    error = refused("expired", leaf(middle, **times[0]), middle, roots=[top], link=which)
    assert "2026-11-21 11:59:59Z" in error.message
    assert "clock" in error.message + error.hint


@pytest.mark.parametrize("which", [0, 1, 2])
def test_not_yet_valid(which: int) -> None:
    times: list[dict[str, Any]] = [
        {"begin": NOW + dt.timedelta(seconds=1)} if number == which else {} for number in range(3)
    ]
    top = root(**times[2])
    middle = between(top, **times[1])
    error = refused("not_yet_valid", leaf(middle, **times[0]), middle, roots=[top], link=which)
    assert "clock" in error.message
    assert "clock" in error.hint


def test_valid_to_the_second() -> None:
    top = root()
    one = leaf(top, begin=NOW, end=NOW)
    chain.verify([one.der], [top.der], at=NOW, name="a.example")


def test_ca_as_leaf() -> None:
    top = root()
    refused("ca_as_leaf", between(top, bears=("a.example",)), roots=[top])
    own = root(bears=("a.example",))
    refused("ca_as_leaf", own, roots=[own])


def test_leaf_as_ca() -> None:
    top = root()
    middle = leaf(top, "between")
    refused("leaf_as_ca", leaf(middle), middle, roots=[top], link=1)


def test_a_leaf_is_trusted_for_itself_only() -> None:
    own = make("a.example", bears=("a.example",))
    refused("leaf_as_ca", leaf(own), roots=[own], link=1)


def test_path_too_long() -> None:
    top = root(path_length=0)
    middle = between(top)
    error = refused("path_too_long", leaf(middle), middle, roots=[top], link=2)
    assert "allows 0 authorities below it, and there is 1" in error.message
    chain.verify([leaf(top).der], [top.der], at=NOW, name="a.example")


def test_a_chain_without_end() -> None:
    refused("malformed", *[leaf(root())] * 9, roots=[root()])
    refused("malformed", roots=[root()])


def constrained(permit: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Made:
    limits = x509.NameConstraints(names.subtrees(permit) or None, names.subtrees(exclude) or None)
    return root(extra=[(limits, True)])


@pytest.mark.parametrize(
    ("permit", "exclude", "bears"),
    [
        (("example.com",), (), ("a.example",)),
        (("example.com",), (), ("example.com", "notexample.com")),
        ((), ("a.example",), ("x.a.example",)),
        ((), ("secret.a.example",), ("*.a.example",)),
        (("10.0.0.0/8",), (), ("192.0.2.1",)),
        ((), ("2001:db8::/32",), ("2001:db8::1",)),
        (("10.0.0.0/8",), (), ("2001:db8::1",)),
    ],
)
def test_name_constraint(permit: tuple[str, ...], exclude: tuple[str, ...], bears: tuple[str, ...]) -> None:
    top = constrained(permit, exclude)
    error = refused("name_constraint", leaf(top, bears=bears), roots=[top], name=bears[0])
    assert bears[-1] in error.message
    middle = between(top)
    refused("name_constraint", leaf(middle, bears=bears), middle, roots=[top], name=bears[0])


@pytest.mark.parametrize(
    ("permit", "exclude", "bears"),
    [
        (("example.com",), (), ("example.com", "a.example.com", "*.example.com", "192.0.2.1")),
        (("10.0.0.0/8", "example.com"), (), ("10.1.2.3", "example.com")),
        ((), ("secret.example.com",), ("example.com", "*.a.example.com")),
    ],
)
def test_within_constraints(permit: tuple[str, ...], exclude: tuple[str, ...], bears: tuple[str, ...]) -> None:
    top = constrained(permit, exclude)
    chain.verify([leaf(top, bears=bears).der], [top.der], at=NOW, name=bears[0])


def test_names_that_cannot_be_compared_are_refused() -> None:
    limits = x509.NameConstraints(None, [x509.UniformResourceIdentifier("example.com")])
    top = root(extra=[(limits, True)])
    other = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("https://example.org")])
    refused("name_constraint", leaf(top, bears=(), extra=[(other, False)]), roots=[top], name=None)


def test_wrong_usage() -> None:
    top = root()
    assert "not for servers" in refused("wrong_usage", leaf(top, extra=[(CLIENT, False)]), roots=[top]).message
    assert "not for clients" in refused("wrong_usage", leaf(top), roots=[top], usage="client").message
    chain.verify([leaf(top, extra=[(CLIENT, False)]).der], [top.der], at=NOW, usage="client")
    refused("wrong_usage", leaf(top, extra=[(usage(key_agreement=True), True)]), roots=[top])
    top = root(extra=[(usage(crl_sign=True), True)])
    refused("wrong_usage", leaf(top), roots=[top], link=1)
    top = root(extra=[(CLIENT, False)])
    refused("wrong_usage", leaf(top), roots=[top], link=1)


def test_unknown_critical_extension() -> None:
    top = root()
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    error = refused("unknown_critical_extension", leaf(top, extra=[(unknown, True)]), roots=[top])
    assert "1.2.3.4" in error.message
    chain.verify([leaf(top, extra=[(unknown, False), (SERVER, False)]).der], [top.der], at=NOW)


@pytest.mark.parametrize(("profiles", "link"), [(("light", "balanced"), 0), (("balanced", "light"), 0)])
def test_weak_key(profiles: tuple[keys.Profile, keys.Profile], link: int) -> None:
    top = root(profile=profiles[1])
    one = leaf(top, profile=profiles[0])
    assert chain.verify([one.der], [top.der], at=NOW).level == "ML-DSA-44"
    error = refused("weak_key", one, roots=[top], link=link, at_least="ML-DSA-65")
    assert "ML-DSA-44" in error.message


def revocations(issuer: Made, *serials: int, begin: dt.datetime = NOW - DAY, **more: Any) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.plain.subject)
        .last_update(begin)
        .next_update(more.get("end", NOW + DAY))
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW - DAY).build())
    if more.get("critical"):
        point = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
        builder = builder.add_extension(point, critical=True)
    by = more.get("by", issuer.key)
    if more.get("classical"):
        from cryptography.hazmat.primitives.serialization import Encoding

        return builder.sign(by.classical, keys.signature_hash(by.classical)).public_bytes(Encoding.DER)
    return hybrid.sign_revocation_list(builder, by).der


def test_revoked() -> None:
    top = root()
    middle = between(top)
    one = leaf(middle)
    lists = [revocations(top, 1), revocations(middle, 2)]
    chain.verify([one.der, middle.der], [top.der], at=NOW, revocation=lists)
    revoked = revocations(middle, one.certificate.plain.serial_number)
    error = refused("revoked", one, middle, roots=[top], revocation=[*lists, revoked])
    assert "2026-11-20" in error.message
    revoked = revocations(top, middle.certificate.plain.serial_number)
    refused("revoked", one, middle, roots=[top], revocation=[revoked], link=1)


def test_lists_of_others_are_passed_over() -> None:
    top, other = root(), root("another")
    one = leaf(top)
    revoked = revocations(other, one.certificate.plain.serial_number, begin=NOW - 9 * DAY, end=NOW - 8 * DAY)
    chain.verify([one.der], [top.der], at=NOW, revocation=[revoked])


@pytest.mark.parametrize("harm", ["old", "early", "classical", "bad classical", "bad ml-dsa", "critical", "may not"])
def test_bad_revocation_list(harm: str) -> None:
    top = root(extra=[(usage(key_cert_sign=True), True)]) if harm == "may not" else root()
    other = keys.generate()
    harms: dict[str, dict[str, Any]] = {
        "old": {"begin": NOW - 9 * DAY, "end": NOW - DAY},
        "early": {"begin": NOW + DAY, "end": NOW + 2 * DAY},
        "classical": {"classical": True},
        "bad classical": {"by": keys.HybridKey(other.classical, top.key.alternative)},
        "bad ml-dsa": {"by": keys.HybridKey(top.key.classical, other.alternative)},
        "critical": {"critical": True},
        "may not": {},
    }
    revocation = [revocations(top, 1, **harms[harm])]
    refused("bad_revocation_list", leaf(top), roots=[top], link=1, revocation=revocation)


def test_no_revocation_list() -> None:
    top = root()
    with pytest.raises(PkiError) as caught:
        chain.verify([leaf(top).der], [top.der], at=NOW, revocation=[b"nothing"])
    assert caught.value.code == "CRL_UNREADABLE"


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"garbage", bytes(70_000)])
def test_malformed(data: bytes) -> None:
    top = root()
    for links, roots, link in (
        ([data], [top.der], 0),
        ([leaf(top).der, data], [top.der], 1),
        ([leaf(top).der], [data], 1),
    ):
        with pytest.raises(ChainError) as caught:
            chain.verify(links, roots, at=NOW)
        assert (caught.value.cause, caught.value.link) == ("malformed", link)


def test_every_cause_has_a_hint_and_a_test() -> None:
    from typing import get_args

    source = __import__("pathlib").Path(__file__).read_text(encoding="utf-8")
    assert set(chain.HINTS) == set(get_args(chain.Cause))
    for cause in chain.HINTS:
        assert f'"{cause}"' in source


MUTATIONS = 2400
"""Single bits flipped, spread evenly over the three certificates of a chain and sampled inside."""


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("profile", ["light", "secure"])
def test_any_single_bit_flipped_is_rejected(profile: keys.Profile, part: int) -> None:
    top = root(profile=profile, extra=[(usage(key_cert_sign=True, crl_sign=True), True)])
    middle = between(top, profile=profile)
    one = leaf(middle, profile=profile)
    good = [one.der, middle.der, top.der]
    chain.verify(good[:2], good[2:], at=NOW, name="a.example")
    sampled = random.Random(part)
    for number in range(MUTATIONS // 8):
        which = number % 3
        size = len(good[which]) * 8
        stride = size // (MUTATIONS // 24)
        place = min(number // 3 * stride + sampled.randrange(stride), size - 1)
        flipped = list(good)
        data = bytearray(good[which])
        data[place // 8] ^= 1 << place % 8
        flipped[which] = bytes(data)
        with pytest.raises(ChainError) as caught:
            chain.verify(flipped[:2], flipped[2:], at=NOW, name="a.example")
        assert caught.value.code == "CERT_PQ_VALIDATION_FAILED"
        assert "\n" not in caught.value.message


def test_load(tmp_path: Path) -> None:
    top = root()
    one = leaf(top)
    path = tmp_path / "chain.pem"
    path.write_bytes(bundle.pem(one.certificate.plain, top.certificate.plain))
    assert chain.load(path) == [one.der, top.der]
    for content in (b"", b"nothing", path.read_bytes()[:-100]):
        path.write_bytes(content)
        with pytest.raises(PkiError) as caught:
            chain.load(path)
        assert caught.value.code == "CERT_UNREADABLE"
    with pytest.raises(PkiError):
        chain.load(tmp_path / "missing.pem")
