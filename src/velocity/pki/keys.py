"""Private keys: a classical one and an ML-DSA one that belong together, made, kept and read back.

Both are PKCS#8 (RFC 5958) in PEM (RFC 7468), an ML-DSA key as its seed alone (RFC 9881 section 6), in two files:
`key.pem` holds the classical key, where every program expects one, and its sibling `key.mldsa.pem` the
ML-DSA key. At rest both can be encrypted with a passphrase: PBES2 (RFC 8018 section 6.2) with
scrypt (RFC 7914) and AES-256-CBC, which OpenSSL reads too.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from velocity.errors import PkiError
from velocity.files import sibling
from velocity.pki import der
from velocity.pki.storage import write_all

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "KEY_TYPES",
    "LEVELS",
    "PROFILES",
    "AlternativeKey",
    "AlternativePublicKey",
    "ClassicalKey",
    "ClassicalPublicKey",
    "HybridKey",
    "KeyType",
    "Level",
    "Profile",
    "encode",
    "generate",
    "generate_alternative",
    "generate_classical",
    "key_type",
    "level",
    "load",
    "load_alternative",
    "load_classical",
    "name_of",
    "sibling",
    "sign",
    "signature_hash",
    "spki",
    "store",
    "verify",
]

Profile: TypeAlias = Literal["light", "balanced", "secure"]
KeyType: TypeAlias = Literal["p256", "p384", "ed25519"]
Level: TypeAlias = Literal["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
ClassicalKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
ClassicalPublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
AlternativeKey: TypeAlias = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
AlternativePublicKey: TypeAlias = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey

KEY_TYPES: Final[tuple[KeyType, ...]] = get_args(KeyType)
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""Weakest first."""
PROFILES: Final[dict[Profile, tuple[KeyType, Level]]] = {
    "light": ("p256", "ML-DSA-44"),
    "balanced": ("p256", "ML-DSA-65"),
    "secure": ("p384", "ML-DSA-87"),
}
"""The pair of keys each profile signs its handshakes with."""

_PRIVATE: dict[Level, type[AlternativeKey]] = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}
_PUBLIC: dict[type[AlternativePublicKey], Level] = {
    mldsa.MLDSA44PublicKey: "ML-DSA-44",
    mldsa.MLDSA65PublicKey: "ML-DSA-65",
    mldsa.MLDSA87PublicKey: "ML-DSA-87",
}
_CURVES: dict[str, KeyType] = {"secp256r1": "p256", "secp384r1": "p384"}
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 5}
"""16 MiB and about 0.2 s a try; OpenSSL reads no more than 32 MiB."""
_MAX_KEY_FILE = 1 << 16
"""Bytes of a key file that are read."""


@dataclass(frozen=True)
class HybridKey:
    """The two private keys of one certificate. Neither shows in a repr."""

    classical: ClassicalKey
    alternative: AlternativeKey

    def __repr__(self) -> str:
        return f"HybridKey({name_of(self.classical.public_key())}, {level(self.alternative.public_key())})"


def generate(profile: Profile = "balanced", classical: KeyType | None = None) -> HybridKey:
    """Fresh keys for a profile.

    Args:
        profile: decides the strength of the ML-DSA key, and the kind of the classical one.
        classical: another kind of classical key. `light` and `balanced` are negotiated with P-256 only, `secure`
            with P-384 only, so anything else suits programs other than a Velocity server.
    """
    usual, strength = PROFILES[profile]
    return HybridKey(generate_classical(classical or usual), generate_alternative(strength))


def generate_classical(kind: KeyType) -> ClassicalKey:
    """A fresh ECDSA (FIPS 186-5) or Ed25519 (RFC 8032) key."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())


def generate_alternative(strength: Level) -> AlternativeKey:
    """A fresh ML-DSA key (FIPS 204)."""
    return _PRIVATE[strength].generate()


def key_type(key: object) -> KeyType | None:
    """The kind of a classical public key; None for one that hybrid certificates are not made with."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    return _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None


def level(key: object) -> Level | None:
    """The parameter set of an ML-DSA public key; None for any other key."""
    return next((name for kind, name in _PUBLIC.items() if isinstance(key, kind)), None)


def name_of(key: object) -> str:
    """What people call the algorithm of a public key: `ECDSA P-256`, `RSA 2048`, `ML-DSA-65`."""
    match key:
        case ec.EllipticCurvePublicKey():
            known = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
            return f"ECDSA {known.get(key.curve.name, key.curve.name)}"
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case _:
            return level(key) or "unknown"


def signature_hash(key: object) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash this key signs with; None where the algorithm has its own (RFC 5758 section 3.2, RFC 8410)."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    if isinstance(public, ec.EllipticCurvePublicKey):
        return hashes.SHA384() if public.curve.key_size > 256 else hashes.SHA256()
    return hashes.SHA256() if isinstance(public, rsa.RSAPublicKey) else None


def sign(key: ClassicalKey | AlternativeKey, data: bytes) -> bytes:
    """A signature; ML-DSA's has an empty context (RFC 9881 section 3)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(signature_hash(key) or hashes.SHA256()))
    return key.sign(data)


def verify(key: object, signature: bytes, data: bytes, hash_: hashes.HashAlgorithm | None = None) -> bool:
    """Whether `signature` is this public key's over `data`.

    Args:
        key: ECDSA, Ed25519 or ML-DSA; RSA with PKCS#1 v1.5 too, for chains that others issued.
        signature: as it stands in a certificate.
        data: what was signed.
        hash_: what the signer said it hashed with; its usual hash by default.
    """
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, data, ec.ECDSA(hash_ or signature_hash(key) or hashes.SHA256()))
            case rsa.RSAPublicKey():
                key.verify(signature, data, rsa_padding.PKCS1v15(), hash_ or hashes.SHA256())
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(signature, data)
            case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
                key.verify(signature, data)
            case _:
                return False
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def spki(key: ClassicalPublicKey | AlternativePublicKey) -> bytes:
    """SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7; for ML-DSA RFC 9881 section 4), DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def encode(key: ClassicalKey | AlternativeKey, passphrase: str | None = None) -> bytes:
    """PKCS#8 in PEM, encrypted where there is a passphrase."""
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return _encrypted(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), passphrase)


def store(path: Path, key: HybridKey, passphrase: str | None = None) -> None:
    """Keep both keys: the classical one at `path`, the other in its sibling; 0600, atomically.

    Raises:
        PkiError: they cannot be written (`KEY_UNWRITABLE`).
    """
    files = {
        sibling(path, "mldsa"): encode(key.alternative, passphrase),
        path: encode(key.classical, passphrase),
    }
    try:
        write_all(files)
    except OSError as error:
        raise PkiError("KEY_UNWRITABLE", f"cannot keep a key in {path}: {error.strerror}") from error


def load(path: Path, passphrase: str | None = None) -> HybridKey:
    """Both keys: the classical one from `path`, the other from its sibling.

    Raises:
        PkiError: one is missing or unreadable (`KEY_UNREADABLE`), of the wrong kind (`KEY_UNSUITABLE`), or
            encrypted and the passphrase is missing (`PASSPHRASE_MISSING`) or wrong (`PASSPHRASE_WRONG`).
    """
    return HybridKey(load_classical(path, passphrase), load_alternative(sibling(path, "mldsa"), passphrase))


def load_classical(path: Path, passphrase: str | None = None) -> ClassicalKey:
    """The ECDSA P-256, P-384 or Ed25519 key of a file.

    Raises:
        PkiError: as `load`.
    """
    key = _load(path, passphrase)
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) and key_type(key.public_key()):
        return key
    raise PkiError(
        "KEY_UNSUITABLE",
        f"{path} holds {_describe(key)}",
        "use an ECDSA P-256 or P-384 key, or Ed25519; with certbot: --key-type ecdsa",
    )


def load_alternative(path: Path, passphrase: str | None = None) -> AlternativeKey:
    """The ML-DSA key of a file.

    Raises:
        PkiError: as `load`.
    """
    key = _load(path, passphrase)
    if isinstance(key, mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey):
        return key
    raise PkiError("KEY_UNSUITABLE", f"{path} holds {_describe(key)}", "it should hold the ML-DSA key of the pair")


def _describe(key: object) -> str:
    public = getattr(key, "public_key", lambda: None)()
    name = name_of(public)
    return "a key that certificates are not signed with" if name == "unknown" else f"an {name} key"


def _load(path: Path, passphrase: str | None) -> object:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY_FILE)
    except OSError as error:
        raise PkiError("KEY_UNREADABLE", f"cannot read the key {path}: {error.strerror}") from error
    encrypted = b"ENCRYPTED" in content
    if encrypted and passphrase is None:
        raise PkiError(
            "PASSPHRASE_MISSING", f"the key {path} is encrypted", "give its passphrase with --passphrase-file FILE"
        )
    try:
        return load_pem_private_key(content, passphrase.encode() if encrypted and passphrase is not None else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            message = f"the passphrase does not open the key {path}"
            raise PkiError("PASSPHRASE_WRONG", message, "or the file is damaged") from error
        raise PkiError("KEY_UNREADABLE", f"{path} holds no private key in PEM") from error


def _encrypted(plain: bytes, passphrase: str) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5958 section 3), PEM."""
    salt, vector = os.urandom(16), os.urandom(16)
    secret = Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode())
    pad = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES256(secret), modes.CBC(vector)).encryptor()
    sealed = cipher.update(pad.update(plain) + pad.finalize()) + cipher.finalize()
    kdf = der.sequence(
        der.oid("1.3.6.1.4.1.11591.4.11"),  # id-scrypt
        der.sequence(der.encode(der.OCTET_STRING, salt), *(der.integer(_SCRYPT[name]) for name in "nrp")),
    )
    scheme = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.encode(der.OCTET_STRING, vector))  # aes256-CBC
    pbes2 = der.sequence(der.oid("1.2.840.113549.1.5.13"), der.sequence(kdf, scheme))
    info = der.sequence(pbes2, der.encode(der.OCTET_STRING, sealed))
    text = base64.b64encode(info)
    lines = b"\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + lines + b"\n-----END ENCRYPTED PRIVATE KEY-----\n"
