"""The examples that are scripts, each run to its end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.examples import run
from support.front import closed_port
from support.server import Server

if TYPE_CHECKING:
    from support.site import Site


def test_handshake_demo() -> None:
    done = run("handshake_demo.py", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("ok") for line in lines)
    assert "reason=policy_disabled" in lines[-1] or "policy_disabled" in lines[-1]


def test_handshake_demo_against_a_server_that_falls_short(fresh_site: Site, server: Server) -> None:
    assert run("handshake_demo.py", server.address, "--cacert", server.trust).returncode == 0
    with Server(fresh_site.root, "--permit", "balanced") as lesser:
        done = run("handshake_demo.py", lesser.address, "--cacert", lesser.trust)
        assert done.returncode == 1
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        assert [line.split(":")[0] for line in failed] == ["FAIL velocity/1 light", "FAIL velocity/1 secure"]


def test_velocity_probe(fresh_site: Site, server: Server) -> None:
    done = run("velocity_probe.py", server.address, "--cacert", server.trust)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert told["velocity/1"] == "X25519MLKEM768, TLS_AES_128_GCM_SHA256, ecdsa_secp256r1_sha256_mldsa65"
    assert told["velocity/1 secure"].startswith("X25519MLKEM1024")
    profiles = {f"velocity/1 {profile}" for profile in ("light", "balanced", "secure")}
    assert set(told) == {"velocity/1", "h3", "h2", "http/1.1"} | profiles
    policy = ("--permit", "secure", "--profile", "secure", "--fallback-host", "b.example", "--fallback-port", "8443")
    with Server(fresh_site.root, *policy) as strict:
        done = run("velocity_probe.py", strict.address, "--cacert", strict.trust)
        assert done.returncode == 0
        assert "  advised to use h3 at b.example:8443 (client_profile)" in done.stdout.splitlines()


def test_velocity_fetch(site: Site, server: Server) -> None:
    done = run("velocity_fetch.py", server.url("/"), "--cacert", server.trust)
    assert (done.returncode, done.stdout) == (0, (site.root / "index.html").read_text())
    assert "velocity/1 balanced: X25519MLKEM768, ecdsa_secp256r1_sha256_mldsa65" in done.stderr
    assert run("velocity_fetch.py", server.url("/none"), "--cacert", server.trust).returncode == 1


def test_velocity_fetch_tells_where_to_go_and_does_not_go_there(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--permit", "secure", "--profile", "secure") as strict:
        done = run("velocity_fetch.py", strict.url("/"), "--cacert", strict.trust, "--profile", "light")
        assert (done.returncode, done.stdout) == (1, "")
        assert "the server advises: " in done.stderr
        assert "client_profile" in done.stderr


@pytest.mark.parametrize(("protocol", "scheme"), [("velocity/1", "mldsa65"), ("h3", "ecdsa_secp256r1_sha256")])
def test_transcript_dump(server: Server, protocol: str, scheme: str) -> None:
    done = run("transcript_dump.py", server.address, "--cacert", server.trust, "--protocol", protocol)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["negotiated"]["alpn"] == protocol
    messages = found["messages"]
    assert [(message["from"], message["type"]) for message in messages] == [
        ("client", "client_hello"),
        ("server", "server_hello"),
        ("server", "encrypted_extensions"),
        ("server", "certificate"),
        ("server", "certificate_verify"),
        ("server", "finished"),
        ("client", "finished"),
    ]
    hello, answer, extensions, certificate, verify = messages[:5]
    assert (hello["server_name"], hello["alpn"], extensions["alpn"]) == ("localhost", [protocol], [protocol])
    assert answer["key_share"] == {"group": "X25519MLKEM768", "length": 1088 + 32}
    assert {"group": "X25519MLKEM768", "length": 1184 + 32} in hello["key_shares"]
    assert certificate["certificates"][0]["sha256"] == found["negotiated"]["certificate_sha256"]
    assert verify["signature_scheme"].endswith(scheme)
    assert (verify["signature_length"] > 3309) == (protocol == "velocity/1"), "FIPS 204: of ML-DSA-65"


@pytest.mark.parametrize("script", ["velocity_probe.py", "transcript_dump.py"])
def test_nobody_there(script: str) -> None:
    done = run(script, f"localhost:{closed_port()}")
    assert done.returncode == 1


@pytest.mark.parametrize("script", [f"velocity_{name}.py" for name in ("probe", "fetch")] + ["transcript_dump.py"])
def test_no_such_host(script: str) -> None:
    done = run(script, "https://user@example.com/")
    assert done.returncode == 2
    assert "error: " in done.stderr
