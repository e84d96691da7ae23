"""A response: its head, and content that is read whole or piece by piece."""

from __future__ import annotations

import codecs
import datetime as dt
import json as jsons
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from velocity.client.body import encode
from velocity.client.decoding import ContentDecoder, decoder_for
from velocity.client.exceptions import (
    BodyTooLarge,
    HTTPStatusError,
    ResponseNotRead,
    StreamClosed,
    StreamConsumed,
    typed,
)
from velocity.client.headers import Fields, Headed, Headers, HeaderTypes
from velocity.client.negotiated import Negotiated
from velocity.client.settings import Decompression
from velocity.client.text import Chunks, Lines, charset_of, detect
from velocity.errors import VelocityError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

    from velocity._core import Exchange
    from velocity.client.cookies import Cookies
    from velocity.client.requests import Request
    from velocity.client.uri import URL

__all__ = ["AsyncBody", "Body", "Response"]

DEFAULT_LIMITS = Decompression()
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEXT_PIECE = 8192


class Body(Protocol):
    """Where content comes from. `_core.Exchange` is one."""

    def read(self) -> bytes:
        """The next piece, `b""` at the end."""

    def read_all(self, limit: int | None = None) -> bytes:
        """What is left; more than `limit` bytes raise `BODY_TOO_LARGE`."""

    def close(self) -> None:
        """Want no more of it."""


class AsyncBody(Protocol):
    """The same for asyncio."""

    async def aread(self) -> bytes:
        """The next piece, `b""` at the end."""

    async def aread_all(self, limit: int | None = None) -> bytes:
        """What is left."""

    def close(self) -> None:
        """Want no more of it."""


DefaultEncoding: TypeAlias = "str | Callable[[bytes], str | None] | None"


class Response(Headed):
    """What was answered.

    Responses are made by clients, and in tests by whoever answers.

    Args:
        status_code: its status.
        headers: its fields.
        content: its content: bytes, text, or what yields bytes.
        text: the same, with a media type.
        html: the same, with another.
        json: the same, with yet another.
        stream: as content, for transports of one's own.
        request: what was asked.
        extensions: whatever a transport wants to tell.
        history: the redirects that led here.
        default_encoding: of text that does not say; a function of the content, or None to find out.

    Attributes:
        status_code: its status.
        next_request: where a redirect points that was not followed.
        is_closed: whether no more of it can come.
        is_stream_consumed: whether its content was read.
    """

    # Defaults of the class, so that making one sets no more than what came.
    _headers: Headers | None = None
    _content: bytes | None = None
    _source: Any = None  # a Body or an AsyncBody
    _exchange: Exchange | None = None
    _extensions: dict[str, Any] | None = None
    _default_encoding: DefaultEncoding = None
    _encoding: str | None = None
    _text: str | None = None
    _cookies: Cookies | None = None
    _history: list[Response] | None = None
    _limits: Decompression = DEFAULT_LIMITS
    _downloaded: int = 0
    _started: float = 0.0
    _ended: float = 0.0
    next_request: Request | None = None
    on_close: Callable[[Response], None] | None = None
    is_closed: bool = False
    is_stream_consumed: bool = False

    def __init__(
        self,
        status_code: int,
        *,
        headers: HeaderTypes | None = None,
        content: Any = None,
        text: str | None = None,
        html: str | None = None,
        json: Any = None,
        stream: Any = None,
        request: Request | None = None,
        extensions: dict[str, Any] | None = None,
        history: list[Response] | None = None,
        default_encoding: DefaultEncoding = None,
    ) -> None:
        self.status_code = status_code
        self._fields: Fields = Headers(headers).fields
        self._request = request
        self._extensions = extensions
        self._history = list(history or ())
        self._default_encoding = default_encoding
        kind = (
            "text/plain; charset=utf-8"
            if text is not None
            else "text/html; charset=utf-8"
            if html is not None
            else None
        )
        if text is not None or html is not None:
            content = text if text is not None else html
        body, found = encode(content if stream is None else stream, json=json)
        if body is None:
            body = b""
        if (kind or found) and "content-type" not in self.headers:
            self.headers["content-type"] = str(kind or found)
        if isinstance(body, bytes):
            if (content is not None or json is not None) and "content-length" not in self.headers:
                self.headers["content-length"] = str(len(body))
            self._source = Pieces([body])
            if stream is None:
                self.read()  # its codings are undone as those of any other
        else:
            self._source = Pieces(
                body if not body.is_asynchronous else None, body if body.is_asynchronous else None, stream
            )

    @classmethod
    def of(cls, exchange: Exchange, request: Request) -> Response:
        """The answer that an exchange of the core has brought."""
        made = cls.__new__(cls)
        made.status_code = exchange.status
        made._fields = exchange.headers
        made._request = request
        made._exchange = made._source = exchange
        return made

    def prepare(
        self, request: Request, limits: Decompression, default_encoding: DefaultEncoding, started: float
    ) -> None:
        """What the client knows of it."""
        self._request = request
        self._limits = limits
        self._default_encoding = default_encoding
        self._started = started

    # --- its head ---

    @property
    def request(self) -> Request:
        """What was asked.

        Raises:
            RuntimeError: nobody said.
        """
        if self._request is None:
            raise RuntimeError("the request of this response has not been set")
        return self._request

    @request.setter
    def request(self, request: Request) -> None:
        self._request = request

    @property
    def history(self) -> list[Response]:
        """The redirects that led here, first one first."""
        if self._history is None:
            self._history = []
        return self._history

    @history.setter
    def history(self, history: list[Response]) -> None:
        self._history = history

    @property
    def url(self) -> URL:
        """Where it came from."""
        return self.request.url

    @property
    def http_version(self) -> str:
        """`HTTP/1.1`, `HTTP/2` or `HTTP/3`."""
        if self._exchange is not None:
            return self._exchange.version
        version = (self._extensions or {}).get("http_version", b"HTTP/1.1")
        return version.decode("ascii", "replace") if isinstance(version, bytes) else str(version)

    @property
    def reason_phrase(self) -> str:
        """What the status means."""
        given = (self._extensions or {}).get("reason_phrase")
        if given is not None:
            return given.decode("ascii", "replace") if isinstance(given, bytes) else str(given)
        try:
            return HTTPStatus(self.status_code).phrase
        except ValueError:
            return ""

    @property
    def extensions(self) -> dict[str, Any]:
        """Whatever a transport wants to tell."""
        if self._extensions is None:
            self._extensions = {"http_version": self.http_version.encode("ascii")}
        return self._extensions

    @extensions.setter
    def extensions(self, extensions: dict[str, Any]) -> None:
        self._extensions = extensions

    @property
    def trailers(self) -> Headers:
        """The fields that followed the content (RFC 9110 section 6.5), once that was read."""
        return Headers.of(self._exchange.trailers if self._exchange is not None else [])

    @property
    def velocity(self) -> Negotiated:
        """What was negotiated with whom."""
        if self._exchange is not None:
            return Negotiated.of(self._exchange.negotiated)
        return Negotiated.of((self._extensions or {}).get("velocity", {}))

    @property
    def cookies(self) -> Cookies:
        """Those it sets."""
        if self._cookies is None:
            from velocity.client.cookies import Cookies

            self._cookies = Cookies()
            self._cookies.extract_cookies(self)
        return self._cookies

    @property
    def elapsed(self) -> dt.timedelta:
        """From sending the request to the end of the content.

        Raises:
            RuntimeError: it has not come to its end.
        """
        if not self._ended:
            raise RuntimeError("the time is known once the response is read or closed")
        return dt.timedelta(seconds=self._ended - self._started)

    @elapsed.setter
    def elapsed(self, elapsed: dt.timedelta) -> None:
        self._started, self._ended = 1.0, 1.0 + elapsed.total_seconds()

    @property
    def links(self) -> dict[str | None, dict[str, str]]:
        """Those of the field Link, by relation or target (RFC 8288)."""
        value = self.headers.get("link")
        if value is None:
            return {}
        from velocity.client.linking import parse_links

        return {link.get("rel") or link.get("url"): link for link in parse_links(value)}

    @property
    def num_bytes_downloaded(self) -> int:
        """Of the content, as it came."""
        return self._downloaded

    @property
    def is_informational(self) -> bool:
        """1xx."""
        return 100 <= self.status_code <= 199

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status_code <= 299

    @property
    def is_redirect(self) -> bool:
        """3xx."""
        return 300 <= self.status_code <= 399

    @property
    def is_client_error(self) -> bool:
        """4xx."""
        return 400 <= self.status_code <= 499

    @property
    def is_server_error(self) -> bool:
        """5xx."""
        return 500 <= self.status_code <= 599

    @property
    def is_error(self) -> bool:
        """4xx and 5xx."""
        return 400 <= self.status_code <= 599

    @property
    def has_redirect_location(self) -> bool:
        """Whether it is a redirect that says where to."""
        return self.status_code in _REDIRECTS and "location" in self.headers

    def raise_for_status(self) -> Response:
        """Itself, if the status says that it worked.

        Raises:
            HTTPStatusError: it says something else.
        """
        request = self.request
        if self.is_success:
            return self
        kind = {1: "an interim answer", 3: "a redirect", 4: "an error of the client", 5: "an error of the server"}
        what = kind.get(self.status_code // 100, "an answer without meaning")
        status = f"{self.status_code} {self.reason_phrase}".rstrip()
        url = request.url.copy_with(userinfo="")
        message = f"{status}: {what} for {url}"
        if self.has_redirect_location:
            message += f", to {self.headers['location'][:200]!r}"
        raise HTTPStatusError(message, request=request, response=self)

    # --- its content, whole ---

    @property
    def content(self) -> bytes:
        """Decoded.

        Raises:
            ResponseNotRead: it was streamed, and `read` was not called.
        """
        if self._content is None:
            raise ResponseNotRead
        return self._content

    @property
    def text(self) -> str:
        """As text; what cannot be text becomes U+FFFD."""
        if self._text is None:
            content = self.content
            self._text = content.decode(self.encoding or "utf-8", "replace") if content else ""
        return self._text

    @property
    def encoding(self) -> str | None:
        """Of its text: what the media type says, else the default of the client, else what it looks like."""
        if self._encoding is None:
            self._encoding = self.charset_encoding
            default = self._default_encoding
            if self._encoding is None and isinstance(default, str):
                self._encoding = default
            if self._encoding is None and self._content is not None:
                found = default(self._content) if callable(default) else None
                self._encoding = found or detect(self._content)
        return self._encoding

    @encoding.setter
    def encoding(self, encoding: str) -> None:
        codecs.lookup(encoding)
        self._encoding = encoding
        self._text = None

    @property
    def charset_encoding(self) -> str | None:
        """What the media type says."""
        return charset_of(self.headers.get("content-type"))

    def json(self, **options: Any) -> Any:
        """As JSON.

        Args:
            **options: for `json.loads`.

        Raises:
            ValueError: it is none.
        """
        return jsons.loads(self.content, **options)

    def read(self) -> bytes:
        """Gather the content."""
        if self._content is not None:
            return self._content
        self._consume()
        limit = self._limits.max_size
        try:
            decoder = self._decoder()
            if decoder is None:
                content: bytes = self._source.read_all(limit)
                self._downloaded = len(content)
            else:
                gathered = bytearray()
                while piece := self._source.read():
                    self._downloaded += len(piece)
                    for part in decoder.decode(piece):
                        gathered += part
                        self._check_size(gathered)
                decoder.finish()
                content = bytes(gathered)
        except VelocityError as error:
            raise typed(error, self._request) from None
        finally:
            self.close()
        self._content = content
        return content

    async def aread(self) -> bytes:
        """Gather the content."""
        if self._content is not None:
            return self._content
        self._consume()
        limit = self._limits.max_size
        try:
            decoder = self._decoder()
            if decoder is None:
                content: bytes = await self._source.aread_all(limit)
                self._downloaded = len(content)
            else:
                gathered = bytearray()
                while piece := await self._source.aread():
                    self._downloaded += len(piece)
                    for part in decoder.decode(piece):
                        gathered += part
                        self._check_size(gathered)
                decoder.finish()
                content = bytes(gathered)
        except VelocityError as error:
            raise typed(error, self._request) from None
        finally:
            await self.aclose()
        self._content = content
        return content

    def keep(self, content: bytes) -> None:
        """Have this content, decoded."""
        self._content = content

    # --- its content, piece by piece ---

    def iter_raw(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """As it came, nothing decoded.

        Args:
            chunk_size: bytes of each piece; None takes them as they come.
        """
        return _in_chunks(self._iter_raw(), chunk_size)

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Decoded.

        Args:
            chunk_size: bytes of each piece; None takes them as they come.
        """
        return _in_chunks(self._iter_bytes(), chunk_size)

    def iter_text(self, chunk_size: int | None = None) -> Iterator[str]:
        """As text.

        Args:
            chunk_size: characters of each piece; None takes them as they come.
        """
        decoder = self._text_decoder()
        size = chunk_size or 0
        held = ""
        for piece in self.iter_bytes():
            held += decoder.decode(piece)
            while held and len(held) >= size:
                yield held[: size or None]
                held = held[size:] if size else ""
        held += decoder.decode(b"", True)
        if held:
            yield held

    def iter_lines(self) -> Iterator[str]:
        """Line by line, without line ends."""
        lines = Lines()
        for text in self.iter_text():
            yield from lines.feed(text)
        yield from lines.end()

    async def aiter_raw(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """As `iter_raw`."""
        async for piece in _in_async_chunks(self._aiter_raw(), chunk_size):
            yield piece

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """As `iter_bytes`."""
        async for piece in _in_async_chunks(self._aiter_bytes(), chunk_size):
            yield piece

    async def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """As `iter_text`."""
        decoder = self._text_decoder()
        size = chunk_size or 0
        held = ""
        async for piece in self.aiter_bytes():
            held += decoder.decode(piece)
            while held and len(held) >= size:
                yield held[: size or None]
                held = held[size:] if size else ""
        held += decoder.decode(b"", True)
        if held:
            yield held

    async def aiter_lines(self) -> AsyncIterator[str]:
        """As `iter_lines`."""
        lines = Lines()
        async for text in self.aiter_text():
            for line in lines.feed(text):
                yield line
        for line in lines.end():
            yield line

    def close(self) -> None:
        """Want no more of it; what has not come will not."""
        if self.is_closed:
            return
        self.is_closed = True
        self._ended = time.perf_counter()
        if self._source is not None:
            self._source.close()
        if self.on_close is not None:
            self.on_close(self)

    async def aclose(self) -> None:
        """As `close`."""
        closing = getattr(self._source, "aclose", None)
        if closing is not None and not self.is_closed:
            await closing()
        self.close()

    def __repr__(self) -> str:
        return f"<Response [{self.status_code} {self.reason_phrase}]>"

    def __getstate__(self) -> dict[str, Any]:
        kept = {
            name: value for name, value in self.__dict__.items() if name not in ("_exchange", "_source", "on_close")
        }
        known = {"http_version": self.http_version.encode("ascii")} if self._exchange is not None else self._extensions
        return kept | {"_extensions": known, "is_closed": True}

    # --- inside ---

    def _consume(self) -> None:
        if self.is_stream_consumed:
            raise StreamConsumed
        if self.is_closed:
            raise StreamClosed
        self.is_stream_consumed = True

    def _decoder(self) -> ContentDecoder | None:
        for name, _ in self.fields:
            if name == "content-encoding":
                if self._request is not None and self._request.method == "HEAD":
                    return None
                return decoder_for(self.headers["content-encoding"], self._limits)
        return None

    def _check_size(self, gathered: bytearray) -> None:
        limit = self._limits.max_size
        if limit is not None and len(gathered) > limit:
            raise BodyTooLarge("BODY_TOO_LARGE", f"the content has more than {limit} bytes", "stream it")

    def _text_decoder(self) -> codecs.IncrementalDecoder:
        return codecs.getincrementaldecoder(self.encoding or "utf-8")("replace")

    def _iter_raw(self) -> Iterator[bytes]:
        self._consume()
        try:
            while piece := self._source.read():
                self._downloaded += len(piece)
                yield piece
        except VelocityError as error:
            raise typed(error, self._request) from None
        finally:
            self.close()

    def _iter_bytes(self) -> Iterator[bytes]:
        if self._content is not None:
            if self._content:
                yield self._content
            return
        decoder = self._decoder()
        if decoder is None:
            yield from self._iter_raw()
            return
        try:
            for piece in self._iter_raw():
                yield from decoder.decode(piece)
            decoder.finish()
        except VelocityError as error:
            raise typed(error, self._request) from None
        finally:
            self.close()

    async def _aiter_raw(self) -> AsyncIterator[bytes]:
        self._consume()
        try:
            while piece := await self._source.aread():
                self._downloaded += len(piece)
                yield piece
        except VelocityError as error:
            raise typed(error, self._request) from None
        finally:
            await self.aclose()

    async def _aiter_bytes(self) -> AsyncIterator[bytes]:
        if self._content is not None:
            if self._content:
                yield self._content
            return
        decoder = self._decoder()
        try:
            async for piece in self._aiter_raw():
                if decoder is None:
                    yield piece
                else:
                    for part in decoder.decode(piece):
                        yield part
            if decoder is not None:
                decoder.finish()
        except VelocityError as error:
            raise typed(error, self._request) from None
        finally:
            await self.aclose()


class Pieces:
    """Content that Python yields."""

    def __init__(
        self, pieces: Iterable[bytes] | None = None, later: AsyncIterable[bytes] | None = None, owner: Any = None
    ) -> None:
        self._pieces = None if pieces is None else iter(pieces)
        self._later = None if later is None else later.__aiter__()
        self._owner = owner

    def read(self) -> bytes:
        """As `Body.read`."""
        if self._pieces is None:
            raise TypeError("asynchronous content is for an AsyncClient")
        for piece in self._pieces:
            if piece:
                return piece
        return b""

    def read_all(self, limit: int | None = None) -> bytes:
        """As `Body.read_all`."""
        gathered = bytearray()
        while piece := self.read():
            gathered += piece
            _within(gathered, limit)
        return bytes(gathered)

    async def aread(self) -> bytes:
        """As `AsyncBody.aread`."""
        if self._later is None:
            return self.read()
        async for piece in self._later:
            if piece:
                return piece
        return b""

    async def aread_all(self, limit: int | None = None) -> bytes:
        """As `AsyncBody.aread_all`."""
        gathered = bytearray()
        while piece := await self.aread():
            gathered += piece
            _within(gathered, limit)
        return bytes(gathered)

    def close(self) -> None:
        """Tell who has made it."""
        for one in (self._pieces, self._owner):
            closing = getattr(one, "close", None)
            if closing is not None:
                closing()

    async def aclose(self) -> None:
        """Tell who has made it."""
        for one in (self._later, self._owner):
            closing = getattr(one, "aclose", None)
            if closing is not None:
                await closing()


def _within(gathered: bytearray, limit: int | None) -> None:
    if limit is not None and len(gathered) > limit:
        raise BodyTooLarge("BODY_TOO_LARGE", f"the content has more than {limit} bytes", "stream it")


def _in_chunks(pieces: Iterator[bytes], size: int | None) -> Iterator[bytes]:
    if size is None:
        return pieces
    return _rechunked(pieces, Chunks(size))


def _rechunked(pieces: Iterator[bytes], chunks: Chunks) -> Iterator[bytes]:
    for piece in pieces:
        yield from chunks.feed(piece)
    yield from chunks.end()


async def _in_async_chunks(pieces: AsyncIterator[bytes], size: int | None) -> AsyncIterator[bytes]:
    if size is None:
        async for piece in pieces:
            yield piece
        return
    chunks = Chunks(size)
    async for piece in pieces:
        for part in chunks.feed(piece):
            yield part
    for part in chunks.end():
        yield part
