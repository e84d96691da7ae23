"""The self-signed certificate: what is in it, when it is used again, and when it is made anew."""

from __future__ import annotations

import datetime as dt
import ipaddress
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from velocity.errors import StartError
from velocity.pki import bundle, hybrid, keys, self_signed, templates
from velocity.pki import chain as chains


def ensure(root: Path, *names: str) -> tuple[Path, Path]:
    pair = self_signed.ensure(root, names)
    return Path(pair[0]), Path(pair[1])


def load(chain: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain.read_bytes())


def test_what_is_in_it(tmp_path: Path) -> None:
    chain, key = ensure(tmp_path)
    leaf = load(chain)
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["localhost"]
    assert san.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    assert leaf.public_key() == load_pem_private_key(key.read_bytes(), None).public_key()
    now = dt.datetime.now(dt.UTC)
    assert leaf.not_valid_before_utc < now
    assert dt.timedelta(days=89) < leaf.not_valid_after_utc - now <= dt.timedelta(days=90)
    leaf.verify_directly_issued_by(leaf)
    der = leaf.public_bytes(Encoding.DER)
    for name in ("localhost", "127.0.0.1", "::1"):
        assert chains.verify([der], [der], at=now, name=name).level == "ML-DSA-65"
    pair = keys.load(key)
    assert pair.alternative.public_key() == hybrid.read(der).alternative.key


def test_where_it_is(tmp_path: Path) -> None:
    chain, key = ensure(tmp_path)
    assert chain.parent == key.parent == tmp_path / ".velocity" / "certs"
    assert sorted(path.name for path in chain.parent.iterdir()) == [
        "cert.classical.pem",
        "cert.pem",
        "key.mldsa.pem",
        "key.pem",
        "trust.pem",
    ]
    for path in chain.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(chain.parent.stat().st_mode) == 0o700
    assert (tmp_path / ".velocity" / ".gitignore").read_text() == "*\n"


def test_used_again(tmp_path: Path) -> None:
    chain, key = ensure(tmp_path, "a.example", "192.0.2.1")
    before = chain.read_bytes(), key.read_bytes()
    ensure(tmp_path, "192.0.2.1", "a.example")
    assert (chain.read_bytes(), key.read_bytes()) == before


@pytest.mark.parametrize(
    "harm",
    ["other names", "open key", "torn", "garbage", "encrypted", "no key", "almost over", "classical",
     "no ML-DSA key", "open ML-DSA key", "torn ML-DSA key"],
)  # fmt: skip
def test_made_anew(tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names: tuple[str, ...] = ()
    if harm == "almost over":
        monkeypatch.setattr(self_signed, "_LIFETIME", dt.timedelta(days=6))
    chain, key = ensure(tmp_path)
    monkeypatch.undo()
    before = chain.read_bytes()
    match harm:
        case "other names":
            names = ("other.example",)
        case "open key":
            key.chmod(0o644)
        case "torn":  # the key of another pair, as a crash between two renames leaves it
            _, other = ensure(tmp_path / "other")
            key.write_bytes(other.read_bytes())
        case "encrypted":
            secret = load_pem_private_key(key.read_bytes(), None)
            locked = BestAvailableEncryption(b"password")
            key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        case "garbage":
            chain.write_bytes(b"\0" * 100)
        case "no key":
            key.unlink()
        case "classical":  # as versions before this one made it
            names_ = ("localhost", "127.0.0.1", "::1")
            secret = load_pem_private_key(key.read_bytes(), None)
            assert isinstance(secret, ec.EllipticCurvePrivateKey)
            validity = templates.Validity.of(dt.datetime.now(dt.UTC), dt.timedelta(days=90))
            builder = templates.leaf(names_, secret.public_key(), None, validity, "server")
            before = bundle.pem(templates.sign_classical(builder, secret))
            chain.write_bytes(before)
            keys.sibling(key, "mldsa").unlink()
        case "no ML-DSA key":
            keys.sibling(key, "mldsa").unlink()
        case "open ML-DSA key":
            keys.sibling(key, "mldsa").chmod(0o640)
        case "torn ML-DSA key":
            _, other = ensure(tmp_path / "other")
            keys.sibling(key, "mldsa").write_bytes(keys.sibling(other, "mldsa").read_bytes())
    ensure(tmp_path, *names)
    assert chain.read_bytes() != before
    assert load(chain).public_key() == load_pem_private_key(key.read_bytes(), None).public_key()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / ".velocity").write_text("in the way")
    with pytest.raises(StartError) as caught:
        ensure(tmp_path)
    assert caught.value.code == "CERT_UNWRITABLE"
    assert "--cert" in caught.value.hint


def test_not_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site" / ".velocity").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError):
        ensure(tmp_path / "site")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_planted_symlink_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".velocity").mkdir(mode=0o700)
    (tmp_path / ".velocity" / ".gitignore").symlink_to(tmp_path / "victim")
    ensure(tmp_path)
    assert (tmp_path / "victim").read_text() == "precious"


def test_starts_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ensure(tmp_path), range(8)))
    chain, key = ensure(tmp_path)
    assert load(chain).public_key() == load_pem_private_key(key.read_bytes(), None).public_key()
