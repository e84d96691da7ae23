"""Keys: every pair survives the disk, encrypted or not, and what cannot be used says why."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support import needs
from velocity.errors import PkiError
from velocity.pki import keys


@pytest.fixture(autouse=True)
def _cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keys._SCRYPT, "p", 1)


@pytest.mark.parametrize("passphrase", [None, "päss phrase"])
@pytest.mark.parametrize("kind", keys.KEY_TYPES)
@pytest.mark.parametrize("profile", keys.PROFILES)
def test_round_trip(tmp_path: Path, profile: keys.Profile, kind: keys.KeyType, passphrase: str | None) -> None:
    key = keys.generate(profile, kind)
    path = tmp_path / "key.pem"
    keys.store(path, key, passphrase)
    again = keys.load(path, passphrase)
    for before, after in ((key.classical, again.classical), (key.alternative, again.alternative)):
        assert keys.spki(before.public_key()) == keys.spki(after.public_key())
        assert keys.verify(before.public_key(), keys.sign(after, b"data"), b"data")
        assert not keys.verify(before.public_key(), keys.sign(after, b"data"), b"other")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["key.mldsa.pem", "key.pem"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        ("light", ("ECDSA P-256", "ML-DSA-44")),
        ("balanced", ("ECDSA P-256", "ML-DSA-65")),
        ("secure", ("ECDSA P-384", "ML-DSA-87")),
    ],
)
def test_what_a_profile_means(profile: keys.Profile, names: tuple[str, str]) -> None:
    key = keys.generate(profile)
    assert (keys.name_of(key.classical.public_key()), keys.name_of(key.alternative.public_key())) == names
    assert (keys.key_type(key.classical.public_key()), keys.level(key.alternative.public_key())) == keys.PROFILES[
        profile
    ]
    assert repr(key) == f"HybridKey({names[0]}, {names[1]})"


def test_the_ml_dsa_key_is_its_seed(tmp_path: Path) -> None:
    key = keys.generate_alternative("ML-DSA-87")
    assert len(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())) == 54
    assert keys.encode(key).count(b"\n") == 4


def test_openssl_opens_an_encrypted_key(tmp_path: Path) -> None:
    openssl = needs.command("openssl", "openssl")
    key = keys.generate("secure")
    keys.store(tmp_path / "key.pem", key, "secret")
    command = [
        openssl,
        "pkey",
        "-in",
        str(tmp_path / "key.pem"),
        "-passin",
        "pass:secret",
        "-pubout",
        "-outform",
        "DER",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == keys.spki(key.classical.public_key())


def refused(path: Path, passphrase: str | None = None) -> PkiError:
    with pytest.raises(PkiError) as caught:
        keys.load(path, passphrase)
    assert str(path.parent) in caught.value.message
    return caught.value


def test_passphrases(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    keys.store(path, keys.generate(), "right")
    assert refused(path).code == "PASSPHRASE_MISSING"
    assert refused(path, "wrong").code == "PASSPHRASE_WRONG"
    assert refused(path, "").code == "PASSPHRASE_WRONG"
    keys.store(path, keys.generate())
    keys.load(path, "not needed")


@pytest.mark.parametrize("harm", ["missing", "no sibling", "garbage", "cut", "swapped", "rsa", "p521", "directory"])
def test_unusable(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "key.pem"
    keys.store(path, keys.generate())
    other = keys.sibling(path, "mldsa")
    code = "KEY_UNREADABLE"

    def plain(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    match harm:
        case "missing":
            path.unlink()
        case "no sibling":
            other.unlink()
        case "garbage":
            path.write_bytes(os.urandom(100))
        case "cut":
            path.write_bytes(path.read_bytes()[:-40])
        case "swapped":
            code = "KEY_UNSUITABLE"
            path.write_bytes(other.read_bytes())
        case "rsa":
            code = "KEY_UNSUITABLE"
            path.write_bytes(plain(rsa.generate_private_key(65537, 2048)))
        case "p521":
            code = "KEY_UNSUITABLE"
            path.write_bytes(plain(ec.generate_private_key(ec.SECP521R1())))
        case "directory":
            path.unlink()
            path.mkdir()
    assert refused(path).code == code


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(PkiError) as caught:
        keys.store(tmp_path / "nowhere" / "key.pem", keys.generate())
    assert caught.value.code == "KEY_UNWRITABLE"


def test_siblings() -> None:
    assert keys.sibling(Path("/a/key.pem"), "mldsa") == Path("/a/key.mldsa.pem")
    assert keys.sibling(Path("/a/fullchain.pem"), "classical") == Path("/a/fullchain.classical.pem")
    assert keys.sibling(Path("/a/key"), "mldsa") == Path("/a/key.mldsa")
