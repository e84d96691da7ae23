"""One request from beginning to response head: connecting, falling back, following redirects, resuming.

Redirects are those of RFC 9110 section 15.4. Fields that speak for the user to one origin are not
carried to another.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from velocity import _core
from velocity.client import memory
from velocity.client.connect import ORDER, Profile, Protocol, Trust, open_connection
from velocity.client.download import Resumption, resumption
from velocity.client.url import parse_url
from velocity.errors import RequestError

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from velocity._core import Connection, Response
    from velocity.errors import VelocityError

__all__ = ["Fetched", "Order", "Watcher", "fetch"]

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_FOR_ONE_ORIGIN = ("authorization", "cookie", "proxy-authorization", "host")
_CONNECT_TIMEOUT = 10.0
"""Seconds for connecting, unless the patience for the whole is less."""


class Order(NamedTuple):
    """What to fetch, and how."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""
    body: bytes | None = None
    protocols: tuple[Protocol, ...] = ORDER
    profile: Profile | None = None
    trust: Trust = Trust()
    timeout: float = 30.0
    """Seconds without progress."""
    follow: bool = False
    """Go where redirects point."""
    output: Path | None = None
    """The file that the body will be saved to, for the resumption of an earlier attempt."""


class Watcher(typing.Protocol):
    """Whoever wants to know what happens on the way."""

    def fell_back(
        self, failures: dict[Protocol, VelocityError], protocol: Protocol, reason: str | None, spoke: dt.date | None
    ) -> None:
        """It came to `protocol` instead of what was preferred.

        Args:
            failures: what did not come about, and why.
            protocol: what is spoken.
            reason: the server's own, from its directive.
            spoke: when the host last spoke `velocity/1`.
        """

    def connected(self, connection: Connection) -> None:
        """A handshake is done."""

    def answered(self, response: Response) -> None:
        """A response head is here."""


class Fetched(NamedTuple):
    """A response whose body waits to be read."""

    url: str
    """Where it came from in the end."""
    connection: Connection
    response: Response
    resumed: Resumption | None
    """What was asked to be continued; the status says whether it is."""


def fetch(order: Order, watcher: Watcher) -> Fetched:
    """Send a request and wait for the head of the final response.

    Raises:
        ConfigError: the URL or an option cannot be used.
        ConnectError: no connection.
        RequestError: no response, or too many redirects (`TOO_MANY_REDIRECTS`).
    """
    for _ in range(MAX_REDIRECTS + 1):
        fetched = _attempt(order, watcher)
        location = next((value for name, value in fetched.response.headers if name == "location"), None)
        if not (order.follow and location and fetched.response.status in _REDIRECTS):
            return fetched
        fetched.connection.close()
        order = _redirected(order, location, fetched.response.status)
    raise RequestError(
        "TOO_MANY_REDIRECTS", f"more than {MAX_REDIRECTS} redirects", "the server may be sending us in circles"
    )


def _attempt(order: Order, watcher: Watcher) -> Fetched:
    target = parse_url(order.url)
    connection, failures = open_connection(
        target.host,
        target.port,
        order.protocols,
        profile=order.profile,
        trust=order.trust,
        timeout=min(order.timeout, _CONNECT_TIMEOUT),
    )
    watcher.connected(connection)
    spoken: Protocol = connection.facts["alpn"] or "http/1.1"
    if spoken == "velocity/1":
        memory.remember(target.host, target.port)
    headers = list(order.headers)
    resumed = None
    # A range of the user's own is a request for a part, and no resumption.
    if order.output and order.method == "GET" and not any(name in ("range", "if-range") for name, _ in headers):
        resumed = resumption(order.output, order.url)
    extra = resumed.headers if resumed else []
    response = None
    try:
        response = connection.request(order.method, target.path, headers + extra, order.body, order.timeout)
    finally:
        # The server may have said why: only now is it known.
        if failures:
            spoke = memory.last_spoke(target.host, target.port)
            watcher.fell_back(failures, spoken, _reason(connection, response, failures), spoke)
    if resumed and response.status == 416 and not resumed.complete(response):
        # What is there is no beginning of this file any more.
        connection.close()
        resumed.discard()
        return _attempt(order, watcher)
    watcher.answered(response)
    return Fetched(order.url, connection, response, resumed)


def _reason(connection: Connection, response: Response | None, failures: dict[Protocol, VelocityError]) -> str | None:
    """Why there is no `velocity/1`, if the server said so: in a field, on its control stream, or as it refused."""
    said = [value for name, value in (response.headers if response else ()) if name == "velocity-fallback"]
    said += [error.details["fallback"] for error in failures.values() if "fallback" in error.details]
    directives = [connection.fallback, *map(_core.parse_fallback, said)]
    return next((directive["reason"] for directive in directives if directive), None)


def _redirected(order: Order, location: str, status: int) -> Order:
    """The order that a redirect turns this one into."""
    base = order.url if "://" in order.url else f"https://{order.url}"
    url = urljoin(base, location)
    headers = order.headers
    if parse_url(base)[:2] != parse_url(url)[:2]:
        headers = tuple(pair for pair in headers if pair[0] not in _FOR_ONE_ORIGIN)
    if (status == 303 and order.method != "HEAD") or (status in (301, 302) and order.method == "POST"):
        headers = tuple(pair for pair in headers if not pair[0].startswith("content-"))
        return order._replace(url=url, headers=headers, method="GET", body=None)
    return order._replace(url=url, headers=headers)
