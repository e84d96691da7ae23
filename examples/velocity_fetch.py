"""One GET over velocity/1, and nothing less: whether a server can still be reached in the way that it should.

python velocity_fetch.py https://localhost:4433/ --cacert trust.pem

The body goes to stdout, what was negotiated to stderr. A server that refuses velocity/1 may say where to go instead;
that is printed, and not followed. Exits with 0 only for an answer below 400, so that cron tells of everything else.
`velocity client get` does more.
"""

from __future__ import annotations

import argparse
import sys

from velocity.client.connect import Trust, open_connection
from velocity.client.url import parse_url
from velocity.errors import ConnectError, VelocityError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--cacert", metavar="FILE", help="PEM roots to trust instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument("--profile", choices=("light", "balanced", "secure"), help="demand this one")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    arguments = parser.parse_args()
    try:
        return fetch(arguments)
    except VelocityError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        if isinstance(error, ConnectError) and "fallback" in error.details:
            print(f"the server advises: {error.details['fallback']}", file=sys.stderr)
        return error.exit_code


def fetch(arguments: argparse.Namespace) -> int:
    target = parse_url(arguments.url)
    trust = Trust(arguments.cacert, arguments.insecure)
    opened = open_connection(
        target.host, target.port, ("velocity/1",), profile=arguments.profile, trust=trust, timeout=arguments.timeout
    )
    connection, facts = opened.connection, opened.connection.facts
    print(f"{facts['alpn']} {facts['profile']}: {facts['group']}, {facts['signature_scheme']}", file=sys.stderr)
    response = connection.request("GET", target.path, [], None, arguments.timeout)
    while (chunk := response.read()) is not None:
        sys.stdout.buffer.write(chunk)
    sys.stdout.flush()
    connection.close()
    if response.status >= 400:
        print(f"error: the server answered {response.status}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
