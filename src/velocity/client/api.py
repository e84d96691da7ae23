"""Requests without a client: `velocity.get(url)` and the like.

Cookies live as long as one call. Connections live longer: calls that trust the same and go the same way share them.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from velocity.client.settings import Proxy, Timeout, TimeoutTypes
from velocity.client.sync import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from velocity.client.auth import AuthTypes
    from velocity.client.body import RequestContent, RequestData, RequestFiles
    from velocity.client.cookies import CookieTypes
    from velocity.client.headers import HeaderTypes
    from velocity.client.query import QueryParamTypes
    from velocity.client.responses import Response
    from velocity.client.transport import CertTypes, VerifyTypes
    from velocity.client.uri import URL

__all__ = ["delete", "get", "head", "options", "patch", "post", "put", "request", "stream"]

_DEFAULT_TIMEOUT = Timeout(5.0)
_MOST = 8
"""Ways that connections are kept for."""
_PROXIES = tuple(name for one in ("http", "https", "all", "no") for name in (f"{one}_proxy", f"{one.upper()}_PROXY"))

_kept: dict[tuple[Any, ...], Client] = {}
_lock = Lock()


def _client(
    cookies: CookieTypes | None,
    verify: VerifyTypes,
    cert: CertTypes | None,
    proxy: Proxy | URL | str | None,
    trust_env: bool,
) -> Client:
    """A client with the connections of earlier calls, and nothing else of them."""
    environment = tuple(map(os.environ.get, _PROXIES)) if trust_env else ()
    way = proxy.url if isinstance(proxy, Proxy) else proxy
    key = (os.getpid(), str(verify), str(cert), str(way), environment)
    with _lock:
        kept = _kept.get(key)
        if kept is None:
            if len(_kept) >= _MOST:
                _kept.clear()
            kept = _kept[key] = Client(verify=verify, cert=cert, proxy=proxy, trust_env=trust_env)
    return kept.sibling(cookies)


def request(
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
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """Ask, and read the answer whole.

    Args:
        method: GET and so on.
        url: absolute.
        content: bytes, text, an open file, or what yields bytes.
        data: fields of a form.
        files: of a form: content or an open file, or name and content, or these and the type.
        json: anything that JSON can say.
        params: instead of the query of the URL.
        headers: further fields.
        cookies: for this call.
        auth: who is asking: a pair of user and password, a function that changes requests, or an `Auth`.
        proxy: through whom: `http://[user:password@]host:port`.
        timeout: seconds, or a `Timeout`; None waits for ever.
        follow_redirects: whether to go where redirects point.
        verify: True believes the system's roots, False everybody; or a PEM file of roots to believe instead.
        cert: whom to be where a server asks: a PEM file of chain and key, or one for each.
        trust_env: whether the environment names proxies.

    Raises:
        RequestError: no complete response came; see `velocity.client.exceptions` for the kinds.
        InvalidURL: the URL cannot be understood.
        ConfigError: a file cannot be used.
    """
    client = _client(cookies, verify, cert, proxy, trust_env)
    return client.request(
        method, url, content=content, data=data, files=files, json=json, params=params, headers=headers, auth=auth,
        timeout=timeout, follow_redirects=follow_redirects,
    )  # fmt: skip


@contextmanager
def stream(
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
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Iterator[Response]:
    """Ask, and read the answer piece by piece while the block lasts; as `request`."""
    client = _client(cookies, verify, cert, proxy, trust_env)
    with client.stream(
        method, url, content=content, data=data, files=files, json=json, params=params, headers=headers, auth=auth,
        timeout=timeout, follow_redirects=follow_redirects,
    ) as response:  # fmt: skip
        yield response


def get(
    url: URL | str,
    *,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """GET; see `request`, as for the others."""
    return request(
        "GET", url, params=params, headers=headers, cookies=cookies, auth=auth, proxy=proxy, timeout=timeout,
        follow_redirects=follow_redirects, verify=verify, cert=cert, trust_env=trust_env,
    )  # fmt: skip


def options(
    url: URL | str,
    *,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """OPTIONS."""
    return request(
        "OPTIONS", url, params=params, headers=headers, cookies=cookies, auth=auth, proxy=proxy, timeout=timeout,
        follow_redirects=follow_redirects, verify=verify, cert=cert, trust_env=trust_env,
    )  # fmt: skip


def head(
    url: URL | str,
    *,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """HEAD."""
    return request(
        "HEAD", url, params=params, headers=headers, cookies=cookies, auth=auth, proxy=proxy, timeout=timeout,
        follow_redirects=follow_redirects, verify=verify, cert=cert, trust_env=trust_env,
    )  # fmt: skip


def post(
    url: URL | str,
    *,
    content: RequestContent | None = None,
    data: RequestData | None = None,
    files: RequestFiles | None = None,
    json: Any = None,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """POST."""
    return request(
        "POST", url, content=content, data=data, files=files, json=json, params=params, headers=headers,
        cookies=cookies, auth=auth, proxy=proxy, timeout=timeout, follow_redirects=follow_redirects, verify=verify,
        cert=cert, trust_env=trust_env,
    )  # fmt: skip


def put(
    url: URL | str,
    *,
    content: RequestContent | None = None,
    data: RequestData | None = None,
    files: RequestFiles | None = None,
    json: Any = None,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """PUT."""
    return request(
        "PUT", url, content=content, data=data, files=files, json=json, params=params, headers=headers,
        cookies=cookies, auth=auth, proxy=proxy, timeout=timeout, follow_redirects=follow_redirects, verify=verify,
        cert=cert, trust_env=trust_env,
    )  # fmt: skip


def patch(
    url: URL | str,
    *,
    content: RequestContent | None = None,
    data: RequestData | None = None,
    files: RequestFiles | None = None,
    json: Any = None,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """PATCH."""
    return request(
        "PATCH", url, content=content, data=data, files=files, json=json, params=params, headers=headers,
        cookies=cookies, auth=auth, proxy=proxy, timeout=timeout, follow_redirects=follow_redirects, verify=verify,
        cert=cert, trust_env=trust_env,
    )  # fmt: skip


def delete(
    url: URL | str,
    *,
    params: QueryParamTypes | None = None,
    headers: HeaderTypes | None = None,
    cookies: CookieTypes | None = None,
    auth: AuthTypes | None = None,
    proxy: Proxy | URL | str | None = None,
    timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
    follow_redirects: bool = False,
    verify: VerifyTypes = True,
    cert: CertTypes | None = None,
    trust_env: bool = True,
) -> Response:
    """DELETE."""
    return request(
        "DELETE", url, params=params, headers=headers, cookies=cookies, auth=auth, proxy=proxy, timeout=timeout,
        follow_redirects=follow_redirects, verify=verify, cert=cert, trust_env=trust_env,
    )  # fmt: skip
