"""URLs (RFC 3986): taken apart once, put together as they are sent."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from velocity.client.exceptions import InvalidURL
from velocity.client.query import QueryParams, QueryParamTypes
from velocity.config.values import BadValueError, parse_domain

__all__ = ["URL", "URLTypes", "join", "port_of"]

_LONGEST = 65_536
_USER = "!$&'()*+,;=-._~%"
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = "/%:@!$'()*+,;=~-._?&"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USERINFO = re.compile(r"//[^/?#]*@")
_LOOSE = re.compile("%(?![0-9A-Fa-f]{2})")
_PARTS = frozenset(
    "scheme userinfo username password host port netloc path query raw_path fragment params".split()  # noqa: SIM905
)


class URL:
    """A URL, absolute or relative; not to be changed, `copy_with` and the like give new ones.

    Args:
        url: what people write: characters beyond ASCII are encoded.
        parts: those that are to be different, as of `copy_with`.

    Raises:
        InvalidURL: it cannot be understood.
    """

    __slots__ = ("_host", "_path", "_port", "_query", "_raw_user", "_text", "fragment", "scheme")

    scheme: str
    """In lower case; empty in a relative one."""
    fragment: str
    """What follows the `#`."""

    def __init__(self, url: URL | str = "", **parts: Any) -> None:
        if isinstance(url, str):
            found = _parsed(url)
        elif isinstance(url, URL):
            found = url._tuple()
        else:
            raise TypeError(f"a URL is str or URL, not {type(url).__name__}")
        self._set(*found)
        if parts:
            self._set(*self._changed(parts))

    def _set(
        self, scheme: str, user: str, host: str, port: int | None, path: str, query: str | None, fragment: str
    ) -> None:
        self.scheme = scheme
        self._raw_user = user
        self._host = host
        self._port = port
        self._path = path
        self._query = query
        self.fragment = fragment
        self._text = ""

    def _tuple(self) -> tuple[str, str, str, int | None, str, str | None, str]:
        return self.scheme, self._raw_user, self._host, self._port, self._path, self._query, self.fragment

    @property
    def host(self) -> str:
        """Name or address, without brackets; names as people write them."""
        if "xn--" in self._host:
            try:
                return self._host.encode("ascii").decode("idna")
            except UnicodeError:
                pass
        return self._host

    @property
    def raw_host(self) -> bytes:
        """Name in A-labels, or address."""
        return self._host.encode("ascii")

    @property
    def port(self) -> int | None:
        """None where it is that of the scheme."""
        return self._port

    @property
    def netloc(self) -> bytes:
        """Host and port as they stand in the field Host."""
        return self.authority.encode("ascii")

    @property
    def authority(self) -> str:
        """Host and port as they stand in the field Host."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return host if self._port is None else f"{host}:{self._port}"

    @property
    def userinfo(self) -> bytes:
        """`user:password`, encoded; empty where there is none."""
        return self._raw_user.encode("ascii")

    @property
    def username(self) -> str:
        """The user."""
        return unquote(self._raw_user.partition(":")[0])

    @property
    def password(self) -> str:
        """The password."""
        return unquote(self._raw_user.partition(":")[2])

    @property
    def path(self) -> str:
        """Decoded."""
        return unquote(self._path or ("/" if self._host else ""))

    @property
    def raw_path(self) -> bytes:
        """Path and query as they are sent."""
        return self.target.encode("ascii")

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        path = self._path or ("/" if self._host else "")
        return path if self._query is None else f"{path}?{self._query}"

    @property
    def query(self) -> bytes:
        """As it is sent, without the `?`."""
        return (self._query or "").encode("ascii")

    @property
    def params(self) -> QueryParams:
        """The query as names and values."""
        return QueryParams(self._query)

    @property
    def is_absolute_url(self) -> bool:
        """Whether it has a scheme and a host."""
        return bool(self.scheme and self._host)

    @property
    def is_relative_url(self) -> bool:
        """Whether it needs another one to lead anywhere."""
        return not self.is_absolute_url

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port (RFC 6454)."""
        return self.scheme, self._host, port_of(self)

    def copy_with(self, **parts: Any) -> URL:
        """With other parts.

        Args:
            **parts: `scheme`, `username`, `password`, `userinfo`, `host`, `port`, `netloc`, `path`, `raw_path`,
                `query`, `params` or `fragment`.
        """
        return URL(self, **parts)

    def copy_set_param(self, key: str, value: Any = None) -> URL:
        """With this value alone for a name of the query."""
        return self.copy_with(params=self.params.set(key, value))

    def copy_add_param(self, key: str, value: Any = None) -> URL:
        """With one more value for a name of the query."""
        return self.copy_with(params=self.params.add(key, value))

    def copy_remove_param(self, key: str) -> URL:
        """Without a name of the query."""
        return self.copy_with(params=self.params.remove(key))

    def copy_merge_params(self, params: QueryParamTypes) -> URL:
        """With further names in the query."""
        return self.copy_with(params=self.params.merge(params))

    def join(self, url: URL | str) -> URL:
        """Where a reference in a document at this URL leads (RFC 3986 section 5)."""
        return join(self, URL(url))

    def _changed(self, parts: dict[str, Any]) -> tuple[str, str, str, int | None, str, str | None, str]:
        unknown = parts.keys() - _PARTS
        if unknown:
            raise TypeError(f"a URL has no {', '.join(sorted(unknown))}")
        given: dict[str, Any] = {
            name: value.decode("ascii") if isinstance(value, bytes) else value for name, value in parts.items()
        }
        scheme, user, host, port, path, query, fragment = self._tuple()
        scheme = given.get("scheme", scheme).lower()
        if "netloc" in given:
            host, port = _host_and_port(given["netloc"], given["netloc"])
        if "host" in given:
            host = _host(given["host"], given["host"])
        if "port" in given:
            port = given["port"]
        if port == _PORTS.get(scheme):
            port = None
        if "userinfo" in given:
            user = _encoded(given["userinfo"], _USER + ":")
        if "username" in given or "password" in given:
            word = quote(given.get("password", self.password) or "", safe="!$&'()*+,;=-._~")
            user = quote(given.get("username", self.username) or "", safe="!$&'()*+,;=-._~")
            user = f"{user}:{word}" if word else user
        if "raw_path" in given:
            raw, mark, rest = given["raw_path"].partition("?")
            path, query = _encoded(raw, _PATH), _encoded(rest, _QUERY) if mark else None
        if "path" in given:
            path = _encoded(given["path"], _PATH)
        if "query" in given:
            query = None if given["query"] is None else _encoded(given["query"], _QUERY)
        if "params" in given:
            query = str(QueryParams(given["params"])) or None
        if "fragment" in given:
            fragment = given["fragment"] or ""
        if host and path and not path.startswith("/"):
            raise InvalidURL(f"the path {path[:60]!r} has to begin with a slash")
        return scheme, user, host, port, path, query, fragment

    def _whole(self, user: str) -> str:
        text = f"{self.scheme}:" if self.scheme else ""
        if self._host:
            text += f"//{user}@{self.authority}" if user else f"//{self.authority}"
        text += self.target
        return f"{text}#{quote(self.fragment, safe=_QUERY)}" if self.fragment else text

    @property
    def wire(self) -> str:
        """As the core takes it: no user, no fragment."""
        if not self._text:
            self._text = f"{self.scheme}://{self.authority}{self.target}"
        return self._text

    def __str__(self) -> str:
        return self._whole(self._raw_user)

    def __repr__(self) -> str:
        user, mark, _ = self._raw_user.partition(":")
        return f"URL({self._whole(f'{user}:[secure]' if mark else user)!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            try:
                other = URL(other)
            except InvalidURL:
                return False
        return isinstance(other, URL) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


URLTypes = URL | str


def port_of(url: URL) -> int:
    """The port to connect to."""
    return url.port or _PORTS.get(url.scheme, 0)


def join(base: URL, reference: URL) -> URL:
    """RFC 3986 section 5.2.2."""
    scheme, user, host, port, path, query, fragment = reference._tuple()
    if not scheme:
        scheme = base.scheme
        if not host:
            user, host, port = base._raw_user, base._host, base._port
            if not path:
                path = base._path
                query = base._query if query is None else query
            elif not path.startswith("/"):
                folder = base._path.rpartition("/")[0]
                path = f"{folder}/{path}"
        elif port == _PORTS.get(scheme):
            port = None
    joined = URL()
    joined._set(scheme, user, host, port, _without_dots(path) if host else path, query, fragment)
    return joined


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    if "." not in path:
        return path
    out: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(out) > 1:
                out.pop()
        elif segment != ".":
            out.append(segment)
    if segments[-1] in (".", ".."):
        out.append("")
    return "/".join(out)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[str, str, str, int | None, str, str | None, str]:
    if len(text) > _LONGEST:
        raise InvalidURL(f"a URL of {len(text)} characters is too long", f"{_LONGEST} are the most")
    if _CONTROL.search(text):
        raise InvalidURL(f"the URL {_shown(text)} has control characters")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InvalidURL(f"cannot use {_shown(text)}: {error}") from None
    scheme = parts.scheme.lower()
    user, at, authority = parts.netloc.rpartition("@")
    host, port = _host_and_port(authority, text) if authority else ("", None)
    if at and not host:
        raise InvalidURL(f"cannot use {_shown(text)}: there is no host")
    if port == _PORTS.get(scheme):
        port = None
    marked = "?" in text.partition("#")[0]
    path = _encoded(parts.path, _PATH)
    return (
        scheme,
        _encoded(user, _USER + ":"),
        host,
        port,
        _without_dots(path) if host else path,
        _encoded(parts.query, _QUERY) if marked else None,
        unquote(parts.fragment),
    )


def _host_and_port(authority: str, text: str) -> tuple[str, int | None]:
    host, colon, digits = authority.rpartition(":")
    if not colon or (authority.startswith("[") and authority.endswith("]")):
        host, digits = authority, ""
    if digits and not (digits.isascii() and digits.isdigit() and int(digits) <= 65_535):
        raise InvalidURL(f"cannot use {_shown(text)}: {digits[:20]!r} is no port")
    return _host(host, text), int(digits) if digits else None


def _shown(text: str) -> str:
    """A URL for messages: not all of a long one, and no password."""
    return repr(_USERINFO.sub("//[secure]@", text)[:80])


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    address, percent, zone = host.partition("%")
    try:
        if percent and ":" in address:  # RFC 6874
            return f"{parse_domain(address)}%{zone}"
        return parse_domain(host)
    except BadValueError:
        if re.fullmatch(r"[A-Za-z0-9_.-]+", host):  # names with underscores are none, and are in use
            return host.lower()
        raise InvalidURL(f"cannot use {_shown(text)}: {host[:60]!r} is no host") from None


def _encoded(text: str, safe: str) -> str:
    """What may stand there stays, percent-encodings stay, the rest is encoded."""
    try:
        return _LOOSE.sub("%25", quote(text, safe=safe, errors="surrogateescape"))
    except UnicodeEncodeError as error:
        raise InvalidURL(f"cannot use {_shown(text)}: {error.reason}") from None
