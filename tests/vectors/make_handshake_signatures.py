"""Makes `handshake-signatures.json`, the test vectors of section 4 of the specification, anew:

    PYTHONPATH=src:tests python tests/vectors/make_handshake_signatures.py

The signatures are made with `cryptography` alone, and verified by the data plane. Keys and ML-DSA signatures are
random, so every run makes other bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from unit.pki.making import leaf, root
from velocity.pki.keys import Profile

OUT = Path(__file__).with_name("handshake-signatures.json")
SCHEMES: dict[Profile, tuple[int, hashes.HashAlgorithm]] = {
    "light": (0xFE44, hashes.SHA256()),
    "balanced": (0xFE65, hashes.SHA256()),
    "secure": (0xFE87, hashes.SHA384()),
}


def content(who: str, transcript: bytes) -> bytes:
    """What a CertificateVerify covers (RFC 9846 section 4.4.3)."""
    return b" " * 64 + f"TLS 1.3, {who} CertificateVerify".encode() + b"\0" + hashlib.sha256(transcript).digest()


def main() -> None:
    vectors = []
    for profile in get_args(Profile):
        code, digest = SCHEMES[profile]
        made = leaf(root(profile=profile), profile=profile)
        assert isinstance(made.key.classical, ec.EllipticCurvePrivateKey)
        for who in ("server", "client"):
            message = content(who, profile.encode())
            classical = made.key.classical.sign(message, ec.ECDSA(digest))
            signature = len(classical).to_bytes(2, "big") + classical + made.key.alternative.sign(message)
            fields = {"certificate": made.der, "message": message, "signature": signature}
            encoded = {name: base64.b64encode(value).decode() for name, value in fields.items()}
            vectors.append({"scheme": f"{code:#06x}", "who": who, **encoded})
    about = "CertificateVerify of Velocity/1; see docs/spec/velocity-1.md, section 4"
    OUT.write_text(json.dumps({"about": about, "signatures": vectors}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
