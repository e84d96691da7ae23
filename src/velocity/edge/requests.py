"""Requests: `EdgeRequest`, and what the server knows of the connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from pydantic_core import from_json

from velocity.edge.headers import Headers, Values
from velocity.edge.problems import HTTPProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import SimpleNamespace

    from velocity.edge.app import EdgeApp
    from velocity.edge.exchange import Exchange
    from velocity.edge.forms import Form
    from velocity.edge.types import Scope

__all__ = ["Address", "Connection", "EdgeRequest", "Tls", "is_json", "query_of", "route_path"]

MAX_PARAMETERS = 1000
"""Of a query; more are refused."""


class Address(NamedTuple):
    """Where a client comes from."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tls:
    """What was negotiated, as far as the server tells (the ASGI extension `velocity`); empty where it does not.

    Attributes:
        alpn: `velocity/1`, `h3`, `h2`, `http/1.1`.
        group: of the key exchange, `X25519MLKEM768`.
        profile: `light`, `balanced`, `secure`; empty outside of `velocity/1`.
        identity: who the client is, by its certificate.
        early_data: whether the request came in 0-RTT, and so may be a replay (RFC 8470).
        fallback: why it is not `velocity/1`, for clients that offered that: `no_hybrid_cert` and so on.
    """

    alpn: str = ""
    group: str = ""
    profile: str = ""
    identity: str = ""
    early_data: bool = False
    fallback: str = ""


class Connection:
    """What requests and WebSockets have in common.

    Attributes:
        scope: as ASGI has it.
        app: who answers.
        path: of the URL, decoded, below where the application is mounted.
        params: parameters of the path, as they are.
        headers: of the request.
    """

    def __init__(self, scope: Scope, app: EdgeApp, params: Mapping[str, str] | None = None) -> None:
        self.scope = scope
        self.app = app
        self.path = route_path(scope)
        self.params: Mapping[str, str] = params or {}
        self.headers = Headers(scope["headers"])
        self._query: Values[str] | None = None
        self._cookies: dict[str, str] | None = None

    @property
    def query(self) -> Values[str]:
        """Parameters of the query.

        Raises:
            HTTPProblem: 400, there are too many.
        """
        if self._query is None:
            self._query = query_of(self.scope)
        return self._query

    @property
    def cookies(self) -> Mapping[str, str]:
        """Cookies by name; the first of a name, which is the most specific (RFC 6265 section 5.4)."""
        if self._cookies is None:
            cookies: dict[str, str] = {}
            for pair in self.headers.get("cookie", "").split(";"):
                name, equals, value = pair.strip().partition("=")
                if equals:
                    cookies.setdefault(name, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value)
            self._cookies = cookies
        return self._cookies

    @property
    def client(self) -> Address | None:
        """Who asks; None where the server does not know, on a Unix socket."""
        client = self.scope.get("client")
        return Address(client[0], client[1]) if client else None

    @property
    def scheme(self) -> str:
        """`https`, `http`, `wss` or `ws`."""
        return str(self.scope.get("scheme", "http"))

    @property
    def host(self) -> str:
        """The host asked for, with a port if it was said."""
        return self.headers.get("host", "")

    @property
    def tls(self) -> Tls:
        """What was negotiated."""
        facts = (self.scope.get("extensions") or {}).get("velocity") or {}
        known = {name: facts[name] for name in Tls.__slots__ if facts.get(name) is not None}
        return Tls(**known)

    @property
    def state(self) -> SimpleNamespace:
        """Anything that belongs to this request: middleware writes it, handlers read it."""
        from types import SimpleNamespace

        own: SimpleNamespace = self.scope.setdefault("velocity.state", SimpleNamespace())
        return own


class EdgeRequest(Connection):
    """A request.

    Attributes:
        method: GET, POST and so on.
        max_body: bytes of a body that are read; None is no limit.
    """

    def __init__(
        self, exchange: Exchange, app: EdgeApp, params: Mapping[str, str] | None = None, max_body: int | None = None
    ) -> None:
        super().__init__(exchange.scope, app, params)
        self.method: str = exchange.scope["method"]
        self.max_body = max_body
        self._channel = exchange.channel
        self._read = 0
        self._body: bytes | None = None
        self._form: Form | None = None

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case and without parameters; empty if nobody says."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it comes; once only, unless `body` has read it before.

        Raises:
            HTTPProblem: 413, there is more than `max_body`.
            ClientDisconnectedError: the client went away before the end.
        """
        if self._body is not None:
            if self._body:
                yield self._body
            return
        length = self.headers.get("content-length", "")
        if self.max_body is not None and length.isdecimal() and int(length[:19]) > self.max_body:
            raise self._too_large()
        while (piece := await self._channel.piece()) is not None:
            self._read += len(piece)
            if self.max_body is not None and self._read > self.max_body:
                raise self._too_large()
            yield piece

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            HTTPProblem: 413, there is more than `max_body`.
        """
        if self._body is None:
            self._body = b"".join([piece async for piece in self.stream()])
        return self._body

    async def text(self) -> str:
        """The whole body as UTF-8.

        Raises:
            HTTPProblem: 400, it is none; 413.
        """
        try:
            return (await self.body()).decode()
        except UnicodeDecodeError:
            raise HTTPProblem(400, "the body is not UTF-8") from None

    async def json(self) -> Any:
        """The whole body as JSON, whatever its media type says.

        Raises:
            HTTPProblem: 400, it is none; 413.
        """
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPProblem(400, f"the body is not JSON: {error}") from None

    async def form(self) -> Form:
        """The body as a form, with files if it is `multipart/form-data`; they are closed after the answer.

        Raises:
            HTTPProblem: 415, it is no form; 400, it is broken; 413.
        """
        if self._form is None:
            from velocity.edge.forms import read_form

            self._form = await read_form(self.headers.get("content-type", ""), self.stream())
        return self._form

    async def disconnected(self) -> None:
        """Return once the client is gone: for what is worth nothing without it."""
        await self._channel.disconnected()

    def close(self) -> None:
        """Let go of the files of a form."""
        if self._form is not None:
            self._form.close()

    def _too_large(self) -> HTTPProblem:
        return HTTPProblem(413, f"more than {self.max_body} bytes are not taken here")

    def __repr__(self) -> str:
        return f"<EdgeRequest {self.method} {self.path}>"


def route_path(scope: Scope) -> str:
    """The path below `root_path`, which ASGI has as a part of `path`."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path or "/"


def query_of(scope: Scope) -> Values[str]:
    """The parameters of the query of a request.

    Raises:
        HTTPProblem: 400, there are too many.
    """
    try:
        text = scope.get("query_string", b"").decode("latin-1")
        return Values(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        raise HTTPProblem(400, f"the query has more than {MAX_PARAMETERS} parameters") from None


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON (RFC 6839 section 3.1)."""
    return content_type == "application/json" or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )
