"""The test vectors of the specification, which other implementations run too."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from velocity.errors import ChainError
from velocity.pki import chain, hybrid, keys

FILE = Path(__file__).parents[2] / "vectors" / "hybrid-certificates.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def certificates(case: dict[str, Any], what: str) -> list[bytes]:
    return [base64.b64decode(VECTORS["certificates"][name]) for name in case[what]]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["what"])
def test_chains(case: dict[str, Any]) -> None:
    asked = {"at": dt.datetime.fromisoformat(case["at"]), **{key: case[key] for key in ("name", "usage", "at_least")}}
    if case["cause"] is None:
        chain.verify(certificates(case, "chain"), certificates(case, "roots"), **asked)
        return
    with pytest.raises(ChainError) as caught:
        chain.verify(certificates(case, "chain"), certificates(case, "roots"), **asked)
    assert (caught.value.cause, caught.value.link) == (case["cause"], case["link"])


@pytest.mark.parametrize("vector", VECTORS["signatures"], ids=["light", "balanced", "secure"])
def test_signatures(vector: dict[str, str]) -> None:
    decoded = {name: base64.b64decode(value) for name, value in vector.items() if name != "covered_sha256"}
    certificate = hybrid.read(decoded["certificate"])
    assert certificate.covered == decoded["covered"]
    assert hashlib.sha256(certificate.covered).hexdigest() == vector["covered_sha256"]
    assert certificate.alternative.signature == decoded["alternative_signature"]
    key = load_der_public_key(decoded["subject_alt_public_key_info"])
    assert certificate.alternative.key == key
    assert keys.verify(key, decoded["alternative_signature"], decoded["covered"])
    private = load_der_private_key(decoded["alternative_private_key"], None)
    assert private.public_key() == key
    # And the way there: the covered bytes are the certificate's, less two of its parts.
    assert decoded["alternative_signature"] not in decoded["covered"]
    assert decoded["subject_alt_public_key_info"] in decoded["covered"]


def test_the_request() -> None:
    assert hybrid.read_request(base64.b64decode(VECTORS["request"])).alternative_key is not None


def test_every_cause_that_a_chain_alone_can_have_is_covered() -> None:
    covered = {case["cause"] for case in VECTORS["cases"]}
    assert covered == {*chain.HINTS, None} - {"malformed", "revoked", "bad_revocation_list"}
