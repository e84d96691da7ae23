"""Cookies (RFC 6265): kept by `http.cookiejar`, whose policy is taught what a public suffix is."""

from __future__ import annotations

import email.message
import urllib.request
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeAlias

from velocity.client.exceptions import CookieConflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.client.requests import Request
    from velocity.client.responses import Response

__all__ = ["CookieTypes", "Cookies"]

CookieTypes: TypeAlias = "Cookies | CookieJar | Mapping[str, str] | list[tuple[str, str]]"

_LONGEST = 8192
"""Characters of a field Set-Cookie that is heeded; RFC 6265bis section 5.6 wants half of that."""
_MOST = 50
"""Set-Cookie fields that are heeded in one answer."""


class Cookies(MutableMapping[str, str]):
    """Cookies by name, each for a domain and a path.

    Args:
        cookies: names and values for every host, or those of a jar, which is then shared.
    """

    jar: CookieJar

    def __init__(self, cookies: CookieTypes | None = None) -> None:
        if isinstance(cookies, CookieJar):
            self.jar = cookies
            return
        self.jar = CookieJar(_Policy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain))
        if isinstance(cookies, Cookies):
            for cookie in cookies.jar:
                self.jar.set_cookie(cookie)
        else:
            for name, value in cookies.items() if isinstance(cookies, Mapping) else cookies or ():
                self.set(name, value)

    def extract_cookies(self, response: Response) -> None:
        """Keep what a response sets."""
        message = email.message.Message()
        lines = [line for line in response.headers.get_list("set-cookie") if len(line) <= _LONGEST]
        for line in lines[:_MOST]:
            message["Set-Cookie"] = line
        self.jar.extract_cookies(_Answer(message), _asked(response.request))  # type: ignore[arg-type]

    def set_cookie_header(self, request: Request) -> None:
        """Add what belongs to a request."""
        asked = _asked(request)
        self.jar.add_cookie_header(asked)
        value = asked.get_header("Cookie")
        if value:
            request.headers["cookie"] = value

    def set(self, name: str, value: str, domain: str = "", path: str = "/") -> None:
        """Keep a cookie.

        Args:
            name: its name.
            value: its value.
            domain: whom it is for; nothing is everybody.
            path: where.
        """
        self.jar.set_cookie(
            Cookie(
                version=0, name=name, value=value, port=None, port_specified=False,
                domain=domain, domain_specified=True, domain_initial_dot=domain.startswith("."),
                path=path, path_specified=bool(path), secure=False, expires=None, discard=True,
                comment=None, comment_url=None, rest={"HttpOnly": ""}, rfc2109=False,
            )
        )  # fmt: skip

    def get(  # type: ignore[override]
        self, name: str, default: str | None = None, domain: str | None = None, path: str | None = None
    ) -> str | None:
        """The value of a cookie.

        Raises:
            CookieConflict: several have this name; say the domain or the path.
        """
        found = [
            cookie.value
            for cookie in self.jar
            if cookie.name == name and domain in (None, cookie.domain) and path in (None, cookie.path)
        ]
        if len(found) > 1:
            raise CookieConflict("COOKIE_CONFLICT", f"{len(found)} cookies are called {name}", "name domain or path")
        return found[0] if found else default

    def delete(self, name: str, domain: str | None = None, path: str | None = None) -> None:
        """Forget the cookies of a name, in a domain and path if these are given."""
        for cookie in list(self.jar):
            if cookie.name == name and domain in (None, cookie.domain) and path in (None, cookie.path):
                self.jar.clear(cookie.domain, cookie.path, cookie.name)

    def clear(self, domain: str | None = None, path: str | None = None) -> None:
        """Forget all of them, or those of a domain, or those of a path in it."""
        self.jar.clear(*(one for one in (domain, path) if one is not None))

    def update(self, cookies: CookieTypes | None = None, /, **more: str) -> None:  # type: ignore[override]
        """Add others."""
        for cookie in Cookies(cookies).jar:
            self.jar.set_cookie(cookie)
        for name, value in more.items():
            self.set(name, value)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in iter(self):
            raise KeyError(name)
        self.delete(name)

    def __iter__(self) -> Iterator[str]:
        return (cookie.name for cookie in self.jar)

    def __len__(self) -> int:
        return len(self.jar)

    def __bool__(self) -> bool:
        return next(iter(self.jar), None) is not None

    def __repr__(self) -> str:
        shown = ", ".join(f"<{one.name} for {one.domain or 'everybody'}{one.path}>" for one in self.jar)
        return f"Cookies([{shown}])"


class _Policy(DefaultCookiePolicy):
    """No cookie for all hosts below a public suffix (RFC 6265 section 5.3 step 5); `Secure` only over https."""

    def set_ok_domain(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        if cookie.domain_specified:
            domain = cookie.domain.lstrip(".")
            if domain != request.host.partition(":")[0].lower() and _is_public_suffix(domain):
                return False
        return super().set_ok_domain(cookie, request)

    def set_ok_verifiability(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        if cookie.secure and request.type != "https":  # RFC 6265bis section 5.7 step 8
            return False
        return super().set_ok_verifiability(cookie, request)


@lru_cache(maxsize=1)
def _suffixes() -> Callable[[str], bool]:
    from publicsuffixlist import PublicSuffixList

    known = PublicSuffixList()
    return lambda domain: bool(known.is_public(domain))


def _is_public_suffix(domain: str) -> bool:
    """Asked only where a cookie names a domain: the list takes a moment to load."""
    return _suffixes()(domain)


class _Answer:
    """What `CookieJar` wants to know of a response."""

    def __init__(self, message: email.message.Message) -> None:
        self._message = message

    def info(self) -> email.message.Message:
        return self._message


def _asked(request: Request) -> urllib.request.Request:
    """What `CookieJar` wants to know of a request."""
    fields: dict[str, Any] = dict(request.headers)
    return urllib.request.Request(str(request.url.copy_with(userinfo="")), headers=fields, method=request.method)  # noqa: S310
