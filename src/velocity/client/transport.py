"""How requests get answered: the two interfaces, and the implementation over the core's pool of connections.

A transport of one's own has `handle_request` or `handle_async_request`; see `velocity.client.mock`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from velocity import _core
from velocity.client import memory
from velocity.client.connect import Profile, Protocol, Trust
from velocity.client.exceptions import UnsupportedProtocol, WriteError, typed
from velocity.client.responses import Response
from velocity.client.settings import Limits, Proxy
from velocity.errors import ConfigError, VelocityError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from velocity.client.body import Streamed
    from velocity.client.requests import Request

__all__ = [
    "AsyncBaseTransport",
    "AsyncHTTPTransport",
    "BaseTransport",
    "CertTypes",
    "Fallback",
    "HTTPTransport",
    "VerifyTypes",
]

VerifyTypes: TypeAlias = "bool | str | os.PathLike[str] | ssl.SSLContext"
CertTypes: TypeAlias = "str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]"
Fallback: TypeAlias = Literal["allow", "directed", "never"]

_SCHEMES = frozenset({"http", "https"})


class BaseTransport:
    """What a `Client` asks."""

    def handle_request(self, request: Request) -> Response:
        """Answer.

        Raises:
            TransportError: there is no answer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no handle_request")

    def close(self) -> None:
        """Let go of everything."""

    def __enter__(self) -> BaseTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncBaseTransport:
    """What an `AsyncClient` asks."""

    async def handle_async_request(self, request: Request) -> Response:
        """Answer.

        Raises:
            TransportError: there is no answer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no handle_async_request")

    async def aclose(self) -> None:
        """Let go of everything."""

    async def __aenter__(self) -> AsyncBaseTransport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Pooled:
    """A pool of the core, made when it is first needed.

    Args:
        verify: True believes the system's roots, False everybody; or a PEM file of roots to believe instead.
        cert: whom to be where a server asks: a PEM file of chain and key, or one for each. What lies beside them (the
            ML-DSA key, the lean chain) is found.
        http1: whether HTTP/1.1 may be spoken.
        http2: whether HTTP/2 may.
        http3: whether HTTP/3 may.
        protocols: what may be spoken, preferred first, instead of the three.
        profile: demanded under `velocity/1`.
        fallback: from `velocity/1` to something else: `allow`, `directed` (the server has to say so), or `never`.
        crl_files: revocation lists.
        limits: how many connections.
        proxy: through whom.
        state_dir: folder for what outlives the process: what hosts have spoken, and where else they say they are. True
            is the user's: `velocity` in `$XDG_STATE_HOME` or `~/.local/state`.
        resolve: where to connect instead, by host and port.

    Raises:
        ConfigError: a file cannot be used, or options exclude each other.
    """

    def __init__(
        self,
        *,
        verify: VerifyTypes = True,
        cert: CertTypes | None = None,
        http1: bool = True,
        http2: bool = True,
        http3: bool = True,
        protocols: Sequence[Protocol] | None = None,
        profile: Profile | None = None,
        fallback: Fallback = "allow",
        crl_files: Sequence[str | os.PathLike[str]] = (),
        limits: Limits | None = None,
        proxy: Proxy | str | None = None,
        state_dir: str | os.PathLike[str] | bool | None = None,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
    ) -> None:
        limits = limits or Limits()
        chosen: list[Protocol] = list(protocols) if protocols is not None else _protocols(http1, http2, http3)
        through = Proxy(proxy) if isinstance(proxy, str) else proxy
        self._pool = _core.Pool(
            protocols=chosen,
            profile=profile,
            fallback=fallback,
            max_connections=limits.max_connections,
            max_keepalive=limits.max_keepalive_connections,
            keepalive=limits.keepalive_expiry,
            state_dir=_state_dir(state_dir),
            proxy=None if through is None else str(through.url).rstrip("/"),
            resolve=dict(resolve) if resolve else None,
            **_trust(verify, cert, crl_files).options(),
        )
        self._send = self._pool.send
        self._start = self._pool.start

    @property
    def connections(self) -> dict[str, int]:
        """How many are `open`, and how many of these are `idle`."""
        return self._pool.connections


class HTTPTransport(_Pooled, BaseTransport):
    """Over the network."""

    def handle_request(self, request: Request) -> Response:
        """Send, and wait for the head of the answer."""
        return self.exchange(request, 0)

    def exchange(self, request: Request, prefetch: int) -> Response:
        """Send, and wait for the head of the answer.

        Args:
            request: what is asked.
            prefetch: bytes of the content to wait for, too.
        """
        url = request.url
        if url.scheme not in _SCHEMES or not url._host:
            raise _unsupported(request)
        body, timeout = request._body, request.timeout
        try:
            if body is None or isinstance(body, bytes):
                exchange = self._send(
                    request.method, url.wire, request.fields, body, prefetch=prefetch,
                    connect_timeout=timeout.connect, read_timeout=timeout.read,
                    write_timeout=timeout.write, pool_timeout=timeout.pool,
                )  # fmt: skip
            else:
                exchange = self._send(
                    request.method, url.wire, request.fields, streaming=True, length=body.length,
                    connect_timeout=timeout.connect, read_timeout=timeout.read,
                    write_timeout=timeout.write, pool_timeout=timeout.pool,
                )  # fmt: skip
                self._upload(exchange, body)
        except VelocityError as error:
            raise typed(error, request) from None
        return Response.of(exchange, request)

    def _upload(self, exchange: _core.Exchange, body: Streamed) -> None:
        sent = 0
        try:
            for piece in body:
                if not exchange.write(piece):
                    break
                sent += len(piece)
            else:
                _check_length(sent, body)
                exchange.finish()
            exchange.wait()
        except BaseException:
            exchange.close()
            raise

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()


class AsyncHTTPTransport(_Pooled, AsyncBaseTransport):
    """Over the network, for asyncio."""

    async def handle_async_request(self, request: Request) -> Response:
        """Send, and wait for the head of the answer."""
        return await self.exchange(request, 0)

    async def exchange(self, request: Request, prefetch: int) -> Response:
        """Send, and wait for the head of the answer.

        Args:
            request: what is asked.
            prefetch: bytes of the content to wait for, too.
        """
        url = request.url
        if url.scheme not in _SCHEMES or not url._host:
            raise _unsupported(request)
        body, timeout = request._body, request.timeout
        try:
            if body is None or isinstance(body, bytes):
                exchange = await self._start(
                    request.method, url.wire, request.fields, body, prefetch=prefetch,
                    connect_timeout=timeout.connect, read_timeout=timeout.read,
                    write_timeout=timeout.write, pool_timeout=timeout.pool,
                )  # fmt: skip
            else:
                exchange = await self._start(
                    request.method, url.wire, request.fields, streaming=True, length=body.length,
                    connect_timeout=timeout.connect, read_timeout=timeout.read,
                    write_timeout=timeout.write, pool_timeout=timeout.pool,
                )  # fmt: skip
                await self._upload(exchange, body)
        except VelocityError as error:
            raise typed(error, request) from None
        return Response.of(exchange, request)

    async def _upload(self, exchange: _core.Exchange, body: Streamed) -> None:
        sent = 0
        try:
            async for piece in body:
                if not await exchange.awrite(piece):
                    break
                sent += len(piece)
            else:
                _check_length(sent, body)
                exchange.finish()
            await exchange.await_head()
        except BaseException:
            exchange.close()
            raise

    async def aclose(self) -> None:
        """Close its connections."""
        self._pool.close()


def _check_length(sent: int, body: Streamed) -> None:
    if body.length is not None and sent != body.length:
        raise WriteError(
            "WRITE_FAILED", f"the content has {sent} bytes instead of {body.length}", "a file may have changed"
        )


def _state_dir(chosen: str | os.PathLike[str] | bool | None) -> str | None:
    if isinstance(chosen, bool):
        return str(memory.folder()) if chosen else None
    return None if chosen is None else os.fspath(chosen)


def _protocols(http1: bool, http2: bool, http3: bool) -> list[Protocol]:
    chosen: list[Protocol] = []
    if http3:
        chosen += ["velocity/1", "h3"]
    if http2:
        chosen.append("h2")
    if http1:
        chosen.append("http/1.1")
    if not chosen:
        raise ConfigError("OPTION_INVALID", "there is no protocol to speak", "leave one of http1, http2 and http3 on")
    return chosen


def _trust(verify: VerifyTypes, cert: CertTypes | None, crl_files: Sequence[str | os.PathLike[str]]) -> Trust:
    if not isinstance(verify, (bool, str, os.PathLike)):
        raise ConfigError(
            "OPTION_INVALID",
            "an ssl.SSLContext cannot be used: the handshake is not that of OpenSSL",
            "pass verify=FILE with the roots to trust, and cert=",
        )
    ca_file = None if isinstance(verify, bool) else os.fspath(verify)
    if ca_file is not None and Path(ca_file).is_dir():
        raise ConfigError("OPTION_INVALID", f"{ca_file} is a folder", "pass a PEM file of roots")
    pair = (None, None) if cert is None else cert if isinstance(cert, tuple) else (cert, cert)
    if len(pair) != 2:
        raise ConfigError("CERT_INVALID", "keys that have a password cannot be used", "decrypt it into a private file")
    chain, key = (None if one is None else os.fspath(one) for one in pair)
    return Trust(ca_file, verify is False, tuple(os.fspath(one) for one in crl_files), chain, key)


def _unsupported(request: Request) -> UnsupportedProtocol:
    scheme = request.url.scheme
    what = f"{scheme} is not spoken here" if scheme else f"{str(request.url)[:200]!r} is not absolute"
    error = UnsupportedProtocol("SCHEME_UNSUPPORTED", what, "write https://HOST[:PORT]/PATH, or give base_url")
    error.request = request
    return error
