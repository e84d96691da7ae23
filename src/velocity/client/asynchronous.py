"""`AsyncClient`: requests that are awaited, with asyncio or uvloop."""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from velocity.client.base import PREFETCH, REDIRECT_LIMITS, REDIRECTS, BaseClient, EventHook, EventHooks
from velocity.client.exceptions import BodyTooLarge, DecodingError, RequestError
from velocity.client.mounts import Mounts
from velocity.client.settings import UNSET, Decompression, Limits, Proxy, Retry, Timeout, TimeoutTypes, Unset
from velocity.client.transport import AsyncBaseTransport, AsyncHTTPTransport, CertTypes, Fallback, VerifyTypes

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    from velocity.client.auth import Auth, AuthTypes
    from velocity.client.body import RequestContent, RequestData, RequestFiles
    from velocity.client.caching import Cache
    from velocity.client.connect import Profile, Protocol
    from velocity.client.cookies import CookieTypes
    from velocity.client.headers import HeaderTypes
    from velocity.client.query import QueryParamTypes
    from velocity.client.requests import Request
    from velocity.client.responses import DefaultEncoding, Response
    from velocity.client.uri import URL

__all__ = ["AsyncClient"]

_DEFAULT_TIMEOUT = Timeout(5.0)


class AsyncClient(BaseClient[AsyncBaseTransport]):
    """A client for HTTP/1.1, HTTP/2, HTTP/3 and Velocity/1, with connections that are kept and cookies that stay.

    Tasks may share it. Arguments are those of `Client`; `event_hooks` and an `Auth` may be asynchronous.

    Raises:
        ConfigError: a file cannot be used, or options exclude each other.
    """

    def __init__(
        self,
        *,
        auth: AuthTypes | None = None,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        verify: VerifyTypes = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = True,
        http3: bool = True,
        protocols: Sequence[Protocol] | None = None,
        profile: Profile | None = None,
        fallback: Fallback = "allow",
        crl_files: Sequence[str | os.PathLike[str]] = (),
        proxy: Proxy | URL | str | None = None,
        mounts: Mapping[str, AsyncBaseTransport | None] | None = None,
        timeout: TimeoutTypes = _DEFAULT_TIMEOUT,
        follow_redirects: bool = False,
        limits: Limits | None = None,
        max_redirects: int = 20,
        event_hooks: EventHooks | None = None,
        base_url: URL | str = "",
        retries: Retry | int | None = None,
        cache: Cache | None = None,
        decompression: Decompression = Decompression(),  # noqa: B008 - immutable
        state_dir: str | os.PathLike[str] | bool | None = None,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        transport: AsyncBaseTransport | None = None,
        default_encoding: DefaultEncoding = None,
    ) -> None:
        super().__init__(
            auth=auth, params=params, headers=headers, cookies=cookies, timeout=timeout,
            follow_redirects=follow_redirects, max_redirects=max_redirects, event_hooks=event_hooks, base_url=base_url,
            trust_env=trust_env, retries=retries, decompression=decompression, default_encoding=default_encoding,
        )  # fmt: skip

        def cached(transport: AsyncBaseTransport) -> AsyncBaseTransport:
            if cache is None:
                return transport
            from velocity.client.caching import AsyncCacheTransport

            return AsyncCacheTransport(transport, cache)

        def through(proxy: Proxy | None) -> AsyncBaseTransport:
            transport = AsyncHTTPTransport(
                verify=verify, cert=cert, http1=http1, http2=http2, http3=http3, protocols=protocols, profile=profile,
                fallback=fallback, crl_files=crl_files, limits=limits, proxy=proxy, state_dir=state_dir,
                resolve=resolve,
            )  # fmt: skip
            return cached(transport)

        mounted: dict[str, AsyncBaseTransport | None] = {}
        if transport is not None:
            self._transport = cached(transport)
        else:
            self._transport = through(proxy if proxy is None or isinstance(proxy, Proxy) else Proxy(proxy))
            for pattern, one in self._proxies(proxy).items():
                mounted[pattern] = None if one is None else through(one)
        self._mounts = Mounts({**mounted, **(mounts or {})})

    # --- asking ---

    async def request(
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
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """Ask, and read the answer whole.

        Args:
            method: GET and so on.
            url: absolute, or relative to `base_url`.
            content: bytes, text, an open file, or what yields bytes.
            data: fields of a form.
            files: of a form: content or an open file, or name and content, or these and the type.
            json: anything that JSON can say.
            params: instead of the query of the URL.
            headers: further fields.
            cookies: further ones.
            auth: who is asking; None nobody.
            follow_redirects: whether to go where redirects point.
            timeout: how long to wait.
            extensions: whatever a transport may want to know.

        Raises:
            RequestError: no complete response came; see `velocity.client.exceptions` for the kinds.
            InvalidURL: the URL cannot be understood.
        """
        request = self.build_request(
            method, url, content=content, data=data, files=files, json=json, params=params, headers=headers,
            cookies=cookies, timeout=timeout, extensions=extensions,
        )  # fmt: skip
        return await self.send(request, auth=auth, follow_redirects=follow_redirects)

    @asynccontextmanager
    async def stream(
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
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> AsyncIterator[Response]:
        """Ask, and read the answer piece by piece while the block lasts; as `request`."""
        request = self.build_request(
            method, url, content=content, data=data, files=files, json=json, params=params, headers=headers,
            cookies=cookies, timeout=timeout, extensions=extensions,
        )  # fmt: skip
        response = await self.send(request, auth=auth, follow_redirects=follow_redirects, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def send(
        self,
        request: Request,
        *,
        stream: bool = False,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
    ) -> Response:
        """Send a request that `build_request` has made, or somebody else.

        Args:
            request: what is asked.
            stream: leave the content to be read; the response has to be closed then.
            auth: who is asking; None nobody.
            follow_redirects: whether to go where redirects point.

        Raises:
            RequestError: no complete response came.
        """
        self._check_open()
        follow = self.follow_redirects if isinstance(follow_redirects, Unset) else follow_redirects
        who = self._auth_for(request, auth)
        if who is None:
            response = await self._follow(request, follow, stream, [])
        else:
            response = await self._authenticated(request, who, follow, stream)
        if not stream:
            await response.aread()
        return response

    async def _authenticated(self, request: Request, auth: Auth, follow: bool, stream: bool) -> Response:
        flow = auth.async_auth_flow(request)
        history: list[Response] = []
        try:
            asked = await anext(flow)
            while True:
                response = await self._follow(asked, follow, stream, history)
                try:
                    asked = await flow.asend(response)
                except StopAsyncIteration:
                    return response
                except BaseException:
                    await response.aclose()
                    raise
                await self._pass(response)
                history = [*response.history, response]
        finally:
            await flow.aclose()

    async def _follow(self, request: Request, follow: bool, stream: bool, history: list[Response]) -> Response:
        """The answer at the end of all redirects."""
        seen = len(history)
        while True:
            for hook in self._event_hooks["request"]:
                await _run(hook, request)
            response = await self._answered(request, stream)
            if history:
                response.history = list(history)
            try:
                for hook in self._event_hooks["response"]:
                    await _run(hook, response)
                if response.status_code not in REDIRECTS or not response.has_redirect_location:
                    return response
                following = self._redirected(request, response)
                if not follow:
                    response.next_request = following
                    return response
                if len(history) - seen >= self.max_redirects:
                    raise self._too_many(following)
            except BaseException:
                await response.aclose()
                raise
            await self._pass(response)
            history = [*history, response]
            request = following

    async def _pass(self, response: Response) -> None:
        """An answer that is not the last one: if it has little content, that is read for the connection to go on."""
        response._limits = REDIRECT_LIMITS
        try:
            if not response.is_closed:
                await response.aread()
        except (BodyTooLarge, DecodingError):
            response.keep(b"")

    async def _answered(self, request: Request, stream: bool) -> Response:
        policy = self._retries
        if policy is None:
            return await self._once(request, stream)
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._once(request, stream)
            except RequestError as error:
                delay = policy.after_error(attempt, request, error)
                if delay is None:
                    raise
            else:
                delay = policy.after_response(attempt, request, response)
                if delay is None:
                    return response
                await response.aclose()
            await asyncio.sleep(delay)

    async def _once(self, request: Request, stream: bool) -> Response:
        transport = self._transport if not self._mounts else self._mounts.find(request.url, self._transport)
        started = time.perf_counter()
        if isinstance(transport, AsyncHTTPTransport):
            response = await transport.exchange(request, 0 if stream else PREFETCH)
        else:
            response = await transport.handle_async_request(request)
        self._arrived(response, request, started)
        return response

    # --- the same, shorter ---

    async def get(
        self,
        url: URL | str,
        *,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """GET; see `request`, as for the others."""
        if params is None and headers is None and cookies is None and timeout is UNSET and extensions is None:
            return await self.send(self._plain("GET", url), auth=auth, follow_redirects=follow_redirects)
        return await self.request(
            "GET", url, params=params, headers=headers, cookies=cookies, auth=auth,
            follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    async def options(
        self,
        url: URL | str,
        *,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """OPTIONS."""
        return await self.request(
            "OPTIONS", url, params=params, headers=headers, cookies=cookies, auth=auth,
            follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    async def head(
        self,
        url: URL | str,
        *,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """HEAD."""
        return await self.request(
            "HEAD", url, params=params, headers=headers, cookies=cookies, auth=auth,
            follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    async def post(
        self,
        url: URL | str,
        *,
        content: RequestContent | None = None,
        data: RequestData | None = None,
        files: RequestFiles | None = None,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """POST."""
        return await self.request(
            "POST", url, content=content, data=data, files=files, json=json, params=params, headers=headers,
            cookies=cookies, auth=auth, follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    async def put(
        self,
        url: URL | str,
        *,
        content: RequestContent | None = None,
        data: RequestData | None = None,
        files: RequestFiles | None = None,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """PUT."""
        return await self.request(
            "PUT", url, content=content, data=data, files=files, json=json, params=params, headers=headers,
            cookies=cookies, auth=auth, follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    async def patch(
        self,
        url: URL | str,
        *,
        content: RequestContent | None = None,
        data: RequestData | None = None,
        files: RequestFiles | None = None,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """PATCH."""
        return await self.request(
            "PATCH", url, content=content, data=data, files=files, json=json, params=params, headers=headers,
            cookies=cookies, auth=auth, follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    async def delete(
        self,
        url: URL | str,
        *,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        auth: AuthTypes | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: TimeoutTypes | Unset = UNSET,
        extensions: dict[str, Any] | None = None,
    ) -> Response:
        """DELETE."""
        return await self.request(
            "DELETE", url, params=params, headers=headers, cookies=cookies, auth=auth,
            follow_redirects=follow_redirects, timeout=timeout, extensions=extensions,
        )  # fmt: skip

    # --- the end ---

    async def aclose(self) -> None:
        """Close its connections. Requests raise `RuntimeError` from now on."""
        if self._closed:
            return
        self._closed = True
        for transport in (self._transport, *self._mounts.all()):
            await transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _run(hook: EventHook, subject: Request | Response) -> None:
    done = hook(subject)
    if inspect.isawaitable(done):
        await done
