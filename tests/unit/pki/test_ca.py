"""The authority: what it makes, what it issues and refuses, what it takes back, and that it notices a changed log."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from support import needs
from unit.pki.making import DAY, NOW
from velocity.errors import ChainError, ConfigError, PkiError
from velocity.pki import bundle, ca, chain, founding, hybrid, keys, names, revocation, templates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from velocity.pki.bundle import Issued


@pytest.fixture(autouse=True)
def _cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keys._SCRYPT, "p", 1)


def create(directory: Path, **more: Any) -> ca.Authority:
    more.setdefault("clock", lambda: NOW)
    return founding.create(directory / "ca", **more)


def reopen(directory: Path, at: dt.datetime = NOW, **more: Any) -> ca.Authority:
    return ca.Authority.open(directory / "ca", clock=lambda: at, **more)


def code_of(run: Callable[[], object]) -> str:
    with pytest.raises((PkiError, ConfigError)) as caught:
        run()
    assert "\n" not in caught.value.message
    return caught.value.code


def links(issued: Issued) -> list[bytes]:
    return [one.der for one in hybrid.read_pem(issued.chain)]


def verify(issued: Issued, **more: Any) -> chain.Verified:
    more.setdefault("at", NOW)
    return chain.verify(links(issued), [hybrid.read_pem(issued.root)[0].der], **more)


@pytest.mark.parametrize("intermediate", [False, True])
@pytest.mark.parametrize("profile", keys.PROFILES)
def test_issue(tmp_path: Path, profile: keys.Profile, intermediate: bool) -> None:
    authority = create(tmp_path, profile=profile, intermediate=intermediate)
    issued = authority.issue(["a.example", "*.b.example", "192.0.2.1"], profile=profile)
    for name in ("a.example", "x.b.example", "192.0.2.1"):
        passed = verify(issued, name=name, at_least=keys.PROFILES[profile][1])
    assert len(passed.path) == 2 + intermediate
    leaf = issued.leaf.plain
    assert leaf.not_valid_after_utc == NOW + 7 * DAY
    assert leaf.not_valid_before_utc == NOW - dt.timedelta(hours=1)
    assert leaf.serial_number.bit_length() > 100
    assert issued.classical_key is not None
    assert issued.alternative_key is not None
    assert issued.classical_key.public_key() == leaf.public_key()
    assert issued.alternative_key.public_key() == issued.leaf.alternative.key
    assert repr(issued) == "Issued(a.example, *.b.example, 192.0.2.1)"


def test_issued_for_clients(tmp_path: Path) -> None:
    issued = create(tmp_path).issue(["worker"], usage="client")
    verify(issued, usage="client")
    with pytest.raises(ChainError):
        verify(issued)


@pytest.mark.parametrize("intermediate", [False, True])
def test_openssl_takes_both_chains(tmp_path: Path, intermediate: bool) -> None:
    openssl = needs.command("openssl", "openssl")
    authority = founding.create(tmp_path / "ca", intermediate=intermediate)
    written = bundle.write(authority.issue(["a.example"]), tmp_path)
    for path in (written.chain, keys.sibling(written.chain, "classical")):
        command = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "a.example"]
        command += ["-CAfile", str(written.root), "-untrusted", str(path), str(path)]
        subprocess.run(command, capture_output=True, check=True)
        assert len(hybrid.read_pem(path.read_bytes())) == 1 + intermediate
    lean = hybrid.read_pem(keys.sibling(written.chain, "classical").read_bytes())
    assert not any(one.is_hybrid for one in lean)
    assert sum(len(one.der) for one in lean) < 1200 * len(lean)
    assert lean[0].plain.public_key() == hybrid.read_pem(written.chain.read_bytes())[0].plain.public_key()
    crl = tmp_path / "crl.pem"
    crl.write_bytes(revocation.revocation_list(authority))
    issuer = authority.directory / ("intermediate.pem" if intermediate else "root.pem")
    subprocess.run([openssl, "crl", "-noout", "-CAfile", issuer, "-in", crl], capture_output=True, check=True)


def test_files(tmp_path: Path) -> None:
    authority = create(tmp_path, intermediate=True)
    bundle.write(authority.issue(["a.example"]), tmp_path / "out")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {
        "fullchain.pem": 0o644, "fullchain.classical.pem": 0o644, "root.pem": 0o644,
        "privkey.pem": 0o600, "privkey.mldsa.pem": 0o600,
    }  # fmt: skip
    assert stat.S_IMODE(authority.directory.stat().st_mode) == 0o700
    for path in authority.directory.glob("*-key*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_interrupted_write_leaves_all_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = create(tmp_path)
    bundle.write(authority.issue(["a.example"]), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    issued = authority.issue(["a.example"])
    real, count = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert code_of(lambda: bundle.write(issued, tmp_path / "out")) == "CERT_UNWRITABLE"
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_interrupted_issue_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = create(tmp_path)
    real, counted = os.fsync, []

    def full(descriptor: int) -> None:
        counted.append(descriptor)
        if len(counted) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert code_of(lambda: authority.issue(["a.example"])) == "CA_UNWRITABLE"
    authority = reopen(tmp_path)
    assert [entry["event"] for entry in authority.log.entries] == ["init"]
    authority.issue(["b.example"])
    assert [entry.get("names") for entry in reopen(tmp_path).log.entries] == [None, ["b.example"]]


def test_founding_only_once(tmp_path: Path) -> None:
    create(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()}
    assert code_of(lambda: create(tmp_path)) == "CA_EXISTS"
    assert {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()} == before


@pytest.mark.parametrize("name", ["", "x" * 57, "two\nlines"])
def test_no_name(tmp_path: Path, name: str) -> None:
    assert code_of(lambda: create(tmp_path, name=name)) == "CA_NAME_INVALID"


def test_none_there(tmp_path: Path) -> None:
    assert code_of(lambda: reopen(tmp_path)) == "CA_MISSING"
    (tmp_path / "file").touch()
    assert code_of(lambda: founding.create(tmp_path / "file" / "ca")) == "CA_UNWRITABLE"


def test_passphrase(tmp_path: Path) -> None:
    create(tmp_path, passphrase="right", intermediate=True)
    for path in (tmp_path / "ca").glob("*-key*.pem"):
        assert b"ENCRYPTED" in path.read_bytes()
    asked = []

    def ask(answer: str | None) -> Callable[[], str | None]:
        return lambda: asked.append(answer) or answer  # type: ignore[func-returns-value]

    authority = reopen(tmp_path, passphrase=ask("right"))
    assert not asked  # reading takes no passphrase
    authority.issue(["a.example"])
    authority.issue(["a.example"])
    assert asked == ["right"]
    assert code_of(lambda: reopen(tmp_path, passphrase=ask("wrong")).issue(["a"])) == "PASSPHRASE_WRONG"
    assert code_of(lambda: reopen(tmp_path, passphrase=ask(None)).issue(["a"])) == "PASSPHRASE_MISSING"


def test_root_offline(tmp_path: Path) -> None:
    create(tmp_path, intermediate=True, root_keys=tmp_path / "usb")
    assert not (tmp_path / "ca" / "root-key.pem").exists()
    assert sorted(path.name for path in (tmp_path / "usb").iterdir()) == ["root-key.mldsa.pem", "root-key.pem"]
    verify(reopen(tmp_path).issue(["a.example"]))
    assert code_of(lambda: founding.create(tmp_path / "other", root_keys=tmp_path / "usb2")) == "CA_NO_ISSUER"


def test_key_of_another(tmp_path: Path) -> None:
    create(tmp_path)
    keys.store(tmp_path / "ca" / "root-key.pem", keys.generate())
    assert code_of(lambda: reopen(tmp_path).issue(["a"])) == "CA_KEY_MISMATCH"


def test_constraints_are_in_the_certificates(tmp_path: Path) -> None:
    rules = "constraints:\n  permit: [example.com, 10.0.0.0/8]\n  exclude: [secret.example.com]\n"
    authority = create(tmp_path, rules=rules, intermediate=True)
    for certificate in (authority.root, authority.issuer):
        assert certificate.plain.extensions.get_extension_for_class(x509.NameConstraints).critical
    authority.issue(["example.com", "a.example.com", "10.1.2.3"])
    for name in ("example.org", "a.secret.example.com", "192.0.2.1"):
        assert code_of(lambda name=name: authority.issue([name])) == "CA_POLICY_VIOLATION"  # type: ignore[misc]
    assert len(authority.log.entries) == 2


def test_addresses_for_status(tmp_path: Path) -> None:
    rules = "revocation:\n  crl_urls: ['http://ca.example/crl']\n  ocsp_urls: ['http://ca.example/ocsp']\n"
    leaf = create(tmp_path, rules=rules).issue(["a"]).leaf.plain
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name == [x509.UniformResourceIdentifier("http://ca.example/crl")]
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access[0].access_location == x509.UniformResourceIdentifier("http://ca.example/ocsp")


def test_at_its_end(tmp_path: Path) -> None:
    authority = create(tmp_path, rules="authority: {root_lifetime: 30d}\n")
    authority.issue(["a"], lifetime=30 * DAY)
    assert code_of(lambda: authority.issue(["a"], lifetime=31 * DAY)) == "CA_EXPIRED"


def request(*wanted: str, key: keys.HybridKey | None = None) -> bytes:
    extensions = [names.alternative_names(wanted)] if wanted else []
    return hybrid.build_request(templates.subject("a"), extensions, key or keys.generate())


def test_sign_request(tmp_path: Path) -> None:
    key = keys.generate("secure")
    issued = create(tmp_path).sign_request(request("a.example", "192.0.2.1", key=key))
    verify(issued, name="192.0.2.1")
    assert (issued.classical_key, issued.alternative_key) == (None, None)
    assert issued.leaf.plain.public_key() == key.classical.public_key()
    assert issued.leaf.alternative.key == key.alternative.public_key()
    bundle.write(issued, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "fullchain.classical.pem", "fullchain.pem", "root.pem",
    ]  # fmt: skip


def test_requests_that_are_not_signed(tmp_path: Path) -> None:
    authority = create(tmp_path, rules="profiles: [balanced]\n")
    assert code_of(lambda: authority.sign_request(b"nothing")) == "CSR_INVALID"
    assert code_of(lambda: authority.sign_request(request())) == "CA_POLICY_VIOLATION"
    assert code_of(lambda: authority.sign_request(request("a", key=keys.generate("light")))) == "CA_POLICY_VIOLATION"
    plain = x509.CertificateSigningRequestBuilder(templates.subject("a"))
    plain = plain.add_extension(names.alternative_names(["a"]), critical=False)
    classical = plain.sign(keys.generate_classical("p256"), hashes.SHA256()).public_bytes(Encoding.PEM)
    assert code_of(lambda: authority.sign_request(classical)) == "CSR_INVALID"
    other = x509.SubjectAlternativeName([x509.RFC822Name("a@example.com")])
    mail = hybrid.build_request(templates.subject("a"), [other], keys.generate())
    assert code_of(lambda: authority.sign_request(mail)) == "CSR_INVALID"
    assert len(authority.log.entries) == 1


def test_revoke(tmp_path: Path) -> None:
    authority = create(tmp_path)
    one, two = authority.issue(["a.example"]), authority.issue(["b.example"])
    serial = one.leaf.plain.serial_number
    assert revocation.revoke(authority, serial, "key_compromise") == ("a.example",)
    assert code_of(lambda: revocation.revoke(authority, serial)) == "ALREADY_REVOKED"
    assert code_of(lambda: revocation.revoke(authority, 12345)) == "SERIAL_UNKNOWN"
    assert code_of(lambda: revocation.revoke(authority, serial, "boredom")) == "REASON_UNKNOWN"
    authority = reopen(tmp_path)
    encoded = revocation.revocation_list(authority)
    assert (authority.directory / "crl.pem").read_bytes() == encoded
    listed = hybrid.read_revocation_list(encoded).plain
    lean = hybrid.read_pem(one.classical_chain)[0].plain.serial_number
    assert {entry.serial_number for entry in listed} == {serial, lean}
    entry = listed.get_revoked_certificate_by_serial_number(serial)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    with pytest.raises(ChainError) as caught:
        verify(one, revocation=[encoded])
    assert caught.value.cause == "revoked"
    verify(two, revocation=[encoded])
    again = hybrid.read_revocation_list(revocation.revocation_list(authority)).plain
    numbers = [one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for one in (listed, again)]
    assert numbers == [1, 2]
    later = hybrid.read_revocation_list(revocation.revocation_list(reopen(tmp_path, NOW + 8 * DAY))).plain
    assert len(later) == 0


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])
def test_ocsp(tmp_path: Path, digest: hashes.SHA1 | hashes.SHA256) -> None:
    authority = create(tmp_path, intermediate=True)
    good, bad = authority.issue(["a.example"]), authority.issue(["b.example"])
    revocation.revoke(authority, bad.leaf.plain.serial_number, "superseded")
    issuer = authority.issuer.plain

    def ask(certificate: x509.Certificate, by: x509.Certificate = issuer) -> ocsp.OCSPResponse:
        question = ocsp.OCSPRequestBuilder().add_certificate(certificate, by, digest)
        question = question.add_extension(x509.OCSPNonce(b"0123456789abcdef"), critical=False)
        answer = revocation.ocsp_response(authority, question.build().public_bytes(Encoding.DER))
        return ocsp.load_der_ocsp_response(answer)

    answer = ask(good.leaf.plain)
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"0123456789abcdef"
    assert answer.next_update_utc == NOW + DAY
    assert keys.verify(issuer.public_key(), answer.signature, answer.tbs_response_bytes, hashes.SHA256())
    answer = ask(bad.leaf.plain)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.superseded
    assert ask(hybrid.read_pem(bad.classical_chain)[0].plain).certificate_status is ocsp.OCSPCertStatus.REVOKED
    other = founding.create(tmp_path / "other", intermediate=True, clock=lambda: NOW)
    stranger = other.issue(["c.example"]).leaf.plain
    assert ask(stranger).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert ask(stranger, other.issuer.plain).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    for data in (b"", b"nothing", bytes(20_000)):
        answer = ocsp.load_der_ocsp_response(revocation.ocsp_response(authority, data))
        assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def changed(line: bytes, **values: Any) -> bytes:
    return json.dumps({**json.loads(line), **values}, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "harm",
    ["changed", "changed last", "dropped", "cut", "emptied", "gone", "swapped", "added two", "no head", "head garbage",
     "head count", "head forged", "head of another"],
)  # fmt: skip
def test_a_changed_log_is_noticed(tmp_path: Path, harm: str) -> None:
    authority = create(tmp_path)
    for name in ("a", "b", "c"):
        authority.issue([name])
    log, head = authority.log.path, authority.directory / "issued.head"
    lines = log.read_bytes().splitlines()
    match harm:
        case "changed":
            lines[1] = changed(lines[1], names=["z"])
        case "changed last":
            lines[-1] = changed(lines[-1], names=["z"])
        case "dropped":
            del lines[2]
        case "cut":
            del lines[-1]
        case "emptied":
            lines = []
        case "swapped":
            lines[1], lines[2] = lines[2], lines[1]
        case "added two":
            lines += [changed(lines[-1], n=4), changed(lines[-1], n=5)]
        case "no head":
            head.unlink()
        case "head garbage":
            head.write_bytes(b"{}")
        case "head count":
            values = json.loads(head.read_bytes())
            head.write_text(json.dumps({**values, "entries": 3}))
        case "head forged":
            values = json.loads(head.read_bytes())
            head.write_text(json.dumps({**values, "ml_dsa": values["ml_dsa"][:-8] + "AAAAAAA="}))
        case "head of another":
            other = founding.create(tmp_path / "other", clock=lambda: NOW)
            for name in ("a", "b", "c"):
                other.issue([name])
            head.write_bytes((other.directory / "issued.head").read_bytes())
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    if harm == "gone":
        log.unlink()
    assert code_of(lambda: reopen(tmp_path)) == "CA_LOG_TAMPERED"


@pytest.mark.parametrize("rest", [b'{"half', b'{"n":1,"previous":"","event":"issue"}\n'])
def test_an_interrupted_line_does_not_count(tmp_path: Path, rest: bytes) -> None:
    authority = create(tmp_path)
    with authority.log.path.open("ab") as file:
        file.write(rest)
    authority = reopen(tmp_path)
    assert len(authority.log.entries) == 1
    authority.issue(["a"])
    assert len(reopen(tmp_path).log.entries) == 2


def test_several_at_once(tmp_path: Path) -> None:
    authority = create(tmp_path)
    others = [authority, *(reopen(tmp_path) for _ in range(3))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: [one.issue(["a"]) for _ in range(5)], others))
    assert len(reopen(tmp_path).log.entries) == 21


def test_serials_are_random(tmp_path: Path) -> None:
    authority = create(tmp_path)
    serials = {authority.issue(["a"]).leaf.plain.serial_number for _ in range(20)}
    assert len(serials) == 20


def test_a_thousand_a_minute(tmp_path: Path) -> None:
    authority = create(tmp_path)
    begin = time.perf_counter()
    for _ in range(50):
        authority.issue(["a.example", "b.example"])
    assert 50 / (time.perf_counter() - begin) * 60 > 1000


def test_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VELOCITY_CA_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ca.default_directory() == tmp_path / ".local" / "share" / "velocity" / "ca"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert ca.default_directory() == tmp_path / "data" / "velocity" / "ca"
    monkeypatch.setenv("VELOCITY_CA_DIR", str(tmp_path / "own"))
    assert ca.default_directory() == tmp_path / "own"
