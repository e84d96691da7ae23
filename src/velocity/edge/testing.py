"""Applications tested in the process of the test: no sockets, no server, and functions that are not asynchronous.

    with TestClient(app) as client:
        assert client.get("/hello/Ada").json() == {"message": "Hello, Ada"}

Any ASGI application will do. What the application raises, the test sees, unless it is told not to.
"""

from __future__ import annotations

import json as jsons
import queue
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from velocity.edge.headers import Headers
from velocity.edge.responses import encoded
from velocity.edge.websocket import WebSocketDisconnect

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from velocity.edge.types import ASGIApp, Message

__all__ = ["HandshakeRefused", "Reply", "StreamedReply", "TestClient", "WebSocketSession"]

File: TypeAlias = bytes | tuple[str, bytes] | tuple[str, bytes, str]
Pairs: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]

_MAX_REDIRECTS = 20
_END: Final = object()


class Reply:
    """An answer.

    Attributes:
        status: its status.
        headers: its fields.
        content: its content; of a streamed one, what has been read.
        cookies: those it sets, by name.
        url: what was asked for in the end.
    """

    def __init__(self, url: str, status: int, headers: Headers, content: bytes = b"") -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.content = content
        self.cookies = {name: value for name, (value, _) in _cookies_of(headers).items()}

    @property
    def text(self) -> str:
        """The content as UTF-8."""
        return self.content.decode()

    def json(self) -> Any:
        """The content as JSON."""
        return jsons.loads(self.content)

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.url}>"


class StreamedReply(Reply):
    """An answer whose content comes while it is read."""

    def __init__(self, url: str, status: int, headers: Headers, pieces: Iterator[bytes]) -> None:
        super().__init__(url, status, headers)
        self._pieces = pieces

    def pieces(self) -> Iterator[bytes]:
        """The content as the application sends it."""
        for piece in self._pieces:
            self.content += piece
            yield piece

    def lines(self) -> Iterator[str]:
        """The content line by line, without line ends."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in whole)
        if rest:
            yield rest.decode()

    def events(self) -> Iterator[dict[str, str]]:
        """Server-sent events, each with `event`, `data` and `id` as far as it has them."""
        event: dict[str, str] = {}
        for line in self.lines():
            name, _, value = line.partition(":")
            if not line:
                if event:
                    yield event
                event = {}
            elif name:
                value = value.removeprefix(" ")
                event[name] = f"{event[name]}\n{value}" if name == "data" and "data" in event else value


class HandshakeRefused(Exception):  # noqa: N818 - it is an answer
    """A WebSocket was not accepted.

    Attributes:
        reply: why.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the handshake was refused with {reply.status}")
        self.reply = reply


class TestClient:
    """Asks an application.

    Args:
        app: any ASGI application.
        base_url: whom it believes to be.
        headers: of every request.
        client: where requests seem to come from.
        extensions: of ASGI, as a server would offer them.
        raise_exceptions: whether what the application raises is raised here; else it is 500.
        follow_redirects: whether redirects are followed.

    Attributes:
        cookies: by name; answers change them.
    """

    __test__ = False

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: str = "https://testserver",
        headers: Mapping[str, str] | None = None,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        extensions: Mapping[str, Any] | None = None,
        raise_exceptions: bool = True,
        follow_redirects: bool = False,
    ) -> None:
        self._app = app
        self._base_url = base_url
        self._headers = dict(headers or {})
        self._client = client
        self._extensions = dict(extensions or {})
        self._raise = raise_exceptions
        self._follow = follow_redirects
        self._portal: BlockingPortal | None = None
        self._stack = ExitStack()
        self.cookies: dict[str, str] = {}

    # --- the life of the application ---

    def __enter__(self) -> TestClient:
        """Start the application."""
        with ExitStack() as stack:
            portal = self._portal = stack.enter_context(start_blocking_portal())
            stack.callback(setattr, self, "_portal", None)
            stack.enter_context(_lifespan(self._app, portal))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the application."""
        self._stack.__exit__(kind, error, traceback)

    @contextmanager
    def _running(self) -> Iterator[BlockingPortal]:
        if self._portal is not None:
            yield self._portal
        else:
            with start_blocking_portal() as portal:
                yield portal

    # --- requests ---

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Pairs | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | str | Sequence[bytes] | None = None,
        json: Any = _END,
        data: Pairs | None = None,
        files: Mapping[str, File] | None = None,
        follow_redirects: bool | None = None,
    ) -> Reply:
        """Ask, and wait until the application is done, background tasks included.

        Args:
            method: GET and so on.
            url: a path, or a whole one.
            params: added to the query; a list is several of the name.
            headers: further fields.
            content: a body; several pieces are sent one by one.
            json: a body as JSON.
            data: fields of a form.
            files: of a form: content, or name and content, or these and the type.
            follow_redirects: None is as for the client.
        """
        given, fields = _body(content, json, data, files)
        follow = self._follow if follow_redirects is None else follow_redirects
        address = _address(self._base_url, url, params)
        for _ in range(_MAX_REDIRECTS):
            wanted = {**fields, **{name.lower(): value for name, value in (headers or {}).items()}}
            with self._exchange(method, address, wanted, given, wait=True) as reply:
                content_read = b"".join(reply.pieces())
            final = Reply(address, reply.status, reply.headers, content_read)
            if not follow or final.status not in (301, 302, 303, 307, 308) or "location" not in final.headers:
                return final
            address = urljoin(address, final.headers["location"])
            if final.status == 303 or (final.status in (301, 302) and method == "POST"):
                method, given, fields = "GET" if method != "HEAD" else method, [], {}
        raise RuntimeError(f"more than {_MAX_REDIRECTS} redirects, the last one to {address}")

    def get(self, url: str, **options: Any) -> Reply:
        """GET; see `request`, as for the others."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Any) -> Reply:
        """HEAD."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> Reply:
        """OPTIONS."""
        return self.request("OPTIONS", url, **options)

    def post(self, url: str, **options: Any) -> Reply:
        """POST."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Reply:
        """PUT."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Reply:
        """PATCH."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Reply:
        """DELETE."""
        return self.request("DELETE", url, **options)

    def stream(
        self, method: str, url: str, *, params: Pairs | None = None, headers: Mapping[str, str] | None = None
    ) -> AbstractContextManager[StreamedReply]:
        """Ask, and read while the application goes on; leaving the context is going away."""
        wanted = {name.lower(): value for name, value in (headers or {}).items()}
        return self._exchange(method, _address(self._base_url, url, params), wanted, [], wait=False)

    def websocket(
        self, url: str, *, subprotocols: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> AbstractContextManager[WebSocketSession]:
        """Open a WebSocket, until the context is left.

        Raises:
            HandshakeRefused: it is not accepted.
        """
        return self._session(url, subprotocols, headers or {})

    # --- scopes ---

    def _scope(self, kind: str, address: str, headers: Mapping[str, str]) -> dict[str, Any]:
        parts = urlsplit(address)
        fields = {"host": parts.netloc, "accept": "*/*", "user-agent": "velocity.edge.testing"}
        fields |= {name.lower(): value for name, value in self._headers.items()}
        if self.cookies:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        fields |= {name.lower(): value for name, value in headers.items()}
        secure = parts.scheme == "https"
        raw = quote(parts.path or "/", safe="/%!$&'()*+,;=:@~")
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": ("https" if secure else "http") if kind == "http" else ("wss" if secure else "ws"),
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
            "client": self._client,
            "server": (parts.hostname or "", parts.port or (443 if secure else 80)),
            "extensions": dict(self._extensions),
            "state": {},
        }

    @contextmanager
    def _exchange(
        self, method: str, address: str, headers: Mapping[str, str], body: list[bytes], *, wait: bool
    ) -> Iterator[StreamedReply]:
        scope = {**self._scope("http", address, headers), "method": method.upper()}
        incoming: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in body[:-1]]
        incoming.append({"type": "http.request", "body": body[-1] if body else b"", "more_body": False})
        with self._running() as portal:
            line = _Line(self._app, scope, incoming, {"type": "http.disconnect"}, portal)
            with line.open(swallow=not self._raise, wait=wait):
                start = line.next()
                if start is None:
                    yield StreamedReply(address, 500, Headers(), iter(()))
                    return
                fields = Headers(start["headers"])
                self._remember(fields)
                yield StreamedReply(address, start["status"], fields, _pieces(line))

    @contextmanager
    def _session(self, url: str, subprotocols: Sequence[str], headers: Mapping[str, str]) -> Iterator[WebSocketSession]:
        address = _address(self._base_url, url, None)
        scope = {**self._scope("websocket", address, headers), "subprotocols": list(subprotocols)}
        scope["extensions"].setdefault("websocket.http.response", {})
        gone = {"type": "websocket.disconnect", "code": 1001, "reason": ""}
        with self._running() as portal:
            line = _Line(self._app, scope, [{"type": "websocket.connect"}], gone, portal)
            with line.open(swallow=not self._raise, wait=False):
                first = line.next()
                if first is None or first["type"] == "websocket.close":
                    raise HandshakeRefused(Reply(address, 403 if first else 500, Headers()))
                if first["type"] == "websocket.http.response.start":
                    content = b"".join(_pieces(line))
                    raise HandshakeRefused(Reply(address, first["status"], Headers(first["headers"]), content))
                self._remember(Headers(first.get("headers", ())))
                yield WebSocketSession(line, first.get("subprotocol"))

    def _remember(self, headers: Headers) -> None:
        for name, (value, gone) in _cookies_of(headers).items():
            if gone:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


class WebSocketSession:
    """An open WebSocket.

    Attributes:
        subprotocol: what was agreed on.
    """

    def __init__(self, line: _Line, subprotocol: str | None) -> None:
        self._line = line
        self.subprotocol = subprotocol

    def send(self, message: str | bytes) -> None:
        """Send text or bytes."""
        kind = "text" if isinstance(message, str) else "bytes"
        self._line.give({"type": "websocket.receive", kind: message})

    def send_json(self, value: Any) -> None:
        """Send JSON as text."""
        self.send(encoded(value).decode())

    def receive(self, timeout: float = 10.0) -> str | bytes:
        """The next message.

        Args:
            timeout: seconds.

        Raises:
            WebSocketDisconnect: the application has closed it.
            TimeoutError: nothing came.
        """
        message = self._line.next(timeout)
        if message is None:
            raise WebSocketDisconnect(1006)
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message.get("code", 1000), message.get("reason") or "")
        text = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    def receive_json(self, timeout: float = 10.0) -> Any:
        """The next message as JSON."""
        return jsons.loads(self.receive(timeout))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Go away."""
        self._line.give({"type": "websocket.disconnect", "code": code, "reason": reason})


class _Line:
    """Messages to and from an application that runs in another thread."""

    def __init__(
        self, app: ASGIApp, scope: dict[str, Any], incoming: list[Message], gone: Message, portal: BlockingPortal
    ) -> None:
        self._app = app
        self._scope = scope
        self._gone = gone
        self._portal = portal
        self._out: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._pending = list(incoming)
        self._arrived: anyio.Event | None = None
        self._left = False
        self._ended = False

    @contextmanager
    def open(self, *, swallow: bool, wait: bool) -> Iterator[None]:
        """Run the application.

        Args:
            swallow: whether what it raises is kept to itself.
            wait: whether it is waited for in the end, or told that the client is gone.
        """
        future: Future[None] = self._portal.start_task_soon(self._run)
        try:
            yield
        finally:
            if not wait:
                self._portal.call(self._leave)
            if swallow:
                with suppress(Exception):
                    future.result()
            else:
                future.result()

    def next(self, timeout: float | None = None) -> Message | None:
        """What the application says next; None when it has ended."""
        if self._ended:
            return None
        try:
            message = self._out.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"the application said nothing for {timeout:g} s") from None
        self._ended = message is None
        return message

    def give(self, message: Message) -> None:
        """Tell the application something."""
        self._portal.call(self._take, message)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        finally:
            self._out.put(None)

    async def _receive(self) -> Message:
        while not self._pending:
            if self._left:
                return self._gone
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._pending.pop(0)

    async def _send(self, message: Message) -> None:
        if self._left:
            raise OSError("the client is gone")
        self._out.put(message)

    async def _take(self, message: Message) -> None:
        self._pending.append(message)
        if self._arrived is not None:
            self._arrived.set()

    async def _leave(self) -> None:
        self._left = True
        if self._arrived is not None:
            self._arrived.set()


@contextmanager
def _lifespan(app: ASGIApp, portal: BlockingPortal) -> Iterator[None]:
    """An application between its start and its stop; one that knows of neither is fine."""
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    line = _Line(app, scope, [{"type": "lifespan.startup"}], {"type": "lifespan.shutdown"}, portal)
    future = portal.start_task_soon(line._run)
    first = line.next()
    if first is None:  # it raised before it said a word
        with suppress(Exception):
            future.result()
        yield
        return
    if first["type"] == "lifespan.startup.failed":
        future.result()
        raise RuntimeError(first.get("message") or "the application did not start")
    try:
        yield
    finally:
        line.give({"type": "lifespan.shutdown"})
        last = line.next()
        future.result()
        if last is not None and last["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(last.get("message") or "the application did not stop")


def _pieces(line: _Line) -> Iterator[bytes]:
    while (message := line.next()) is not None:
        if message["type"] == "http.response.pathsend":
            from pathlib import Path

            yield Path(message["path"]).read_bytes()
            return
        yield bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _address(base: str, url: str, params: Pairs | None) -> str:
    address = urljoin(f"{base}/", url) if not url.startswith("/") else base + url
    if params:
        query = urlencode(list(params.items()) if isinstance(params, Mapping) else list(params), doseq=True)
        address += ("&" if "?" in address else "?") + query
    return address


def _body(
    content: bytes | str | Sequence[bytes] | None, json: Any, data: Pairs | None, files: Mapping[str, File] | None
) -> tuple[list[bytes], dict[str, str]]:
    """The pieces of a body, and the fields that say what it is."""
    if json is not _END:
        body = encoded(json)
        return [body], {"content-type": "application/json", "content-length": str(len(body))}
    pairs = [] if data is None else list(data.items()) if isinstance(data, Mapping) else list(data)
    if files is not None:
        body, kind = _multipart(pairs, files)
        return [body], {"content-type": kind, "content-length": str(len(body))}
    if data is not None:
        body = urlencode(pairs, doseq=True).encode()
        return [body], {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
    if content is None:
        return [], {}
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes):
        return [content], {"content-length": str(len(content))}
    return list(content), {}


def _multipart(pairs: Sequence[tuple[str, Any]], files: Mapping[str, File]) -> tuple[bytes, str]:
    """A form with files (RFC 7578), and its type."""
    boundary = secrets.token_hex(16)
    parts = [(f'name="{name}"', "", str(value).encode()) for name, value in pairs]
    for name, file in files.items():
        named = (name, file) if isinstance(file, bytes) else file
        filename, content = named[0], named[1]
        kind = named[2] if len(named) == 3 else "application/octet-stream"
        parts.append((f'name="{name}"; filename="{filename}"', f"Content-Type: {kind}\r\n", content))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n{kind}\r\n".encode() + content + b"\r\n"
        for head, kind, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _cookies_of(headers: Headers) -> dict[str, tuple[str, bool]]:
    """The cookies that an answer sets, and whether that is to forget them."""
    cookies: dict[str, tuple[str, bool]] = {}
    for line in headers.getlist("set-cookie"):
        parsed: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            parsed.load(line)
        for name, morsel in parsed.items():
            cookies[name] = (morsel.value, morsel["max-age"] == "0")
    return cookies
