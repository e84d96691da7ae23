"""An HTTP/1.1 server behind the one under test: it records what it gets, byte for byte, and does what a test says.

It reads as RFC 9112 has it and stricter: what is not exactly one well-formed request is `nonsense`. As a program
(`python backend.py NAME`) it prints its port, and answers everything with its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from types import TracebackType

_KEPT = 1 << 20
_LINE = 1 << 20
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/1\.1\r\n".encode())
_FIELD_LINE = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n".encode())
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")


class NonsenseError(Exception):
    """What came is no request."""


@dataclass
class Exchange:
    """A request as it came, and the means to answer it."""

    connection: int
    """Which one, from 0."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    raw: bytes = b""
    """Its head."""
    method: str = ""
    target: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    """In order, names in lower case."""
    body: bytearray = field(default_factory=bytearray)
    """The first MiB of it."""
    length: int = 0
    """Of the body, as far as it has come."""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False
    """Whether the body came to its end."""
    gone: float | None = None
    """When the other side was seen to have left, on the clock of `time.monotonic`."""

    def get(self, name: str) -> str | None:
        """The value of a field, all lines of it joined; or None."""
        values = [value for key, value in self.fields if key == name]
        return ", ".join(values) if values else None

    @property
    def path(self) -> str:
        """The target without query."""
        return self.target.partition("?")[0]

    async def read(self) -> bytes:
        """Read the body to its end."""
        if not self.complete:
            if self.get("transfer-encoding") is not None:
                while size := await self._chunk_size():
                    await self._take(size)
                    if await self.reader.readexactly(2) != b"\r\n":
                        raise NonsenseError("a chunk without end")
                self.trailers = await _fields(self.reader)
            else:
                await self._take(int(self.get("content-length") or "0"))
            self.complete = True
        return bytes(self.body)

    async def _chunk_size(self) -> int:
        line = await self.reader.readline()
        if not line:
            raise asyncio.IncompleteReadError(b"", 1)
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise NonsenseError(f"chunk size {line[:80]!r}")
        return int(match[1], 16)

    async def _take(self, size: int) -> None:
        while size:
            data = await self.reader.read(min(size, 1 << 18))
            if not data:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(data)
            self.length += len(data)
            self.digest.update(data)
            self.body += data[: _KEPT - len(self.body)]

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"", status: int = 200, fields: tuple[tuple[str, str], ...] = ()) -> None:
        """Read the request to its end and send a whole answer."""
        await self.read()
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *(f"{k}: {v}" for k, v in fields)]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def head(self, *lines: str, status: int = 200) -> None:
        """Send the head of an answer with these field lines."""
        await self.send("\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, "", ""]).encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        """Send a chunk of a body, or its end."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def reset(self) -> None:
        """Break the connection with a RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    async def wait_gone(self, timeout: float = 10.0) -> None:
        """Wait until the other side leaves, and note when."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(timeout):
                while await self.reader.read(65536):
                    pass
            self.gone = time.monotonic()
            return
        if self.reader.at_eof() or self.reader.exception() is not None:
            self.gone = time.monotonic()


Script = Callable[[Exchange], Awaitable[None]]


async def hello(exchange: Exchange) -> None:
    """What is done where a test says nothing else."""
    await exchange.answer(b"hello\n", fields=(("content-type", "text/plain"),))


def named(name: str) -> Script:
    """Says who it is, whatever it is asked."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(name.encode())

    return script


class Backend:
    """A server in a thread of its own.

    Args:
        scripts: what is done, by path; `hello` for all others.
        unix: the path of a socket to listen on, instead of a port of the kernel's choice.
        tls: how to shake hands, for https.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script] | None = None,
        *,
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.scripts = dict(scripts or {})
        self.default: Script = hello
        self.requests: list[Exchange] = []
        """Every request of which the head was read, in order."""
        self.nonsense: list[str] = []
        """What came and was no request."""
        self.connections = 0
        self.port = port
        self._unix, self._tls = unix, tls
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        started: list[BaseException | None] = []
        ready = threading.Event()

        async def serve() -> None:
            try:
                if unix is not None:
                    server = await asyncio.start_unix_server(self._accept, unix, limit=_LINE)
                else:
                    server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=_LINE, ssl=tls)
                    self.port = server.sockets[0].getsockname()[1]
                started.append(None)
            except OSError as error:
                started.append(error)
                return
            finally:
                ready.set()
            await self._stop.wait()
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # for the transports to hear of it

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),), daemon=True)
        self._thread.start()
        ready.wait(10)
        if started[0] is not None:
            raise started[0]

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close everything at once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
        if not self._loop.is_running() and not self._loop.is_closed():
            self._loop.close()

    @property
    def url(self) -> str:
        """As `--proxy` takes it."""
        if self._unix is not None:
            return f"unix:{self._unix}"
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def of(self, path: str) -> list[Exchange]:
        """The requests for a path."""
        with self._news:
            return [one for one in self.requests if one.path == path]

    def wait_for(self, path: str, count: int = 1, timeout: float = 10.0) -> list[Exchange]:
        """The requests for a path, once there are so many."""
        deadline = time.monotonic() + timeout
        with self._news:
            while len(found := [one for one in self.requests if one.path == path]) < count:
                assert self._news.wait(deadline - time.monotonic()), f"{len(found)} requests for {path}"
        return found

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = self.connections
        self.connections += 1
        try:
            while await self._exchange(Exchange(number, reader, writer)):
                pass
        except NonsenseError as error:
            with self._news:
                self.nonsense.append(str(error))
                self._news.notify_all()
        except asyncio.CancelledError:
            writer.transport.abort()  # TLS would wait for the other side's farewell
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, exchange: Exchange) -> bool:
        """One request and its answer; whether there may be another one."""
        try:
            line = await exchange.reader.readline()
        except ValueError as error:
            raise NonsenseError("a line without end") from error
        if not line:
            return False
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise NonsenseError(f"request line {line[:200]!r}")
        exchange.method, exchange.target = match[1].decode(), match[2].decode()
        exchange.fields = await _fields(exchange.reader)
        lines = [f"{name}: {value}" for name, value in exchange.fields]
        exchange.raw = line + "\r\n".join(lines).encode("latin-1")
        _check_framing(exchange)
        with self._news:
            self.requests.append(exchange)
            self._news.notify_all()
        await self.scripts.get(exchange.path, self.default)(exchange)
        if exchange.writer.is_closing():
            return False
        await exchange.read()
        return exchange.get("connection") != "close"


async def _fields(reader: asyncio.StreamReader) -> list[tuple[str, str]]:
    fields = []
    while (line := await reader.readline()) != b"\r\n":
        if not line:
            raise asyncio.IncompleteReadError(b"", 2)
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise NonsenseError(f"field line {line[:200]!r}")
        fields.append((match[1].decode().lower(), match[2].decode("latin-1")))
    return fields


def _check_framing(exchange: Exchange) -> None:
    """RFC 9112 section 6.3, without any mercy."""

    def lines(wanted: str) -> list[str]:
        return [value for name, value in exchange.fields if name == wanted]

    codings, lengths = lines("transfer-encoding"), lines("content-length")
    if len(lines("host")) != 1:
        raise NonsenseError(f"Host: {lines('host')}")
    if codings and (lengths or codings != ["chunked"]):
        raise NonsenseError(f"Transfer-Encoding: {codings}, Content-Length: {lengths}")
    if len(lengths) > 1 or any(not re.fullmatch("[0-9]{1,15}", one) for one in lengths):
        raise NonsenseError(f"Content-Length: {lengths}")


def _main() -> None:
    name = sys.argv[1].encode()
    with Backend() as backend:

        async def named(exchange: Exchange) -> None:
            await exchange.answer(name)

        backend.default = named
        print(backend.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main()
