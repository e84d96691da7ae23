"""What a server speaks, how it is protected, and where it sends those whom it refuses.

python velocity_probe.py localhost:4433 --cacert trust.pem

Exits with 0 if velocity/1 works. `velocity client probe` is the same with a table.
"""

from __future__ import annotations

import argparse
import sys

from velocity.client.connect import Trust
from velocity.client.probe import probe
from velocity.client.url import parse_authority
from velocity.errors import VelocityError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", metavar="HOST[:PORT]")
    parser.add_argument("--cacert", metavar="FILE", help="PEM roots to trust instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="for each handshake")
    arguments = parser.parse_args()
    try:
        host, port = parse_authority(arguments.server)
        found = probe(host, port, Trust(arguments.cacert, arguments.insecure), arguments.timeout)
    except VelocityError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    named = {**found["protocols"], **{f"velocity/1 {name}": facts for name, facts in found["profiles"].items()}}
    for name, facts in named.items():
        if facts["ok"]:
            print(f"{name}: {facts['group']}, {facts['cipher']}, {facts['signature_scheme']}")
        else:
            print(f"{name}: no, {facts['error']} ({facts['code']})")
        if advice := facts.get("fallback"):
            where = f"{advice['host'] or host}:{advice['port'] or port}"
            print(f"  advised to use {advice['alpn']} at {where} ({advice['reason']})")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
