"""A long path on one machine: datagrams between clients and a server are held for half a round trip each way."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

Address = tuple[str, int]


class _Client(asyncio.DatagramProtocol):
    """Towards the server, for one client."""

    def __init__(self, relay: _Relay, client: Address) -> None:
        self._relay, self._client = relay, client

    def datagram_received(self, data: bytes, _: Address) -> None:
        self._relay.later(self._relay.transport, data, self._client)


class _Relay(asyncio.DatagramProtocol):
    """Towards the clients."""

    def __init__(self, port: int, delay: float) -> None:
        self._port, self._delay = port, delay
        self._clients: dict[Address, asyncio.Future[asyncio.DatagramTransport]] = {}
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, client: Address) -> None:
        loop = asyncio.get_running_loop()
        if client not in self._clients:
            self._clients[client] = asyncio.ensure_future(self._open(loop, client))
        self._clients[client].add_done_callback(lambda opened: self.later(opened.result(), data, None))

    async def _open(self, loop: asyncio.AbstractEventLoop, client: Address) -> asyncio.DatagramTransport:
        server = ("127.0.0.1", self._port)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Client(self, client), remote_addr=server)
        return transport

    def later(self, transport: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
        """Send after the delay, in order."""
        asyncio.get_running_loop().call_later(self._delay, transport.sendto, data, to)


@contextmanager
def delayed(port: int, round_trip: float) -> Iterator[int]:
    """The port of a relay to a UDP server on 127.0.0.1.

    Args:
        port: of the server.
        round_trip: seconds that are added to every round trip.
    """
    loop, up = asyncio.new_event_loop(), threading.Event()
    found: list[int] = []

    async def start() -> None:
        relay = _Relay(port, round_trip / 2)
        transport, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=("127.0.0.1", 0))
        found.append(transport.get_extra_info("sockname")[1])
        up.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    up.wait()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
