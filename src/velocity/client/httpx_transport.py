"""Transports for httpx and httpx2: existing code moves by one argument.

    httpx.Client(transport=velocity.HTTPXTransport())
    httpx.AsyncClient(transport=velocity.AsyncHTTPXTransport())

Neither library is imported here: whichever has made a request is there already.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from velocity.client.body import Streamed
from velocity.client.exceptions import (
    ClientError,
    ConnectTimeout,
    DecodingError,
    InvalidURL,
    LocalProtocolError,
    PoolTimeout,
    ProxyError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    UnsupportedProtocol,
    WriteError,
    WriteTimeout,
)
from velocity.client.headers import Headers
from velocity.client.requests import Request
from velocity.client.settings import Timeout
from velocity.client.transport import AsyncHTTPTransport, HTTPTransport
from velocity.client.uri import URL
from velocity.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import ModuleType

    from velocity.client.responses import Response

__all__ = ["AsyncHTTPXTransport", "HTTPXTransport"]

_NAMES: tuple[tuple[type[ClientError], str], ...] = (
    (ConnectTimeout, "ConnectTimeout"),
    (ReadTimeout, "ReadTimeout"),
    (WriteTimeout, "WriteTimeout"),
    (PoolTimeout, "PoolTimeout"),
    (ProxyError, "ProxyError"),
    (ConnectError, "ConnectError"),
    (ReadError, "ReadError"),
    (WriteError, "WriteError"),
    (LocalProtocolError, "LocalProtocolError"),
    (RemoteProtocolError, "RemoteProtocolError"),
    (UnsupportedProtocol, "UnsupportedProtocol"),
    (DecodingError, "DecodingError"),
    (InvalidURL, "UnsupportedProtocol"),
    (ClientError, "TransportError"),
)
"""What an error of ours is called there, the closest first."""


if TYPE_CHECKING:
    _Base: Any  # of either library: what has Any for a base goes wherever a transport of theirs does
else:
    _Base = object


def _library(request: Any) -> ModuleType:
    """The one that has made a request."""
    return sys.modules[type(request).__module__.partition(".")[0]]


def _asked(theirs: Any) -> Request:
    """Their request as one of ours."""
    fields = [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in theirs.headers.raw]
    said = dict(fields)
    length = int(said["content-length"]) if said.get("content-length", "").isdigit() else None
    chosen = theirs.extensions.get("timeout") or {}
    timeout = Timeout(None, **{name: chosen[name] for name in ("connect", "read", "write", "pool") if name in chosen})
    made = Request.plain(theirs.method, URL(str(theirs.url)), Headers.of(fields).fields, timeout)
    if not length and "transfer-encoding" not in said:
        return made
    try:
        made._body = theirs.content
    except Exception as error:
        if type(error).__name__ != "RequestNotRead":
            raise
        made._body = Streamed(theirs.stream, length)
    if made._body == b"":
        made._body = None
    return made


def _named(error: ClientError, library: ModuleType, request: Any) -> Exception:
    """An error of ours as the one that they would raise."""
    name = next(name for kind, name in _NAMES if isinstance(error, kind))
    text = f"{error.message} [{error.code}]"
    found: Exception = getattr(library, name)(text, request=request)
    return found


@lru_cache(maxsize=4)
def _streams(library: ModuleType) -> tuple[type[Any], type[Any]]:
    """Content as that library wants it: an object of its own classes."""

    class Stream(library.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, ours: Response, request: Any) -> None:
            self._ours, self._request = ours, request

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from self._ours.iter_raw()
            except ClientError as error:
                raise _named(error, library, self._request) from error

        def close(self) -> None:
            self._ours.close()

    class AsyncStream(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, ours: Response, request: Any) -> None:
            self._ours, self._request = ours, request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for piece in self._ours.aiter_raw():
                    yield piece
            except ClientError as error:
                raise _named(error, library, self._request) from error

        async def aclose(self) -> None:
            await self._ours.aclose()

    return Stream, AsyncStream


def _answer(library: ModuleType, ours: Response, stream: Any) -> Any:
    return library.Response(
        ours.status_code,
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in ours.fields],
        stream=stream,
        extensions={
            "http_version": ours.http_version.encode("ascii"),
            "reason_phrase": ours.reason_phrase.encode("ascii"),
            "velocity": ours.velocity,
        },
    )


class HTTPXTransport(_Base):  # type: ignore[misc]
    """For `httpx.Client(transport=...)` and `httpx2.Client(transport=...)`.

    `response.extensions["velocity"]` is what was negotiated.

    Args:
        **options: those of `velocity.client.HTTPTransport`: `verify`, `cert`, `http3`, `profile` and so on.
    """

    def __init__(self, **options: Any) -> None:
        self._transport = HTTPTransport(**options)

    def __enter__(self) -> HTTPXTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def handle_request(self, request: Any) -> Any:
        """Send a request of theirs."""
        library = _library(request)
        try:
            ours = self._transport.exchange(_asked(request), 0)
        except ClientError as error:
            raise _named(error, library, request) from error
        return _answer(library, ours, _streams(library)[0](ours, request))

    def close(self) -> None:
        """Close its connections."""
        self._transport.close()


class AsyncHTTPXTransport(_Base):  # type: ignore[misc]
    """For `httpx.AsyncClient(transport=...)`, with asyncio; as `HTTPXTransport`."""

    def __init__(self, **options: Any) -> None:
        self._transport = AsyncHTTPTransport(**options)

    async def __aenter__(self) -> AsyncHTTPXTransport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request of theirs."""
        library = _library(request)
        try:
            ours = await self._transport.exchange(_asked(request), 0)
        except ClientError as error:
            raise _named(error, library, request) from error
        return _answer(library, ours, _streams(library)[1](ours, request))

    async def aclose(self) -> None:
        """Close its connections."""
        await self._transport.aclose()
