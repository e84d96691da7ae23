"""A server that claims a protocol it cannot prove: qh3, with a certificate of its own, under any ALPN."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.asyncio.server import serve
from qh3.quic.configuration import QuicConfiguration

if TYPE_CHECKING:
    from support.certificates import Pair


class Deaf(QuicConnectionProtocol):
    """Shakes hands and does nothing else."""

    def quic_event_received(self, event: object) -> None:
        """Leave it at that."""


class Impostor:
    """Runs in a thread; entering gives its port."""

    def __init__(self, pair: Pair, alpn: str) -> None:
        self._configuration = QuicConfiguration(is_client=False, alpn_protocols=[alpn])
        self._configuration.load_cert_chain(str(pair.cert), str(pair.key))
        self._port = 0
        self._up, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        assert self._up.wait(10)
        return self._port

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        async def start() -> None:
            self._server = server = await serve("127.0.0.1", 0, configuration=self._configuration, create_protocol=Deaf)
            assert server._transport is not None
            self._port = server._transport.get_extra_info("sockname")[1]
            self._up.set()

        self._loop.run_until_complete(start())
        self._loop.run_forever()
        self._server.close()  # type: ignore[no-untyped-call]
        self._loop.run_until_complete(asyncio.sleep(0.1))  # lets the transport close
