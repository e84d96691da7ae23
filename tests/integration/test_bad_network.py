"""Our client and our server over a network that loses, delays, reorders and duplicates: late, but the same bytes.

`crates/velocity-h3/tests/simulation` tries thousands of such networks, without a socket; here are the real drivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.bad_network import BadNetwork
from velocity._core import Connection

if TYPE_CHECKING:
    from support.server import Server
    from support.site import Site


@pytest.mark.parametrize("seed", range(3))
def test_the_same_bytes(server: Server, site: Site, seed: int) -> None:
    with BadNetwork(server.port, seed) as network:
        connection = Connection("localhost", network.port, protocols=["h3"], insecure=True)
        for _ in range(3):
            response = connection.request("GET", "/data.bin", [], timeout=20)
            assert b"".join(iter(response.read, None)) == site.binary
            given_up = connection.request("GET", "/data.bin", [], timeout=20)
            assert given_up.read()
            del given_up
            refused = connection.request("POST", "/hello.txt", [], bytes(1 << 20), timeout=20)
            assert refused.status == 405
            assert refused.read()
        connection.close()
