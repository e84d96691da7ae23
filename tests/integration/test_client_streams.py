"""More requests on one connection than there are streams: whatever becomes of one, its stream comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support import certificates
from support.http3_server import Http3Server
from velocity._core import Connection
from velocity.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from support.server import Server
    from support.site import Site
    from velocity._core import Response
    from velocity.client.connect import Protocol

REQUESTS = 300
"""Three times the requests that the server takes at a time."""

over_quic = pytest.mark.parametrize("protocol", ["velocity/1", "h3"])


def connect(server: Server, protocol: Protocol) -> Connection:
    return Connection("localhost", server.port, protocols=[protocol], insecure=True)


def body(response: Response) -> bytes:
    return b"".join(iter(response.read, None))


def is_served(connection: Connection) -> None:
    response = connection.request("GET", "/hello.txt", [], timeout=10)
    assert (response.status, body(response)) == (200, b"hello\n")


@over_quic
def test_uploads_that_are_answered_early(server: Server, protocol: Protocol) -> None:
    """RFC 9114 section 4.1: the server wants no more of the request, and the client says where it ends."""
    connection = connect(server, protocol)
    content = bytes(2 << 20)
    for _ in range(REQUESTS):
        response = connection.request("POST", "/hello.txt", [], content, timeout=10)
        assert response.status == 405
        body(response)
    is_served(connection)
    connection.close()


@over_quic
def test_downloads_that_are_given_up(server: Server, site: Site, protocol: Protocol) -> None:
    """RFC 9114 section 4.1.1."""
    connection = connect(server, protocol)
    for _ in range(REQUESTS):
        response = connection.request("GET", "/data.bin", [], timeout=10)
        assert response.read()
        del response
    response = connection.request("GET", "/data.bin", [], timeout=10)
    assert body(response) == site.binary
    connection.close()


def test_answers_that_do_not_come(tmp_path: Path) -> None:
    """A request that is given up before its answer begins is cancelled, too."""
    (tmp_path / "hello.txt").write_bytes(b"hello\n")
    pair = certificates.make(tmp_path / "pair")
    with Http3Server(tmp_path, pair) as silent:
        connection = Connection("localhost", silent.port, protocols=["h3"], ca_file=str(pair.cert))
        for _ in range(REQUESTS // 2):
            with pytest.raises(RequestError) as failed:
                connection.request("GET", "/never", [], timeout=0.01)
            assert failed.value.code == "REQUEST_TIMEOUT"
        is_served(connection)
        deadline = time.monotonic() + 10
        while silent.cancelled < REQUESTS // 2 and time.monotonic() < deadline:
            time.sleep(0.05)  # on a slow machine the last are still on their way
        connection.close()
        assert silent.cancelled == REQUESTS // 2
