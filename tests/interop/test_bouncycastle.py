"""Bouncy Castle: a second implementation of hybrid certificates, revocation lists and requests."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import needs
from velocity.errors import ChainError
from velocity.pki import bundle, chain, enrolment, founding, hybrid, keys, revocation

SOURCE = Path(__file__).with_name("bouncycastle")
BOTH = "classical true\nalternative true\n"

Judge = Callable[..., str]


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Fetch Bouncy Castle at the version that pom.xml names, and give back a function that asks it."""
    java, javac = (needs.command(name, "default-jdk-headless") for name in ("java", "javac"))
    maven = needs.command("mvn", "maven")
    libraries = tmp_path_factory.mktemp("bouncycastle")
    fetch = [maven, "-q", "-B", "-f", str(SOURCE / "pom.xml"), "dependency:copy-dependencies"]
    fetched = subprocess.run([*fetch, f"-DoutputDirectory={libraries}"], capture_output=True, text=True, timeout=280)
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    compile_ = [javac, "-cp", f"{libraries}/*", "-d", str(libraries / "classes"), str(SOURCE / "Judge.java")]
    compiled = subprocess.run(compile_, capture_output=True, text=True, timeout=120)
    assert compiled.returncode == 0, compiled.stderr

    def ask(*arguments: str | Path) -> str:
        command = [java, "-cp", f"{libraries}/classes:{libraries}/*", "Judge", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ask


@pytest.mark.parametrize("profile", keys.PROFILES)
def test_it_verifies_what_we_issue(judge: Judge, tmp_path: Path, profile: keys.Profile) -> None:
    authority = founding.create(tmp_path / "ca", profile=profile)
    written = bundle.write(authority.issue(["a.example"], profile=profile), tmp_path)
    assert judge("certificate", written.root, written.root) == BOTH
    assert judge("certificate", written.chain, written.root) == BOTH


def test_it_verifies_our_revocation_lists_and_requests(judge: Judge, tmp_path: Path) -> None:
    authority = founding.create(tmp_path / "ca")
    revocation.revoke(authority, authority.issue(["a.example"]).leaf.plain.serial_number)
    (tmp_path / "crl.pem").write_bytes(revocation.revocation_list(authority))
    assert judge("crl", tmp_path / "crl.pem", authority.directory / "root.pem") == BOTH
    assert judge("request", enrolment.request(["a.example"], tmp_path)) == BOTH


def test_it_refuses_the_signature_of_another(judge: Judge, tmp_path: Path) -> None:
    """That the judge can say no."""
    one = founding.create(tmp_path / "one").issue(["a.example"])
    other = founding.create(tmp_path / "other")
    written = bundle.write(one, tmp_path)
    verdict = judge("certificate", written.chain, other.directory / "root.pem")
    assert verdict == "classical false\nalternative false\n"


@pytest.mark.parametrize("level", keys.LEVELS)
def test_we_verify_what_it_makes(judge: Judge, tmp_path: Path, level: keys.Level) -> None:
    judge("make", tmp_path, level)
    leaf, root = (chain.load(tmp_path / name) for name in ("leaf.pem", "root.pem"))
    now, crl = dt.datetime.now(dt.UTC), (tmp_path / "crl.pem").read_bytes()
    assert chain.verify(leaf, root, at=now, name="a.example").level == level
    with pytest.raises(ChainError) as caught:
        chain.verify(leaf, root, at=now, name="a.example", revocation=[crl])
    assert caught.value.cause == "revoked"
    request = hybrid.read_request((tmp_path / "request.pem").read_bytes())
    assert keys.level(request.alternative_key) == level
    authority = founding.create(tmp_path / "ca")
    issued = authority.sign_request((tmp_path / "request.pem").read_bytes())
    chain.verify([issued.leaf.der], [authority.root.der], at=now, name="a.example")
