"""What hybrid certificates cost: handshakes of each profile beside a classical one, and issuing."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from suite import clients
from suite.contestants import Setup, Velocity
from suite.contestants.base import output
from suite.relay import delayed
from suite.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suite.benches import Knobs
    from suite.clients import Numbers
    from suite.contestants import Contestant
    from suite.server import Server

CLASSICAL = "x25519@h3"
# The usual group of each profile.
OFFERS = {
    "light": "x25519mlkem512@velocity/1",
    "balanced": "x25519mlkem768@velocity/1",
    "secure": "x25519mlkem1024@velocity/1",
}
# Seconds of a round trip where they are counted: long beside anything that is computed.
ROUND_TRIP = 0.1

Turn = dict[str, "Numbers"]


def material(setup: Setup, profile: str) -> Setup:
    """The same site with a hybrid certificate of a profile, from an authority of this bench."""
    folder = setup.cache / "hybrid" / profile
    root, marker = folder / "root.pem", folder / "fullchain.pem"
    if not marker.exists() or time.time() - marker.stat().st_mtime > 5 * 86_400:
        velocity = Velocity(setup).executable
        authority = ["--ca", str(folder / f"ca-{time.time_ns()}")]
        output([velocity, "ca", "init", *authority, "--profile", profile])
        names = ["--dns", "localhost", "--ip", "127.0.0.1"]
        output([velocity, "cert", "issue", *authority, *names, "--profile", profile, "--out", str(folder)])
    return replace(setup, certificate=marker, key=folder / "privkey.pem", ca=root)


@contextmanager
def served(contestant: Contestant, profile: str) -> Iterator[tuple[Server, Setup, list[str]]]:
    """A server with a certificate of a profile, and what to offer it: first the classical, then the profile."""
    setup = material(contestant.setup, profile)
    with running(Velocity(setup, profile)) as server:
        yield server, setup, [CLASSICAL, OFFERS[profile]]


def handshake(contestant: Contestant, knobs: Knobs) -> Turn:
    """Handshakes one by one; the classical ones are those against the server of `balanced`."""
    turn: Turn = {}
    for profile in OFFERS:
        with served(contestant, profile) as (server, setup, offers):
            figures = clients.handshakes(server, setup, "quic", offers, knobs.handshakes)
        turn[f"velocity {profile}"] = figures[1]
        if profile == "balanced":
            turn["velocity classical"] = figures[0]
    return turn


def cost(contestant: Contestant, knobs: Knobs) -> Turn:
    """CPU of the server for each handshake, 16 at once."""
    turn: Turn = {}
    for profile in OFFERS:
        with served(contestant, profile) as (server, setup, offers):
            labelled = dict(zip(["velocity classical", f"velocity {profile}"], offers, strict=True))
            for label, offer in labelled.items():
                if label not in turn:
                    options = {"transport": "quic", "offer": offer, "seconds": knobs.seconds}
                    turn[label] = clients.load(server, setup, "handshake-rate", **options)
    return turn


def round_trips(contestant: Contestant, _: Knobs) -> Turn:
    """Handshakes over a long path, with an address validation token and without, in round trips; and their bytes."""
    turn: Turn = {}
    for profile in OFFERS:
        with served(contestant, profile) as (server, setup, offers), delayed(server.port, ROUND_TRIP) as port:
            for state, cold in (("cold", "true"), ("warm", "false")):
                far = replace(server, port=port)
                figures = clients.handshakes(far, setup, "quic", offers, 10, cold=cold, warmup=2)
                for label, numbers in zip(("classical", profile), figures, strict=True):
                    trips = round(numbers["min_ms"] / 1e3 / ROUND_TRIP, 2)
                    turn.setdefault(f"velocity {label} {state}", {**numbers, "round_trips": trips})
    return turn


def issue(contestant: Contestant, knobs: Knobs) -> Turn:
    """Certificates a minute: in one process, keys made and files written; and by the command, a process for each."""
    folder = contestant.setup.cache / "hybrid" / f"issue-{time.time_ns()}"
    velocity = Velocity(contestant.setup).executable
    output([velocity, "ca", "init", "--ca", str(folder / "ca")])
    program = [sys.executable, "-c", _ISSUE, str(folder), str(knobs.seconds)]
    in_process = float(output(program))
    begin, count = time.monotonic(), 0
    while time.monotonic() - begin < knobs.seconds:
        words = ["--ca", str(folder / "ca"), "--dns", "a.example", "--out", str(folder / "one")]
        output([velocity, "cert", "issue", *words])
        count += 1
    return {
        "velocity library": {"per_minute": round(in_process)},
        "velocity command": {"per_minute": round(60 * count / (time.monotonic() - begin))},
    }


_ISSUE = """
import sys, time
from pathlib import Path
from velocity.pki import bundle, ca
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
authority = ca.Authority.open(folder / "ca")
begin, count = time.monotonic(), 0
while time.monotonic() - begin < seconds:
    bundle.write(authority.issue((f"{count}.example",)), folder / "many")
    count += 1
print(60 * count / (time.monotonic() - begin))
"""
