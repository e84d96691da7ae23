"""Makes `hybrid-certificates.json`, the test vectors of the specification, anew:

    PYTHONPATH=src:tests python tests/vectors/make_hybrid_certificates.py

Keys and ML-DSA signatures are random, so every run makes other bytes; what they say stays the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from unit.pki.making import CLIENT, DAY, NOW, Made, leaf, make, root, usage
from velocity.pki import der, hybrid, keys, names, templates

OUT = Path(__file__).with_name("hybrid-certificates.json")


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Vectors:
    def __init__(self) -> None:
        self.certificates: dict[str, str] = {}
        self.cases: list[dict[str, Any]] = []

    def name_of(self, made: Made) -> str:
        encoded = text(made.der)
        for name, known in self.certificates.items():
            if known == encoded:
                return name
        name = f"{len(self.certificates)} {made.certificate.subject}"
        self.certificates[name] = encoded
        return name

    def case(
        self, what: str, chain: list[Made], roots: list[Made], cause: str | None, link: int = 0, **more: Any
    ) -> None:
        self.cases.append(
            {
                "what": what,
                "chain": [self.name_of(one) for one in chain],
                "roots": [self.name_of(one) for one in roots],
                "at": more.get("at", NOW).isoformat(),
                "name": more.get("name", "a.example"),
                "usage": more.get("usage", "server"),
                "at_least": more.get("at_least", "ML-DSA-44"),
                "cause": cause,
                "link": link if cause else None,
            }
        )


def details(made: Made) -> dict[str, str]:
    """Everything that goes into the alternative signature of a certificate that its own key has made."""
    certificate = made.certificate
    secret = made.key.alternative.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {
        "certificate": text(made.der),
        "alternative_private_key": text(secret),
        "subject_alt_public_key_info": text(keys.spki(made.key.alternative.public_key())),
        "covered": text(certificate.covered),
        "covered_sha256": hashlib.sha256(certificate.covered).hexdigest(),
        "alternative_signature": text(certificate.alternative.signature or b""),
    }


def main() -> None:
    vectors = Vectors()
    for profile in keys.PROFILES:
        top = root(f"root {profile}", profile=profile)
        vectors.case(f"good, {profile}", [leaf(top, profile=profile)], [top], None)

    def light(name: str, issuer: Made | None = None, **more: Any) -> Made:
        return make(name, issuer, profile="light", **more)

    top = light("root", ca=True, begin=NOW - 30 * DAY, end=NOW + 3650 * DAY)
    middle = light("intermediate", top, ca=True, end=NOW + 365 * DAY)
    good = leaf(top, profile="light")
    below = leaf(middle, profile="light")
    other = light("root", ca=True, end=NOW + 3650 * DAY)
    vectors.case("good, with an intermediate", [below, middle], [top], None)
    vectors.case("good, root sent too", [below, middle, top], [other, top], None)
    vectors.case("classical only", [leaf(top, profile="light", classical=True)], [top], "missing_extension")
    forged = keys.HybridKey(top.key.classical, other.key.alternative)
    one = leaf(top, profile="light", signed_with=forged)
    vectors.case("alternative signature by another root", [one], [top], "bad_ml_dsa_signature")
    forged = keys.HybridKey(other.key.classical, top.key.alternative)
    one = leaf(top, profile="light", signed_with=forged)
    vectors.case("classical signature by another root", [one], [top], "bad_classical_signature")
    outer = hybrid._outer(good.der)
    assert good.certificate.alternative.key is not None
    swapped = outer.tbs.replace(
        keys.spki(good.certificate.alternative.key), keys.spki(other.key.alternative.public_key())
    )
    signature = der.bit_string(keys.sign(top.key.classical, swapped))
    data = der.sequence(swapped, outer.algorithm, signature)
    vectors.case("alternative key exchanged", [Made(hybrid.read(data), good.key)], [top], "bad_ml_dsa_signature")
    vectors.case("unknown root", [good], [light("another root", ca=True)], "unknown_root")
    vectors.case("intermediate not sent", [below], [top], "unknown_root")
    vectors.case("after its end", [good], [top], "expired", at=NOW + 8 * DAY)
    vectors.case("before its begin", [good], [top], "not_yet_valid", at=NOW - 2 * DAY)
    vectors.case("another name", [good], [top], "wrong_name", name="b.example")
    vectors.case("an address", [good], [top], None, name="192.0.2.1")
    vectors.case("an authority as leaf", [light("a.example", top, ca=True, bears=["a.example"])], [top], "ca_as_leaf")
    not_ca = leaf(top, "not an authority", profile="light")
    vectors.case("a leaf as authority", [leaf(not_ca, profile="light"), not_ca], [top], "leaf_as_ca", 1)
    short = light("root", ca=True, path_length=0)
    under = light("intermediate", short, ca=True)
    vectors.case("path too long", [leaf(under, profile="light"), under], [short], "path_too_long", 2)
    limits = x509.NameConstraints(names.subtrees(["example.com"]), None)
    bound = light("root", ca=True, extra=[(limits, True)])
    vectors.case("outside of name constraints", [leaf(bound, profile="light")], [bound], "name_constraint")
    vectors.case("for clients", [leaf(top, profile="light", extra=[(CLIENT, False)])], [top], "wrong_usage")
    vectors.case("used by a client", [good], [top], "wrong_usage", usage="client")
    idle = leaf(top, profile="light", extra=[(usage(key_agreement=True), True)])
    vectors.case("may not sign", [idle], [top], "wrong_usage")
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    one = leaf(top, profile="light", extra=[(unknown, True)])
    vectors.case("unknown critical extension", [one], [top], "unknown_critical_extension")
    vectors.case("too weak", [good], [top], "weak_key", at_least="ML-DSA-65")
    request_key = keys.generate("light")
    request = hybrid.build_request(
        templates.subject("a.example"), [names.alternative_names(["a.example"])], request_key
    )
    OUT.write_text(
        json.dumps(
            {
                "about": "Hybrid certificates of Velocity/1; see docs/spec/velocity-1.md, section 5",
                "signatures": [details(root(f"root {profile}", profile=profile)) for profile in keys.PROFILES],
                "request": text(request),
                "certificates": vectors.certificates,
                "cases": vectors.cases,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
