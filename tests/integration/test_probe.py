"""`velocity client probe`: what was negotiated, read from the TLS state and not from what was configured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.certificates import Pair
from support.clients import PROTOCOLS
from support.server import Server, velocity

if TYPE_CHECKING:
    from support.site import Site

GROUPS = {
    "light": (0x2FB6, "X25519MLKEM512"),
    "balanced": (0x11EC, "X25519MLKEM768"),
    "secure": (0xFE24, "X25519MLKEM1024"),
}
ALIASES = {"turbo": "light", "fortress": "secure"}


def probe(server: Server, *flags: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The facts of each protocol by name."""
    done = velocity("client", "probe", server.address, "--insecure", "--json", *flags)
    assert done.returncode == code, done.stderr
    protocols: dict[str, dict[str, Any]] = json.loads(done.stdout)["protocols"]
    return protocols


@pytest.mark.parametrize("profile", [*GROUPS, *ALIASES])
def test_profile_decides_the_group(fresh_site: Site, profile: str) -> None:
    with Server(fresh_site.root, "--profile", profile) as running:
        facts = probe(running)
    code, name = GROUPS[ALIASES.get(profile, profile)]
    assert set(facts) == set(PROTOCOLS)
    velocity_1 = facts["velocity/1"]
    assert (velocity_1["group_code"], velocity_1["group"]) == (code, name)
    assert velocity_1["profile"] == ALIASES.get(profile, profile)
    for protocol in ("h3", "h2", "http/1.1"):
        assert facts[protocol]["group_code"] == 0x11EC, "what browsers speak, whatever the profile"


def test_facts_of_every_protocol(server: Server) -> None:
    for protocol, facts in probe(server).items():
        shown = server.hybrid_certificate if protocol == "velocity/1" else server.certificate
        assert facts["alpn"] == protocol
        assert facts["tls_version"] == "TLSv1.3"
        assert (facts["group_code"], facts["group"]) == (0x11EC, "X25519MLKEM768")
        assert facts["cipher"].startswith("TLS13_") or facts["cipher"].startswith("TLS_")
        assert facts["signature_scheme"]
        assert facts["certificate"]["sha256"] == Pair(shown, shown).sha256
        assert facts["round_trips"] >= 1
        assert 0 < facts["handshake_ms"] < 5000


def test_missing_protocols_are_reported_as_missing(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--alpn", "velocity/1") as running:
        facts = probe(running)
    assert facts["velocity/1"]["group_code"] == 0x11EC
    for protocol in ("h3", "h2", "http/1.1"):
        assert "group_code" not in facts[protocol]
        assert facts[protocol]["error"]


def test_exit_code_is_about_velocity(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--alpn", "h3,h2,http/1.1") as running:
        facts = probe(running, code=1)
    assert facts["h3"]["group_code"] == 0x11EC
    assert facts["velocity/1"]["error"]


def test_certificate_is_checked(server: Server) -> None:
    assert velocity("client", "probe", server.address).returncode == 1
    assert velocity("client", "probe", server.address, "--cacert", server.trust).returncode == 0


def test_for_people(server: Server) -> None:
    done = velocity("client", "probe", server.address, "--insecure")
    said = done.stdout.decode()
    for word in (*PROTOCOLS, "X25519MLKEM768"):
        assert word in said


def test_nobody_there() -> None:
    done = velocity("client", "probe", "localhost:9", "--insecure", "--json")
    assert done.returncode == 1
    json.loads(done.stdout)


@pytest.mark.parametrize("target", ["", "localhost:99999", "a b", "https://"])
def test_usage(target: str) -> None:
    assert velocity("client", "probe", target).returncode == 2
