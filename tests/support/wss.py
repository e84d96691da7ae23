"""WebSockets over TLS for the client of `websockets`, which reads in one thread what it writes in another.

Two threads must not use one TLS connection at once, and Python's do not keep each other out: now and then an answer is
never seen. So the client has a plain socket, and one thread has TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

from support.http1 import tls_context

if TYPE_CHECKING:
    import ssl

_PART = 64 * 1024
_WINDOW = 256 * 1024
_PATIENCE = 5.0


def dial(port: int, path: str = "/", trust: ssl.SSLContext | None = None, **options: Any) -> ClientConnection:
    """A WebSocket over HTTP/1.1.

    Args:
        trust: whose certificates are good; without it, everybody's.
        options: of `websockets.sync.client.connect`.
    """
    near, far = socket.socketpair()
    threading.Thread(target=lambda: asyncio.run(_relay(far, port, trust or tls_context())), daemon=True).start()
    client: ClientConnection = connect(f"ws://localhost:{port}{path}", sock=near, **options)
    return client


async def _relay(far: socket.socket, port: int, context: ssl.SSLContext) -> None:
    """Carry bytes until either end has enough."""
    reader, writer = await asyncio.open_connection(sock=far)
    writers = [writer]
    with contextlib.suppress(OSError):
        # Otherwise the kernel may keep as much as it likes for a client that does not read.
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        secured_reader, secured_writer = await asyncio.open_connection(
            sock=raw, ssl=context, server_hostname="localhost"
        )
        writers.append(secured_writer)
        ways = _copy(reader, secured_writer), _copy(secured_reader, writer)
        await asyncio.wait([asyncio.create_task(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*map(_close, writers))


async def _close(writer: asyncio.StreamWriter) -> None:
    """To the end: a loop that is gone closes nothing, and the server would wait."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), _PATIENCE)
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(_PART):
            writer.write(part)
            await writer.drain()
