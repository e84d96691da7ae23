"""A UDP relay that loses, delays, reorders and duplicates what passes through it."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

LOSS, DUPLICATES, LATE = 0.03, 0.02, 0.1
DELAY = 0.001
"""Seconds that each datagram takes; a late one takes up to ten times that."""


class BadNetwork:
    """A relay in front of a port of this machine, in a thread of its own.

    Args:
        port: where datagrams go.
        seed: decides what happens to them.
        loss: how many are lost, of one.
    """

    def __init__(self, port: int, seed: int, loss: float = LOSS) -> None:
        self.port = 0
        self._target = ("127.0.0.1", port)
        self._random = random.Random(seed)
        self._loss = loss
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._opening: set[Any] = set()
        self._ways: dict[Any, asyncio.DatagramTransport] = {}

    def __enter__(self) -> BadNetwork:
        self._thread.start()
        assert self._ready.wait(10), "the relay did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def forget(self) -> None:
        """Forget which port stands for whom: what a client sends from now on comes from another one."""
        self._loop.call_soon_threadsafe(self._forget)

    def _forget(self) -> None:
        for way in self._ways.values():
            way.close()
        self._ways.clear()
        self._opening.clear()

    def _run(self) -> None:
        self._front = self._loop.run_until_complete(self._open(self._from_client, local_addr=("127.0.0.1", 0)))
        self.port = self._front.get_extra_info("sockname")[1]
        self._ready.set()
        self._loop.run_forever()
        for way in (self._front, *self._ways.values()):
            way.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _open(self, receive: Any, **address: Any) -> asyncio.DatagramTransport:
        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                receive(data, addr)

        transport, _ = await self._loop.create_datagram_endpoint(Receiver, **address)
        return transport

    def _from_client(self, data: bytes, client: Any) -> None:
        if (way := self._ways.get(client)) is not None:
            self._pass(data, way, None)
            return

        if client in self._opening:
            return
        self._opening.add(client)

        async def first() -> None:
            def back(answer: bytes, _: Any) -> None:
                self._pass(answer, self._front, client)

            self._ways[client] = await self._open(back, remote_addr=self._target)

        # What comes before a way is open is lost; whoever sent it will send it again.
        self._loop.create_task(first())

    def _pass(self, data: bytes, way: asyncio.DatagramTransport, to: Any) -> None:
        if self._random.random() < self._loss:
            return
        for _ in range(1 + (self._random.random() < DUPLICATES)):
            delay = DELAY * (self._random.uniform(1, 10) if self._random.random() < LATE else 1)
            self._loop.call_later(delay, self._deliver, data, way, to)

    def _deliver(self, data: bytes, way: asyncio.DatagramTransport, to: Any) -> None:
        if not way.is_closing():
            way.sendto(data, to)
