"""The messages of a handshake as JSON: what was offered, what was chosen, how large keys and signatures were.

python transcript_dump.py localhost:4433 --cacert trust.pem > transcript.json
python transcript_dump.py localhost:4433 --insecure --protocol h3

Kept beside what a point of presence says of its health, two of them show whether anything drifted.
"""

from __future__ import annotations

import argparse
import json
import sys

from velocity.client.connect import Trust
from velocity.client.transcript import transcript
from velocity.client.url import parse_authority
from velocity.errors import VelocityError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", metavar="HOST[:PORT]")
    parser.add_argument("--protocol", choices=("velocity/1", "h3"), default="velocity/1")
    parser.add_argument("--profile", choices=("light", "balanced", "secure"), help="under velocity/1")
    parser.add_argument("--cacert", metavar="FILE", help="PEM roots to trust instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")
    arguments = parser.parse_args()
    try:
        host, port = parse_authority(arguments.server)
        trust = Trust(arguments.cacert, arguments.insecure)
        found = transcript(host, port, arguments.protocol, profile=arguments.profile, trust=trust)
    except VelocityError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
