"""What both clients know: defaults, cookies, where redirects lead, who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from velocity import __version__
from velocity.client.auth import Auth, AuthTypes, BasicAuth, auth_of
from velocity.client.cookies import Cookies, CookieTypes
from velocity.client.decoding import accept_encoding
from velocity.client.exceptions import InvalidURL, RemoteProtocolError, TooManyRedirects
from velocity.client.headers import Headers, HeaderTypes
from velocity.client.mounts import Mounts, environment_proxies
from velocity.client.query import QueryParams, QueryParamTypes
from velocity.client.requests import Request, checked_method
from velocity.client.settings import (
    UNSET,
    Decompression,
    Proxy,
    Retry,
    Timeout,
    TimeoutTypes,
    Unset,
    retry_of,
    timeout_of,
)
from velocity.client.uri import URL

if TYPE_CHECKING:
    from velocity.client.body import RequestContent, RequestData, RequestFiles
    from velocity.client.responses import DefaultEncoding, Response

__all__ = ["BaseClient", "EventHook", "EventHooks"]

T = TypeVar("T")
EventHook = Callable[[Any], Any]
EventHooks = Mapping[str, Sequence[EventHook]]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECT_LIMITS = Decompression(max_size=1 << 20)
"""Of the content of redirects, which nobody reads."""
PREFETCH = 65_536
"""Bytes of content that are waited for together with the head."""
_KNOWN = 512
"""URLs whose meaning is remembered."""
_FOR_ONE_ORIGIN = frozenset({"authorization", "proxy-authorization", "cookie"})
_OF_CONTENT = ("content-", "transfer-encoding")
_USER_AGENT = f"velocity/{__version__}"


class _Hooks(TypedDict):
    request: list[EventHook]
    response: list[EventHook]


class BaseClient(Generic[T]):
    """Everything that needs no waiting."""

    def __init__(
        self,
        *,
        auth: AuthTypes | None,
        params: QueryParamTypes | None,
        headers: HeaderTypes | None,
        cookies: CookieTypes | None,
        timeout: TimeoutTypes,
        follow_redirects: bool,
        max_redirects: int,
        event_hooks: EventHooks | None,
        base_url: URL | str,
        trust_env: bool,
        retries: Retry | int | None,
        decompression: Decompression,
        default_encoding: DefaultEncoding,
    ) -> None:
        self._base_url = URL()
        self._known: dict[str, URL] = {}
        self.base_url = URL(base_url)
        self._auth = auth_of(auth)
        self._params = QueryParams(params)
        self.headers = Headers(headers)
        self._cookies = Cookies(cookies)
        self._has_cookies = bool(self._cookies)
        self._timeout = timeout_of(timeout)
        self.follow_redirects = follow_redirects
        self.max_redirects = max_redirects
        self.event_hooks = event_hooks or {}
        self._trust_env = trust_env
        self._retries = retry_of(retries)
        self._decompression = decompression
        self._default_encoding = default_encoding
        self._closed = False
        self._transport: T
        self._mounts: Mounts[T] = Mounts({})

    # --- settings ---

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def trust_env(self) -> bool:
        """Whether the environment names proxies."""
        return self._trust_env

    @property
    def base_url(self) -> URL:
        """What relative URLs are relative to; it ends with a slash."""
        return self._base_url

    @base_url.setter
    def base_url(self, url: URL | str) -> None:
        found = URL(url)
        if found.target and not found._path.endswith("/"):
            found = found.copy_with(path=f"{found._path}/")
        self._base_url = found
        self._known = {}

    @property
    def headers(self) -> Headers:
        """Fields of every request."""
        return self._headers

    @headers.setter
    def headers(self, headers: HeaderTypes) -> None:
        made = Headers({"accept": "*/*", "accept-encoding": accept_encoding(), "user-agent": _USER_AGENT})
        made.update(headers)
        self._headers = made

    @property
    def cookies(self) -> Cookies:
        """Those of every request that they are for; answers change them."""
        self._has_cookies = True
        return self._cookies

    @cookies.setter
    def cookies(self, cookies: CookieTypes) -> None:
        self._cookies = Cookies(cookies)
        self._has_cookies = True

    @property
    def params(self) -> QueryParams:
        """In the query of every request."""
        return self._params

    @params.setter
    def params(self, params: QueryParamTypes) -> None:
        self._params = QueryParams(params)
        self._known = {}

    @property
    def auth(self) -> Auth | None:
        """Who is asking."""
        return self._auth

    @auth.setter
    def auth(self, auth: AuthTypes | None) -> None:
        self._auth = auth_of(auth)

    @property
    def timeout(self) -> Timeout:
        """How long to wait."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: TimeoutTypes) -> None:
        self._timeout = timeout_of(timeout)

    @property
    def event_hooks(self) -> _Hooks:
        """Functions that see every `request` before it is sent, and every `response` before its content is read."""
        return self._event_hooks

    @event_hooks.setter
    def event_hooks(self, event_hooks: EventHooks | _Hooks) -> None:
        unknown = set(event_hooks) - {"request", "response"}
        if unknown:
            raise ValueError(f"there are hooks for request and response, not for {', '.join(sorted(unknown))}")
        self._event_hooks: _Hooks = {
            "request": list(event_hooks.get("request", ())),
            "response": list(event_hooks.get("response", ())),
        }

    # --- requests ---

    def build_request(
        self,
        method: str,
        url: URL | str,
        *,
        content: RequestContent | None = None,
        data: RequestData | None = None,
        files: RequestFiles | None = None,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Request:
        """A request with what the client adds to it, for `send`; see `request` for the arguments."""
        merged = self._headers
        if headers is not None:
            merged = merged.copy()
            merged.update(headers)
        target = self._merged(url)
        if params is not None or self._params:
            target = target.copy_with(params=self._params.merge(params))
        request = Request(
            method, target, headers=merged, content=content, data=data, files=files, json=json, extensions=extensions
        )
        request.timeout = self._timeout if isinstance(timeout, Unset) else timeout_of(timeout)
        if cookies is not None or self._has_cookies:
            self._add_cookies(request, cookies)
        return request

    def _plain(self, method: str, url: URL | str) -> Request:
        """A request about which nothing was said but this: what most are, and so what has to be fast."""
        target = self._known.get(url) if isinstance(url, str) else None
        if target is None:
            target = self._merged(url)
            if self._params:
                target = target.copy_with(params=self._params)
            if isinstance(url, str):
                if len(self._known) >= _KNOWN:
                    self._known = {}
                self._known[url] = target
        request = Request.plain(checked_method(method), target, self._headers.fields, self._timeout)
        if self._has_cookies:
            self._add_cookies(request, None)
        return request

    def _merged(self, url: URL | str) -> URL:
        found = URL(url) if isinstance(url, str) else url
        base = self._base_url
        if found.is_absolute_url or not base._host:
            return found
        if found._host or found.scheme:
            return base.join(found)
        # The base is a folder, whatever it looks like: a leading slash does not leave it.
        path = base._path + found._path.lstrip("/")
        return base.copy_with(path=path, query=found._query, fragment=found.fragment)

    def _add_cookies(self, request: Request, cookies: CookieTypes | None) -> None:
        if cookies is not None:
            merged = Cookies(self._cookies)
            merged.update(cookies)
        else:
            merged = self._cookies
        if merged and "cookie" not in request.headers:
            merged.set_cookie_header(request)

    def _auth_for(self, request: Request, auth: AuthTypes | Unset | None) -> Auth | None:
        found = self._auth if isinstance(auth, Unset) else auth_of(auth)
        if found is None and request.url._raw_user and isinstance(auth, Unset):
            return BasicAuth(request.url.username, request.url.password)
        return found

    # --- redirects (RFC 9110 section 15.4) ---

    def _redirected(self, request: Request, response: Response) -> Request:
        """The request that a redirect turns this one into.

        Raises:
            RemoteProtocolError: its target is no URL.
        """
        url = self._target(request, response)
        status, method = response.status_code, request.method
        if (
            (status == 303 and method != "HEAD")
            or (status == 302 and method != "HEAD")
            or (status == 301 and method == "POST")
        ):
            method = "GET"
        fields = [pair for pair in request.fields if pair[0] not in ("cookie", "host")]
        if url.origin != request.url.origin and not _only_secured(request.url, url):
            fields = [pair for pair in fields if pair[0] not in _FOR_ONE_ORIGIN]
        if method != request.method:
            fields = [pair for pair in fields if not pair[0].startswith(_OF_CONTENT)]
        made = Request.plain(method, url, fields, request.timeout)
        if method == request.method:
            made._body = request._body
        made._extensions = request._extensions
        if self._has_cookies:
            self._add_cookies(made, None)
        return made

    def _target(self, request: Request, response: Response) -> URL:
        location = response.headers["location"]
        with suppress(UnicodeError):
            # Beyond ASCII nobody may send anything there, and UTF-8 is what is meant by those who do.
            location = location.encode("latin-1").decode("utf-8")
        try:
            found = URL(location)
            url = request.url.join(found) if found.is_relative_url else found
        except InvalidURL as error:
            failed = RemoteProtocolError("REDIRECT_INVALID", f"a redirect leads nowhere: {error.message}")
            failed.request = request
            raise failed from None
        if url.fragment or not request.url.fragment:
            return url
        return url.copy_with(fragment=request.url.fragment)

    def _too_many(self, request: Request) -> TooManyRedirects:
        error = TooManyRedirects(
            "TOO_MANY_REDIRECTS",
            f"more than {self.max_redirects} redirects, the last one to {request.url.copy_with(userinfo='')}",
            "the server may be sending us in circles",
        )
        error.request = request
        return error

    # --- answers ---

    def _arrived(self, response: Response, request: Request, started: float) -> None:
        """What every answer goes through, be it a redirect or the last one."""
        response.prepare(request, self._decompression, self._default_encoding, started)
        for name, _ in response.fields:
            if name == "set-cookie":
                self._has_cookies = True
                self._cookies.extract_cookies(response)
                break

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed")

    def _proxies(self, proxy: Proxy | URL | str | None) -> dict[str, Proxy | None]:
        """Proxies of the environment by pattern, where none was given."""
        if proxy is not None or not self._trust_env:
            return {}
        return {pattern: None if url is None else Proxy(url) for pattern, url in environment_proxies().items()}


def _only_secured(before: URL, after: URL) -> bool:
    """Whether a redirect only leads from http to https, at the same host."""
    return before.origin == ("http", after._host, 80) and after.origin == ("https", before._host, 443)
