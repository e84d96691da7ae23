"""Every protocol, every profile, and what becomes of clients without velocity/1: a smoke test before a promotion.

python handshake_demo.py                       # servers of its own, on loopback
python handshake_demo.py edge-7.example:443    # the first two parts, against a server that runs

Each line is a handshake and what was expected of it. Exits with 0 only if all came out as expected.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velocity.client.connect import Opened, Profile, Protocol, Trust, open_connection
from velocity.client.url import parse_authority
from velocity.errors import VelocityError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILES: dict[Profile, set[str]] = {
    "light": {"X25519MLKEM512"},
    "balanced": {"X25519MLKEM768"},
    "secure": {"X25519MLKEM1024", "SecP384r1MLKEM1024"},
}
WEB: tuple[Protocol, ...] = ("h3", "h2", "http/1.1")


class Demo:
    """One server, and how it does."""

    def __init__(self, host: str, port: int, trust: Trust) -> None:
        self.host, self.port, self.trust = host, port, trust
        self.failed = 0

    def tell(self, what: str, is_right: bool, facts: str) -> None:
        self.failed += not is_right
        print(f"{'ok  ' if is_right else 'FAIL'} {what}: {facts}")

    def open(self, what: str, protocols: tuple[Protocol, ...], profile: Profile | None = None) -> Opened | None:
        try:
            return open_connection(self.host, self.port, protocols, profile=profile, trust=self.trust)
        except VelocityError as error:
            self.tell(what, False, error.message)
            return None

    def profiles(self) -> None:
        """Under velocity/1 both the key exchange and both signatures are those of the profile."""
        for profile, groups in PROFILES.items():
            what = f"velocity/1 {profile}"
            if opened := self.open(what, ("velocity/1",), profile):
                facts = opened.connection.facts
                is_hybrid = "mldsa" in facts["signature_scheme"]
                is_right = facts["profile"] == profile and facts["group"] in groups and is_hybrid
                time = f"{facts['handshake_ms']:.1f} ms"
                self.tell(what, is_right, f"{facts['group']}, {facts['signature_scheme']}, {time}")
                opened.connection.close()

    def web(self) -> None:
        """What browsers speak has hybrid key exchange as well."""
        for protocol in WEB:
            if opened := self.open(protocol, (protocol,)):
                facts = opened.connection.facts
                is_right = facts["alpn"] == protocol and facts["group"] == "X25519MLKEM768"
                self.tell(protocol, is_right, f"{facts['group']}, {facts['signature_scheme']}")
                opened.connection.close()

    def downgrade(self) -> None:
        """A server that may not speak velocity/1 says so, and the client is served by HTTP/3."""
        what = "no velocity/1 there"
        if opened := self.open(what, ("velocity/1", "h3")):
            connection = opened.connection
            response = connection.request("GET", "/", [], None, 10.0)
            said: dict[str, Any] = dict(response.headers)
            advice = said.get("velocity-fallback", "nothing")
            spoken, status = connection.facts["alpn"], response.status
            is_right = spoken == "h3" and status == 200 and "policy_disabled" in advice
            self.tell(what, is_right, f"{spoken} instead, status {status}; it said: {advice}")
            while response.read() is not None:
                pass
            connection.close()


@contextmanager
def server(folder: Path, *flags: str) -> Iterator[Demo]:
    """A server on loopback, with a certificate that it makes for itself."""
    command = [sys.executable, "-m", "velocity", "serve", "--root", str(folder), "--self-signed"]
    command += ["--listen", "127.0.0.1:0", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None  # noqa: S101 - for the type checker
        try:
            told = ""
            while (line := process.stderr.readline()) and "fetch it" not in line:
                told += line
            found = re.search(r"https://localhost:(\d+)/", told)
            if found is None:
                raise SystemExit(f"error: the server did not start\n{told}")
            trust = next((folder / ".velocity").rglob("trust.pem"))
            yield Demo("localhost", int(found[1]), Trust(str(trust)))
        finally:
            process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", nargs="?", metavar="HOST[:PORT]")
    parser.add_argument("--cacert", metavar="FILE", help="PEM roots to trust instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")
    arguments = parser.parse_args()
    if arguments.server:
        try:
            host, port = parse_authority(arguments.server)
        except VelocityError as error:
            parser.error(error.message)
        demo = Demo(host, port, Trust(arguments.cacert, arguments.insecure))
        demo.profiles()
        demo.web()
        return 1 if demo.failed else 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "index.html").write_text("<!doctype html><title>Demo</title><p>It works.</p>\n")
        with server(folder) as demo:
            demo.profiles()
            demo.web()
        with server(folder, "--alpn", "h3,h2,http/1.1") as lesser:
            lesser.downgrade()
    return 1 if demo.failed + lesser.failed else 0


if __name__ == "__main__":
    sys.exit(main())
