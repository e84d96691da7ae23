"""Answers: `EdgeResponse`, and what a handler returns made into one."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from urllib.parse import quote

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from velocity.edge.background import BackgroundTasks
from velocity.edge.headers import MutableHeaders

if TYPE_CHECKING:
    from velocity.edge.exchange import Exchange
    from velocity.edge.sse import ServerSentEvent

__all__ = ["URI_SIGNS", "EdgeResponse", "Events", "Pieces", "converted", "encoded"]

Fields: TypeAlias = Mapping[str, str]
Pieces: TypeAlias = AsyncIterable[bytes | str] | Iterable[bytes | str]
Events: TypeAlias = "AsyncIterable[ServerSentEvent | str | dict[str, Any]]"

URI_SIGNS = "!#$%&'()*+,-./:;=?@[]_~"
"""What a URI may have (RFC 3986 section 2), the percent sign included: what is encoded stays as it is."""
_NO_CONTENT = frozenset({204, 205, 304})
_TEXT = "text/plain; charset=utf-8"


class Content(Protocol):
    """Content that is more than bytes: it sends the head as well, for it may change that."""

    async def send(self, response: EdgeResponse, exchange: Exchange) -> None:
        """Send the whole answer."""


class EdgeResponse:
    """An answer.

    Args:
        content: bytes, or text, which is UTF-8.
        status: 200 to 599.
        headers: further fields.
        content_type: None for content without a type.

    Attributes:
        status: may be changed until it is sent.
        headers: may be changed until they are sent.
        background: what runs after the answer is sent.
    """

    def __init__(
        self,
        content: bytes | str | Content = b"",
        status: int = 200,
        headers: Fields | None = None,
        content_type: str | None = None,
    ) -> None:
        self.status = status
        self.headers = MutableHeaders.of(headers)
        self.background = BackgroundTasks()
        self.content: bytes | Content = content.encode() if isinstance(content, str) else content
        if content_type is not None:
            self.headers.setdefault("content-type", content_type)

    # --- ways to make one ---

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Fields | None = None) -> EdgeResponse:
        """JSON of anything that pydantic can serialize: models, dataclasses, dates, and so on.

        Raises:
            TypeError: it cannot.
        """
        return cls(encoded(value), status, headers, "application/json")

    @classmethod
    def text(cls, text: str, status: int = 200, headers: Fields | None = None) -> EdgeResponse:
        """Plain text."""
        return cls(text, status, headers, _TEXT)

    @classmethod
    def html(cls, html: str, status: int = 200, headers: Fields | None = None) -> EdgeResponse:
        """A page. Nothing is escaped: templates do that."""
        return cls(html, status, headers, "text/html; charset=utf-8")

    @classmethod
    def redirect(
        cls, location: str, status: Literal[301, 302, 303, 307, 308] = 307, headers: Fields | None = None
    ) -> EdgeResponse:
        """Another address; 307 keeps the method, 303 makes it GET, 308 and 301 are forever."""
        response = cls(b"", status, headers)
        response.headers["location"] = quote(location, safe=URI_SIGNS)
        return response

    @classmethod
    def file(
        cls,
        path: str | Path,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        status: int = 200,
        headers: Fields | None = None,
    ) -> EdgeResponse:
        """A file, with validators, conditional requests and ranges (RFC 9110 sections 8.8, 13 and 14).

        The path is used as it is: what a client says must not become part of it unchecked.

        Args:
            path: a missing file answers 404.
            filename: makes it a download of this name.
            content_type: None goes by the name of the file.
            status: 200; others take part in neither ranges nor conditions.
            headers: further fields.
        """
        from velocity.edge.files import FileContent

        return cls(FileContent(Path(path), filename, content_type), status, headers)

    @classmethod
    def stream(
        cls,
        pieces: Pieces,
        content_type: str | None = "application/octet-stream",
        status: int = 200,
        headers: Fields | None = None,
    ) -> EdgeResponse:
        """Content as it comes. A client that goes away cancels its making.

        Args:
            pieces: an asynchronous generator, or an iterable, which is read in a thread.
            content_type: of the whole.
            status: 200 to 599.
            headers: further fields.
        """
        from velocity.edge.streaming import StreamContent

        return cls(StreamContent(pieces), status, headers, content_type)

    @classmethod
    def sse(
        cls, events: Events, *, heartbeat: float | None = 15.0, status: int = 200, headers: Fields | None = None
    ) -> EdgeResponse:
        """Server-sent events (HTML standard, section 9.2). A client that goes away cancels the generator.

        Args:
            events: `ServerSentEvent`, text, or a mapping, which becomes JSON.
            heartbeat: seconds of silence after which a comment is sent; None sends none.
            status: 200.
            headers: further fields.
        """
        from velocity.edge.sse import EventContent

        response = cls(EventContent(events, heartbeat), status, headers, "text/event-stream")
        response.headers.setdefault("cache-control", "no-store")
        return response

    # --- cookies ---

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        http_only: bool = True,
        same_site: Literal["lax", "strict", "none"] = "lax",
    ) -> None:
        """Set a cookie (RFC 6265 section 4.1). Defaults are the careful ones.

        Raises:
            ValueError: a name or value that no cookie can have.
        """
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie[name] = value
        except Exception:
            raise ValueError(f"{name[:60]!r} is no name of a cookie") from None
        morsel = cookie[name]
        morsel["path"], morsel["samesite"] = path, same_site.capitalize()
        if max_age is not None:
            morsel["max-age"] = str(max_age)
        if domain is not None:
            morsel["domain"] = domain
        if secure:
            morsel["secure"] = True
        if http_only:
            morsel["httponly"] = True
        self.headers.add("set-cookie", morsel.OutputString())

    def delete_cookie(self, name: str, *, path: str = "/", domain: str | None = None) -> None:
        """Make the client forget a cookie."""
        self.set_cookie(name, "", max_age=0, path=path, domain=domain)

    # --- sending ---

    async def send(self, exchange: Exchange) -> None:
        """Send it, without its background tasks."""
        if not isinstance(self.content, bytes):
            await self.content.send(self, exchange)
            return
        content = b"" if self.status in _NO_CONTENT else self.content
        if self.status not in _NO_CONTENT:
            self.headers.setdefault("content-length", str(len(content)))
        await exchange.start(self.status, self.headers.raw)
        await exchange.body(b"" if exchange.bodiless else content, more=False)


def encoded(value: Any) -> bytes:
    """A value as JSON (RFC 8259), without NaN.

    Raises:
        TypeError: it cannot be.
    """
    try:
        return to_json(value, by_alias=True, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise TypeError(f"{type(value).__name__} is no JSON: {error}") from None


def converted(value: Any, status: int) -> EdgeResponse:
    """What a handler returned, as an answer.

    None is 204, text is text, bytes are bytes; models, dataclasses, mappings, lists and numbers are JSON; generators
    are streams.

    Args:
        value: what it returned.
        status: of what is no answer yet.

    Raises:
        TypeError: nothing of these.
    """
    if isinstance(value, EdgeResponse):
        return value
    if value is None:
        return EdgeResponse(b"", 204 if status == 200 else status)
    if isinstance(value, str):
        return EdgeResponse.text(value, status)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return EdgeResponse(bytes(value), status, content_type="application/octet-stream")
    if isinstance(value, (BaseModel, Mapping, list, tuple, set, frozenset, bool, int, float)) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    ):
        return EdgeResponse.json(value, status)
    if isinstance(value, (AsyncIterable, Iterator)):
        return EdgeResponse.stream(value, status=status)
    raise TypeError(f"a handler returned {type(value).__name__}, which is no answer")
