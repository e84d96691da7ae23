"""An engine that passes requests on, and requests with bodies over every protocol."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx2

from support import http3
from support.answer import Answer
from support.clients import Protocol, ask
from support.engine import Engine, plan, route
from support.http1 import tls_context
from velocity import _core

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.certificates import Pair

NEVER = {"failures": 0}
"""Ejection of nobody."""


def proxy(*urls: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    """A handler."""
    upstreams = [{"url": url} if isinstance(url, str) else url for url in urls]
    return {"kind": "proxy", "upstreams": upstreams, **more}


def serve(pair: Pair, handlers: dict[str, dict[str, Any]], **more: Any) -> Engine:
    """An engine with a handler for each prefix."""
    routes = [route(handler, path) for path, handler in sorted(handlers.items(), key=lambda item: -len(item[0]))]
    return Engine(plan(pair, routes, **more))


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def http(port: int, protocol: Protocol, timeout: float = 20.0) -> httpx2.Client:
    """A client of HTTP/1.1 or HTTP/2 that trusts anybody."""
    two = protocol == "h2"
    return httpx2.Client(
        http1=not two,
        http2=two,
        verify=tls_context(*(["h2"] if two else ["http/1.1"])),
        base_url=f"https://localhost:{port}",
        timeout=timeout,
        trust_env=False,
    )


def quic(port: int, protocol: Protocol) -> _core.Connection:
    """Our own client."""
    return _core.Connection("localhost", port, protocols=[protocol], insecure=True)


def send(
    protocol: Protocol,
    port: int,
    path: str,
    body: bytes,
    method: str = "POST",
    fields: Iterable[tuple[str, str]] = (),
) -> Answer:
    """One request with a body, on a connection of its own."""
    if not body:
        return ask(protocol, port, path, method, fields)
    if protocol in ("h2", "http/1.1"):
        with http(port, protocol) as client:
            got = client.request(method, path, content=body, headers=list(fields))
            return Answer(got.status_code, [(k.lower(), v) for k, v in got.headers.multi_items()], got.content)
    if protocol == "h3":

        async def conversation() -> Answer:
            async with http3.Http3.open(port) as connection:
                stream = connection.send(path, method, fields, body=body)
                await connection.finish(stream)
                return connection.answers[stream]

        return http3.run(conversation())
    connection = quic(port, protocol)
    try:
        response = connection.request(method, path, list(fields), body, 20.0)
        return Answer(response.status, response.headers, b"".join(iter(response.read, None)))
    finally:
        connection.close()
