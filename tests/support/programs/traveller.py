"""A client that says on stdout how far it is, and waits for its next order on stdin: `PATH` a line.

Arguments: the URL of a server, where it is instead, its roots, protocols.
"""

from __future__ import annotations

import sys
from typing import Any

import velocity

server, place, trust = sys.argv[1:4]
protocols: list[Any] = sys.argv[4:]
port = int(server.rpartition(":")[2])
with velocity.Client(
    base_url=server, verify=trust, protocols=protocols, resolve={("localhost", port): (place, port)}, timeout=25
) as client:
    for line in sys.stdin:
        print("asks", flush=True)
        with client.stream("GET", line.strip()) as response:
            for piece in response.iter_bytes():
                print("got", piece.decode(), response.velocity.reused, flush=True)
        print("done", flush=True)
