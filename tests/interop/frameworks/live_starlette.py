"""A plugin for pytest: the `TestClient` of Starlette and FastAPI goes through a live server.

`SUITE_PROTOCOL` says by which protocol, and `SUITE_OUTCOMES` names the file that gets what came of each test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from starlette import testclient
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from interop.frameworks.live import MARK, Live
from velocity import _core
from velocity.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PROTOCOL: Any = os.environ["SUITE_PROTOCOL"]
LIVE = Live()
_OF_THE_CONNECTION = {"host", "connection", "keep-alive", "transfer-encoding", "content-length"}
_OF_WEBSOCKET = {"host", "connection", "upgrade", "accept", "accept-encoding"}
_NOT_OPEN = b"this WebSocket is not open to you\n"
"""The answer to a WebSocket that was closed before it was accepted."""


# --- HTTP ---


class _Core(httpx2.BaseTransport):
    """Our own client as one of httpx2: for the protocols that it does not speak."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        asked = request.headers["host"]
        host, _, port = asked.rpartition(":") if not asked.endswith("]") else (asked, "", "")
        if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
            host, port = asked, "443"
        here = ("localhost", LIVE.port)
        connection = _core.Connection(host, int(port), connect_to=here, protocols=[PROTOCOL], insecure=True)
        fields = [(name.decode().lower(), value.decode("latin-1")) for name, value in request.headers.raw]
        fields = [(name, value) for name, value in fields if name not in _OF_THE_CONNECTION]
        path = request.url.raw_path.decode()
        try:
            response = connection.request(request.method, path, fields, request.read() or None, 30.0)
        except RequestError as error:
            raise httpx2.RemoteProtocolError(str(error)) from error
        raw = [(name.encode(), value.encode("latin-1")) for name, value in response.headers]
        return httpx2.Response(response.status, headers=raw, stream=_CoreBody(connection, response))


class _CoreBody(httpx2.SyncByteStream):
    def __init__(self, connection: _core.Connection, response: _core.Response) -> None:
        self._connection, self._response = connection, response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from iter(self._response.read, None)
        except RequestError as error:
            raise httpx2.RemoteProtocolError(str(error)) from error

    def close(self) -> None:
        self._connection.close()


if PROTOCOL in ("http/1.1", "h2"):
    WIRE: httpx2.BaseTransport = httpx2.HTTPTransport(
        verify=LIVE.trust(), http1=PROTOCOL == "http/1.1", http2=PROTOCOL == "h2", trust_env=False
    )
else:
    WIRE = _Core()


class LiveTransport(httpx2.BaseTransport):
    """In place of the one that calls the application."""

    def __init__(
        self,
        app: Any,
        portal_factory: Any,
        raise_server_exceptions: bool = True,
        root_path: str = "",
        *,
        client: tuple[str, int],
        app_state: dict[str, Any],
    ) -> None:
        self.app = app
        self._raises = raise_server_exceptions
        self._claims = {"root_path": root_path, "client": client}
        self._state = app_state
        self._open: set[_Body] = set()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        port = url.port or {"http": 80, "ws": 80, "https": 443, "wss": 443}[url.scheme]
        claims = {**self._claims, "scheme": url.scheme, "server": [url.host, port], "state": self._state.copy()}
        mark, visit = LIVE.expect(self.app, **claims)
        if url.scheme in ("ws", "wss"):
            raise testclient._Upgrade(LiveSession(request, mark, visit))
        body = request.read()
        wired = httpx2.Request(
            request.method,
            url.copy_with(scheme="https", host="localhost", port=LIVE.port),
            headers=[*request.headers.raw, (MARK.encode(), mark.encode())],
            stream=httpx2.ByteStream(body),
        )
        try:
            answer = WIRE.handle_request(wired)
        except httpx2.TransportError:
            LIVE.finish(mark, visit, is_complete=True)
            if self._raises and visit.error is not None:
                raise visit.error from None
            raise
        held = _Body(self, answer, mark, visit, self._raises)
        self._open.add(held)
        return httpx2.Response(answer.status_code, headers=answer.headers.raw, stream=held, request=request)

    def close(self) -> None:
        for body in list(self._open):
            body.close()


class _Body(httpx2.SyncByteStream):
    """The body of an answer; at its end it is known how the application ended."""

    def __init__(self, transport: LiveTransport, answer: httpx2.Response, mark: str, visit: Any, raises: bool) -> None:
        self._transport, self._answer, self._mark, self._visit, self._raises = transport, answer, mark, visit, raises
        self._is_complete = self._is_over = False

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._answer.stream, httpx2.SyncByteStream)
        try:
            yield from self._answer.stream
        except httpx2.TransportError:
            self._visit.ended.wait(5)
            if self._visit.error is None:
                raise
        self._is_complete = True
        self.close()

    def close(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._transport._open.discard(self)
        self._answer.close()
        LIVE.finish(self._mark, self._visit, is_complete=self._is_complete)
        if self._is_complete and self._raises and self._visit.error is not None:
            raise self._visit.error


# --- WebSocket ---


class LiveSession(testclient.WebSocketTestSession):
    """In place of the one that calls the application."""

    def __init__(self, request: httpx2.Request, mark: str, visit: Any) -> None:
        self._request, self._mark, self._visit = request, mark, visit
        self.accepted_subprotocol = None
        self.extra_headers: Any = None
        self._socket: ClientConnection | None = None

    def __enter__(self) -> LiveSession:
        try:
            self._socket = LIVE.wait(self._connect())
        except InvalidStatus as refused:
            LIVE.finish(self._mark, self._visit, is_complete=True)
            if self._visit.error is not None:
                raise self._visit.error from None
            answer = refused.response
            if answer.status_code == 403 and answer.body == _NOT_OPEN:
                raise WebSocketDisconnect(1000, "") from None  # with which code it was closed, nobody tells
            raw = [(name.encode(), value.encode()) for name, value in answer.headers.raw_items()]
            raise testclient.WebSocketDenialResponse(
                status_code=answer.status_code, headers=raw, content=bytes(answer.body or b"")
            ) from None
        self.accepted_subprotocol = self._socket.subprotocol  # type: ignore[assignment]
        assert self._socket.response is not None
        own = {"upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol", "date", "alt-svc", "server"}
        fields = self._socket.response.headers.raw_items()
        self.extra_headers = [(k.encode(), v.encode()) for k, v in fields if k.lower() not in own]
        return self

    async def _connect(self) -> ClientConnection:
        url, fields = self._request.url, self._request.headers
        more = [
            (name, value)
            for name, value in fields.multi_items()
            if name not in _OF_WEBSOCKET and not name.startswith("sec-websocket")
        ]
        offered = [word.strip() for word in fields.get("sec-websocket-protocol", "").split(",") if word.strip()]
        return await connect(
            f"wss://{url.netloc.decode()}{url.raw_path.decode()}",
            host="127.0.0.1",
            port=LIVE.port,
            ssl=LIVE.trust(),
            server_hostname="localhost",
            additional_headers=[*more, (MARK, self._mark)],
            subprotocols=offered or None,  # type: ignore[arg-type]
            compression=None,
            user_agent_header=None,
            max_size=None,
            proxy=None,
        )

    def __exit__(self, *_: object) -> None:
        assert self._socket is not None
        self._visit.ended.wait(0.1)  # what was said last is heard before the end is
        LIVE.wait(self._socket.close(1000))
        LIVE.finish(self._mark, self._visit, is_complete=False)
        if self._visit.error is not None and not isinstance(self._visit.error, asyncio.CancelledError):
            raise self._visit.error

    def send(self, message: Any) -> None:
        assert self._socket is not None
        with contextlib.suppress(ConnectionClosed):
            if message["type"] == "websocket.disconnect":
                LIVE.wait(self._socket.close(message.get("code", 1000), message.get("reason") or ""))
            else:
                text = message.get("text")
                LIVE.wait(self._socket.send(text if text is not None else message["bytes"]))

    def receive(self) -> Any:
        assert self._socket is not None
        try:
            said = LIVE.wait(self._socket.recv())
        except ConnectionClosed as closed:
            self._visit.ended.wait(5)
            if self._visit.error is not None:
                raise self._visit.error from None
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            return {"type": "websocket.close", "code": code, "reason": reason}
        return {"type": "websocket.send", "text" if isinstance(said, str) else "bytes": said}


# --- what the test client has of its own: an event loop, which is that of the server here ---


@contextlib.contextmanager
def _portal(*_: object, **__: object) -> Iterator[Any]:
    yield LIVE.portal


class _Anyio:
    from_thread = SimpleNamespace(start_blocking_portal=_portal, BlockingPortal=anyio.from_thread.BlockingPortal)

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)


testclient.anyio = _Anyio()  # type: ignore[assignment, attr-defined]
testclient._TestClientTransport = LiveTransport  # type: ignore[misc, assignment]
testclient.WebSocketTestSession = LiveSession  # type: ignore[assignment, misc]


# --- what came of it ---

_outcomes: dict[str, str] = {}
_uncollected: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    """A mark of a plugin that is not here."""
    config.addinivalue_line("markers", "xdist_group(name): tests that one process runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server's loop is asyncio's."""
    items[:] = [item for item in items if "trio" not in item.nodeid]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Files that cannot be imported, and why."""
    if report.failed:
        _uncollected[report.nodeid] = str(report.longrepr).strip().splitlines()[-1]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of setup, call and teardown."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome if _outcomes.get(report.nodeid) != "failed" else "failed"


def pytest_sessionfinish() -> None:
    """Leave it to whoever started us."""
    told = {"outcomes": _outcomes, "uncollected": _uncollected, "visits": LIVE.visits}
    Path(os.environ["SUITE_OUTCOMES"]).write_text(json.dumps(told))
