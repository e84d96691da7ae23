"""A private cache of answers (RFC 9111): what is fresh is not asked for again, what is stale if it has changed."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from velocity.client.exceptions import TransportError
from velocity.client.headers import Fields, Headers
from velocity.client.requests import Request
from velocity.client.responses import Response
from velocity.client.stores import DirectoryStore, MemoryStore, Store
from velocity.client.transport import AsyncBaseTransport, BaseTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AsyncCacheTransport", "Cache", "CacheTransport", "DirectoryStore", "MemoryStore"]

_HEURISTIC = 0.1
"""Of the time since an answer changed last, that it is taken to be fresh (RFC 9111 section 4.2.2)."""
_HEURISTIC_MOST = 86_400.0
_BY_HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
_UNDERSTOOD = frozenset({200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501})
_VARIANTS = 8
"""Answers for one URL that differ by what the field Vary names."""
_HOPS = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
)
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})


@dataclass(frozen=True)
class Cache:
    """What a client keeps of answers. Clients may share one.

    `response.extensions["from_cache"]` says whether an answer came from here.

    Attributes:
        store: where; `DirectoryStore(folder)` outlives the process.
        max_entry: bytes of content of one answer that is kept.
    """

    store: Store = field(default_factory=MemoryStore)
    max_entry: int = 8 << 20


@dataclass(frozen=True)
class Entry:
    """An answer that is kept.

    Attributes:
        status: its status.
        fields: its fields.
        content: as it came, nothing decoded.
        vary: fields of the request that it was for, those that matter; digests of secrets.
        requested: when it was asked for, in Unix seconds.
        received: when it came.
    """

    status: int
    fields: Fields
    content: bytes
    vary: dict[str, str]
    requested: float
    received: float

    @property
    def headers(self) -> Headers:
        """Its fields by name."""
        return Headers.of(self.fields)

    def age(self, now: float) -> float:
        """RFC 9111 section 4.2.3."""
        headers = self.headers
        date = _date(headers.get("date"))
        apparent = max(0.0, self.received - date) if date is not None else 0.0
        corrected = (_seconds(headers.get("age")) or 0.0) + self.received - self.requested
        return max(apparent, corrected) + max(0.0, now - self.received)

    def lifetime(self) -> float:
        """RFC 9111 section 4.2.1."""
        headers = self.headers
        control = _directives(headers)
        if "max-age" in control:
            return _seconds(control["max-age"]) or 0.0
        date = _date(headers.get("date")) or self.received
        if "expires" in headers:
            expires = _date(headers["expires"])
            return 0.0 if expires is None else max(0.0, expires - date)
        changed = _date(headers.get("last-modified"))
        if changed is None or self.status not in _BY_HEURISTIC:
            return 0.0
        return min(_HEURISTIC_MOST, max(0.0, date - changed) * _HEURISTIC)


class _Caching:
    """Everything that needs no waiting."""

    def __init__(self, cache: Cache) -> None:
        self._store = cache.store
        self._max_entry = cache.max_entry

    def _concerns(self, request: Request) -> bool:
        """Whether the cache has a say in a request at all."""
        names = {name for name, _ in request.fields}
        return request.method == "GET" and not names & _CONDITIONS and "no-store" not in _directives(request.headers)

    def _find(self, request: Request) -> Entry | None:
        for entry in _loaded(self._store.get(_key(request))):
            if all(_varying(request, name) == value for name, value in entry.vary.items()):
                return entry
        return None

    def _usable(self, entry: Entry, request: Request) -> bool:
        """Whether an answer may be given without asking (RFC 9111 section 4.2)."""
        asked, said = _directives(request.headers), _directives(entry.headers)
        if "no-cache" in asked or "no-cache" in said:
            return False
        if not asked and "no-cache" in request.headers.get("pragma", "").lower():
            return False
        age, lifetime = entry.age(time.time()), entry.lifetime()
        if "max-age" in asked:
            lifetime = min(lifetime, _seconds(asked["max-age"]) or 0.0)
        if age + (_seconds(asked.get("min-fresh")) or 0.0) < lifetime:
            return True
        if "max-stale" not in asked or said.keys() & {"must-revalidate"}:
            return False
        stale = _seconds(asked["max-stale"])
        return stale is None or age - lifetime <= stale

    def _usable_after_failure(self, entry: Entry) -> bool:
        """RFC 5861 section 4."""
        said = _directives(entry.headers)
        allowed = _seconds(said.get("stale-if-error"))
        if allowed is None or said.keys() & {"must-revalidate", "no-cache"}:
            return False
        return entry.age(time.time()) - entry.lifetime() <= allowed

    def _conditional(self, request: Request, entry: Entry) -> Request:
        """RFC 9111 section 4.3.1."""
        asked = Request.plain(request.method, request.url, request.fields, request.timeout)
        asked._extensions = request._extensions
        headers = entry.headers
        if "etag" in headers:
            asked.headers["if-none-match"] = headers["etag"]
        if "last-modified" in headers:
            asked.headers["if-modified-since"] = headers["last-modified"]
        return asked

    def _freshened(self, request: Request, entry: Entry, response: Response, requested: float) -> Entry:
        """RFC 9111 section 3.2."""
        new = [
            pair
            for pair in response.fields
            if pair[0] not in _HOPS and pair[0] not in ("content-length", "content-encoding")
        ]
        names = {name for name, _ in new}
        fields = [pair for pair in entry.fields if pair[0] not in names] + new
        fresh = replace(entry, fields=fields, requested=requested, received=time.time())
        self._keep(request, fresh)
        return fresh

    def _keepable(self, response: Response) -> bool:
        """RFC 9111 section 3."""
        said = _directives(response.headers)
        if response.status_code not in _UNDERSTOOD or "no-store" in said:
            return False
        if "*" in response.headers.get("vary", ""):
            return False
        explicit = "max-age" in said or "expires" in response.headers
        if not explicit and response.status_code not in _BY_HEURISTIC:
            return False
        return explicit or any(name in response.headers for name in ("etag", "last-modified"))

    def _entry(self, request: Request, response: Response, content: bytes, requested: float) -> Entry:
        # Whoever asks as somebody else gets an answer of his own, whatever the server says of that.
        names = [
            "authorization",
            *(name.lower() for name in response.headers.get_list("vary", split_commas=True) if name),
        ]
        return Entry(
            status=response.status_code,
            fields=[pair for pair in response.fields if pair[0] not in _HOPS],
            content=content,
            vary={name: _varying(request, name) for name in names},
            requested=requested,
            received=time.time(),
        )

    def _keep(self, request: Request, entry: Entry) -> None:
        others = [one for one in _loaded(self._store.get(_key(request))) if one.vary != entry.vary]
        self._store.put(_key(request), _dumped([entry, *others][:_VARIANTS]))

    def _forget(self, request: Request, response: Response) -> None:
        """After a request that changes something (RFC 9111 section 4.4)."""
        if request.method not in ("GET", "HEAD", "OPTIONS", "TRACE") and response.status_code < 400:
            self._store.delete(_key(request))

    def _record(self, request: Request, response: Response, requested: float) -> None:
        """Keep an answer when it was read to its end."""
        response._source = _Recorder(self, request, response, requested)


class CacheTransport(_Caching, BaseTransport):
    """Answers what it knows, and asks another transport for the rest."""

    def __init__(self, transport: BaseTransport, cache: Cache) -> None:
        super().__init__(cache)
        self._transport = transport

    def handle_request(self, request: Request) -> Response:
        """From the cache, or from the other transport."""
        if not self._concerns(request):
            response = self._transport.handle_request(request)
            self._forget(request, response)
            return response
        entry = self._find(request)
        if entry is not None and self._usable(entry, request):
            return _answer(entry, request)
        if "only-if-cached" in _directives(request.headers):
            return _missing(request)
        requested = time.time()
        if entry is None:
            response = self._transport.handle_request(request)
        else:
            try:
                response = self._transport.handle_request(self._conditional(request, entry))
            except TransportError:
                if self._usable_after_failure(entry):
                    return _answer(entry, request)
                raise
            if response.status_code == 304:
                response.close()
                return _answer(self._freshened(request, entry, response, requested), request)
            if response.status_code >= 500 and self._usable_after_failure(entry):
                response.close()
                return _answer(entry, request)
        if self._keepable(response):
            self._record(request, response, requested)
        return response

    def close(self) -> None:
        """Close the other transport."""
        self._transport.close()


class AsyncCacheTransport(_Caching, AsyncBaseTransport):
    """The same for asyncio."""

    def __init__(self, transport: AsyncBaseTransport, cache: Cache) -> None:
        super().__init__(cache)
        self._transport = transport

    async def handle_async_request(self, request: Request) -> Response:
        """From the cache, or from the other transport."""
        if not self._concerns(request):
            response = await self._transport.handle_async_request(request)
            self._forget(request, response)
            return response
        entry = await asyncio.to_thread(self._find, request) if self._store.waits else self._find(request)
        if entry is not None and self._usable(entry, request):
            return _answer(entry, request)
        if "only-if-cached" in _directives(request.headers):
            return _missing(request)
        requested = time.time()
        if entry is None:
            response = await self._transport.handle_async_request(request)
        else:
            try:
                response = await self._transport.handle_async_request(self._conditional(request, entry))
            except TransportError:
                if self._usable_after_failure(entry):
                    return _answer(entry, request)
                raise
            if response.status_code == 304:
                await response.aclose()
                return _answer(self._freshened(request, entry, response, requested), request)
            if response.status_code >= 500 and self._usable_after_failure(entry):
                await response.aclose()
                return _answer(entry, request)
        if self._keepable(response):
            self._record(request, response, requested)
        return response

    async def aclose(self) -> None:
        """Close the other transport."""
        await self._transport.aclose()


class _Recorder:
    """Content that is kept while it passes by, if there is not too much of it and it comes to its end."""

    def __init__(self, caching: _Caching, request: Request, response: Response, requested: float) -> None:
        self._source = response._source
        self._caching = caching
        self._about = (request, response)
        self._requested = requested
        self._seen: bytearray | None = bytearray()

    def _saw(self, piece: bytes) -> bytes:
        if self._seen is None:
            return piece
        if piece:
            self._seen += piece
            if len(self._seen) > self._caching._max_entry:
                self._seen = None
        else:
            request, response = self._about
            content, self._seen = bytes(self._seen), None
            self._caching._keep(request, self._caching._entry(request, response, content, self._requested))
        return piece

    def read(self) -> bytes:
        return self._saw(self._source.read())

    def read_all(self, limit: int | None = None) -> bytes:
        content: bytes = self._source.read_all(limit)
        if content:
            self._saw(content)
        self._saw(b"")
        return content

    async def aread(self) -> bytes:
        return self._saw(await self._source.aread())

    async def aread_all(self, limit: int | None = None) -> bytes:
        content: bytes = await self._source.aread_all(limit)
        if content:
            self._saw(content)
        self._saw(b"")
        return content

    def close(self) -> None:
        self._source.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)  # aclose, where there is one


def _key(request: Request) -> str:
    return hashlib.sha256(request.url.wire.encode("ascii")).hexdigest()


def _varying(request: Request, name: str) -> str:
    """The value of a field, if it is not a secret; what can be compared with it, if it is."""
    value = request.headers.get(name, "")
    if name in ("authorization", "cookie") and value:
        return hashlib.sha256(value.encode("latin-1")).hexdigest()
    return value


def _answer(entry: Entry, request: Request) -> Response:
    age = ("age", str(int(entry.age(time.time()))))
    fields = [pair for pair in entry.fields if pair[0] != "age"]
    response = Response(entry.status, headers=[*fields, age], stream=entry.content, request=request)
    response.extensions = {"from_cache": True, "http_version": b"HTTP/1.1"}
    return response


def _missing(request: Request) -> Response:
    """RFC 9111 section 5.2.1.7."""
    response = Response(504, request=request)
    response.extensions = {"from_cache": False}
    return response


def _directives(headers: Headers) -> dict[str, str | None]:
    """The field Cache-Control (RFC 9111 section 5.2)."""
    value = headers.get("cache-control")
    found: dict[str, str | None] = {}
    for part in (value or "").split(","):
        name, mark, argument = part.strip().partition("=")
        if name:
            found.setdefault(name.lower(), argument.strip('"') if mark else None)
    return found


def _seconds(text: str | None) -> float | None:
    """RFC 9111 section 1.2.2."""
    return float(min(int(text), 2**31)) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def _date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _dumped(entries: list[Entry]) -> bytes:
    heads: list[Mapping[str, Any]] = [
        {"status": one.status, "fields": one.fields, "vary": one.vary, "requested": one.requested,
         "received": one.received, "length": len(one.content)}
        for one in entries
    ]  # fmt: skip
    return json.dumps(heads).encode("ascii") + b"\n" + b"".join(one.content for one in entries)


def _loaded(data: bytes | None) -> list[Entry]:
    """What `_dumped` made of it; nothing where it is something else."""
    if data is None:
        return []
    head, _, rest = data.partition(b"\n")
    entries: list[Entry] = []
    try:
        for one in json.loads(head):
            length = int(one["length"])
            if length > len(rest):
                return []
            content, rest = rest[:length], rest[length:]
            fields = [(str(name), str(value)) for name, value in one["fields"]]
            vary = {str(name): str(value) for name, value in one["vary"].items()}
            entries.append(
                Entry(int(one["status"]), fields, content, vary, float(one["requested"]), float(one["received"]))
            )
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return entries
