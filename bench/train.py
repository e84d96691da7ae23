"""What the core does while it is profiled (`make optimized`): a bit of everything that people run Velocity for.

Files, an ASGI application, WebSockets, and a proxy with upstreams of every kind, each over every protocol, asked by
Velocity's own client. The compiler lays out the code by how often each part of it ran, so that no part is asked for
much more often than its neighbours; what benchmarks ask is not repeated here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.server import free_port

import velocity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from velocity.client.connect import Protocol

ROUNDS = 6
"""How often everything is asked, each time over new connections."""
REQUESTS = 300
"""In each round, over each protocol, of each server."""
AT_ONCE = 24
PROTOCOLS: tuple[Protocol, ...] = ("http/1.1", "h2", "h3", "velocity/1")
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.7,nl;q=0.3",
    "accept-encoding": "gzip, deflate, br, zstd",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "cookie": "session=6b1d0a7e2c; theme=dark",
}
APPLICATION = '''
"""JSON, an echo, a stream and a WebSocket."""

import json


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["method"] == "POST":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (message := await receive())["type"] == "http.request":
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})
            if not more:
                break
    else:
        body = json.dumps({"path": scope["path"], "items": list(range(40))}).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})
'''


def main() -> None:
    """Serve, ask, and end all of it in order, which is what writes the profiles."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        make_site(folder / "site")
        (folder / "trained.py").write_text(APPLICATION, "utf-8")
        plain, site, front = free_port(), free_port(), free_port()
        trust = folder / "site" / ".velocity" / "certs" / "trust.pem"
        serve = ["--self-signed", "--root", str(folder / "site"), "--log-format", "json"]
        own = ["trained:app", "--app-dir", str(folder)]
        config = ["--config", str(proxies(folder, plain, site, trust))]
        stack.enter_context(serving(site, [*own, *serve], folder / "site.log"))
        stack.enter_context(serving(front, [*config, *serve], folder / "front.log"))
        asyncio.run(train(plain, site, front, str(trust)))


def make_site(root: Path) -> None:
    """Pages and pictures, small and large."""
    root.mkdir()
    words = ["quantum", "server", "<p>", "</p>", "velocity", "bytes", "of", "the", "network"]
    dice = random.Random(0)
    for kilobytes in (1, 4, 30, 200):
        text = " ".join(dice.choices(words, k=kilobytes * 160))
        (root / f"page{kilobytes}.html").write_text(f"<!doctype html><title>{kilobytes}</title>{text}", "utf-8")
    for kilobytes in (12, 90, 3000):
        (root / f"picture{kilobytes}.webp").write_bytes(dice.randbytes(kilobytes << 10))


def proxies(folder: Path, plain: int, site: int, trust: Path) -> Path:
    """Configuration of a proxy with an upstream of each kind."""
    upstreams = {"plain": f"http://127.0.0.1:{plain}"}
    upstreams |= {kind: f"{kind}://localhost:{site}" for kind in ("https", "h3", "velocity")}
    entries: list[dict[str, Any]] = [
        {"path": f"/{kind}/", "strip_prefix": True, "upstream": url} for kind, url in upstreams.items()
    ]
    for entry in entries[1:]:
        entry["tls"] = {"ca_file": str(trust)}
    file = folder / "front.simple.yaml"
    file.write_text(json.dumps({"content": {"proxies": entries}}), "utf-8")
    return file


@contextlib.contextmanager
def serving(port: int, words: list[str], log: Path) -> Iterator[None]:
    """A server, until it has ended as it should."""
    command = [sys.executable, "-m", "velocity", "serve", *words, "--listen", f"127.0.0.1:{port}", "--workers", "1"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(60):
                raise SystemExit(f"a server has failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")


async def train(plain: int, site: int, front: int, trust: str) -> None:
    """All rounds."""
    async with await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", plain):
        for turn in range(ROUNDS):
            for protocol in PROTOCOLS:
                await ask(protocol, f"https://localhost:{site}", trust, files_and_application)
                await ask(protocol, f"https://localhost:{front}", trust, proxied)
            await asyncio.gather(*(chat(site, "/chat") for _ in range(8)))
            await asyncio.gather(*(chat(front, "/https/chat") for _ in range(4)))
            print(f"training: {turn + 1} of {ROUNDS}", flush=True)


def files_and_application(number: int) -> tuple[str, str, bytes]:
    """Method, path and body of a request."""
    if number % 50 == 0:
        return "GET", "/picture3000.webp", b""
    if number % 5 == 0:
        return "POST", "/echo", b'{"name": "a name", "price": 12.5}' * (1 + number % 40)
    paths = ["/api/items", "/page1.html", "/picture12.webp", "/page4.html", "/api/users/7", "/page30.html", "/none"]
    return "GET", [*paths, "/page1.html", "/picture90.webp"][number % 9], b""


def proxied(number: int) -> tuple[str, str, bytes]:
    """The same, of a proxy."""
    kind = ("plain", "https", "plain", "h3", "plain", "velocity")[number % 6]
    method, path, body = files_and_application(number // 6)
    return method, f"/{kind}{path}", body


async def ask(protocol: Protocol, url: str, trust: str, request: Any) -> None:
    """One client with all of its requests, so many at once."""
    limits = velocity.Limits(max_connections=AT_ONCE)
    async with velocity.AsyncClient(verify=trust, protocols=[protocol], limits=limits, trust_env=False) as client:
        numbers = iter(range(REQUESTS))

        async def one() -> None:
            for number in numbers:
                method, path, body = request(number)
                answer = await client.request(method, url + path, content=body or None, headers=BROWSER)
                if answer.status_code not in (200, 404):
                    raise SystemExit(f"{method} {path} over {protocol}: {answer.status_code}")

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def chat(port: int, path: str) -> None:
    """Messages over a WebSocket (RFC 6455), and their echoes."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise SystemExit(f"no WebSocket: {head!r}")
    for number in range(120):
        text = b"hello, everybody; this is %d" % number
        mask = os.urandom(4)
        writer.write(struct.pack("!BB", 0x81, 0x80 | len(text)) + mask)
        writer.write(bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)))
        await reader.readexactly(2 + len(text))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Upstream(asyncio.Protocol):
    """One that speaks HTTP/1.1 in clear, as far as that is needed here."""

    BODY = b"<!doctype html><p>an answer" + b"." * 1500
    HEAD = b'HTTP/1.1 200 OK\r\nserver: other\r\ncontent-type: text/html\r\netag: "1"\r\ncontent-length: %d\r\n\r\n'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing has come yet."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is here as a whole."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"\ncontent-length: (\d+)", self.received[:end])
            end += 4 + int(length[1] if length else 0)
            if len(self.received) < end:
                return
            self.received = self.received[end:]
            self.transport.write(self.HEAD % len(self.BODY) + self.BODY)


if __name__ == "__main__":
    main()
