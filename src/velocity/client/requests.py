"""A request: what is asked for, before it is sent and after."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from velocity.client.body import Content, RequestContent, RequestData, RequestFiles, Streamed, encode
from velocity.client.cookies import Cookies, CookieTypes
from velocity.client.exceptions import LocalProtocolError, RequestNotRead
from velocity.client.headers import Fields, Headed, Headers, HeaderTypes
from velocity.client.settings import DEFAULT_TIMEOUT, Timeout
from velocity.client.uri import URL

if TYPE_CHECKING:
    from velocity.client.query import QueryParamTypes

__all__ = ["Request"]

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Request(Headed):
    """What is asked for.

    Args:
        method: GET and so on; becomes upper case.
        url: where.
        params: instead of the query of the URL.
        headers: fields.
        cookies: further ones, for this request alone.
        content: bytes, text, or what yields bytes, asynchronously too.
        data: fields of a form.
        files: of a form: content or an open file, or name and content, or these and the type.
        json: anything that JSON can say.
        extensions: whatever a transport may want to know.

    Attributes:
        method: in upper case.
        url: absolute.
        timeout: how long to wait.

    Raises:
        LocalProtocolError: a method that is no token, or a field that is none.
        InvalidURL: the URL cannot be understood.
    """

    __slots__ = ("_body", "_extensions", "method", "timeout", "url")

    def __init__(
        self,
        method: str,
        url: URL | str,
        *,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        content: RequestContent | None = None,
        data: RequestData | None = None,
        files: RequestFiles | None = None,
        json: Any = None,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.method = checked_method(method)
        self.url = URL(url) if isinstance(url, str) else url
        if params is not None:
            self.url = self.url.copy_with(params=params)
        self._headers = Headers(headers)
        self._fields = self._headers.fields
        self._extensions = extensions
        self.timeout: Timeout = DEFAULT_TIMEOUT
        self._body: Content
        self._body, kind = encode(content, data, files, json, _boundary(self._headers.get("content-type")))
        if kind is not None and "content-type" not in self._headers:
            self._headers["content-type"] = kind
        if cookies:
            Cookies(cookies).set_cookie_header(self)

    @classmethod
    def plain(cls, method: str, url: URL, fields: Fields, timeout: Timeout) -> Request:
        """A request without content, of parts that are known to be sound."""
        made = cls.__new__(cls)
        made.method = method
        made.url = url
        made._headers = None
        made._fields = fields
        made._body = None
        made._extensions = None
        made.timeout = timeout
        return made

    @property
    def body(self) -> Content:
        """Its content as it is sent."""
        return self._body

    @property
    def stream(self) -> Any:
        """Its content, to be iterated over."""
        return self._body if isinstance(self._body, Streamed) else Streamed([self._body] if self._body else [])

    @property
    def content(self) -> bytes:
        """Its content.

        Raises:
            RequestNotRead: it comes piece by piece.
        """
        if isinstance(self._body, Streamed):
            raise RequestNotRead
        return self._body or b""

    @property
    def extensions(self) -> dict[str, Any]:
        """Whatever a transport may want to know; `timeout` is there."""
        if self._extensions is None:
            self._extensions = {}
        self._extensions.setdefault("timeout", self.timeout.as_dict())
        return self._extensions

    @property
    def is_repeatable(self) -> bool:
        """Whether its content can be sent again."""
        return not isinstance(self._body, Streamed) or self._body.repeatable

    def read(self) -> bytes:
        """Gather its content."""
        if isinstance(self._body, Streamed):
            self._body = b"".join(self._body)
        return self._body or b""

    async def aread(self) -> bytes:
        """Gather its content, which may come asynchronously."""
        if isinstance(self._body, Streamed):
            self._body = b"".join([piece async for piece in self._body])
        return self._body or b""

    def __repr__(self) -> str:
        return f"<Request({self.method!r}, {str(self.url.copy_with(userinfo=''))!r})>"


def checked_method(method: str) -> str:
    """In upper case (RFC 9110 section 9.1)."""
    if method in _USUAL:
        return method
    if not _METHOD.fullmatch(method):
        raise LocalProtocolError("METHOD_INVALID", f"{method[:60]!r} is no method", "for example: GET, POST, PUT")
    return method.upper()


def _boundary(content_type: str | None) -> str | None:
    """The boundary that somebody has chosen."""
    if not content_type or not content_type.lower().startswith("multipart/form-data"):
        return None
    found = re.search(r'boundary="?([^";\s]{1,70})"?', content_type)
    return found[1] if found and found[1].isascii() else None
