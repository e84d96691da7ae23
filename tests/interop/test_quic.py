"""aioquic and qh3: HTTP/3 by two more stacks, one of which has X25519MLKEM768 (RFC 10024)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from support import http3
from support.http3 import Http3, Library
from support.site import INDEX, Site

if TYPE_CHECKING:
    from support.server import Server

X25519 = 0x001D
SECP256R1 = 0x0017
X25519MLKEM768 = 0x11EC


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The key exchange group of every ServerHello that either library reads from now on."""
    groups: list[int] = []
    for library in ("aioquic", "qh3"):
        tls = importlib.import_module(f"{library}.tls")

        def read(buffer: Any, parse: Any = tls.pull_server_hello) -> Any:
            hello = parse(buffer)
            groups.append(int(hello.key_share[0]))
            return hello

        monkeypatch.setattr(tls, "pull_server_hello", read)
    return groups


def conversation_over(port: int, library: Library, alpn: str, site: Site) -> None:
    async def conversation() -> None:
        async with Http3.open(port, library=library, alpn=alpn) as connection:
            assert (await connection.ask("/")).body == INDEX
            assert (await connection.ask("/nothing-here")).status == 404
            etag = (await connection.ask("/hello.txt"))["etag"]
            assert (await connection.ask("/hello.txt", fields=[("if-none-match", etag)])).status == 304
            streams = [connection.send("/data.bin") for _ in range(4)]
            await connection.finish(*streams)
            assert all(connection.answers[stream].body == site.binary for stream in streams)

    http3.run(conversation())


def test_aioquic(server: Server, site: Site, chosen: list[int]) -> None:
    """A client of yesterday: no hybrid group to offer, and still served over h3."""
    conversation_over(server.port, "aioquic", "h3", site)
    assert chosen[-1] in (X25519, SECP256R1)


def test_qh3_is_post_quantum(server: Server, site: Site, chosen: list[int]) -> None:
    conversation_over(server.port, "qh3", "h3", site)
    assert chosen == [X25519MLKEM768]


@pytest.mark.parametrize("library", ["aioquic", "qh3"])
def test_velocity_refuses_classical_clients(server: Server, library: http3.Library) -> None:
    """The promise of Velocity/1: neither key exchange nor signature is ever classical alone, whoever asks."""
    with pytest.raises(ConnectionError, match="client_sigalg"):
        http3.ask(server.port, "/", library=library, alpn="velocity/1")


def test_unknown_alpn_is_refused(server: Server) -> None:
    with pytest.raises(ConnectionError):
        http3.ask(server.port, "/", alpn="hq-interop")
