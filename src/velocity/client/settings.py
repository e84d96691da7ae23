"""What a client may be told: how long to wait, how many connections, which proxy, what to try again."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

from velocity.client.exceptions import (
    ConnectError,
    NetworkError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    RequestError,
    TimeoutException,
)
from velocity.client.uri import URL
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from velocity.client.requests import Request
    from velocity.client.responses import Response

__all__ = ["UNSET", "Decompression", "Limits", "Proxy", "Retry", "Timeout", "TimeoutTypes", "Unset"]


@final
class Unset:
    """What stands where nothing was said, and None would say something."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


UNSET: Final = Unset()


def _seconds(value: float | None) -> float | None:
    if value is not None and value < 0:
        raise ValueError(f"a timeout of {value} seconds cannot be")
    return value


class Timeout:
    """Seconds to wait; None is for ever.

    Args:
        timeout: for all that is not said.
        connect: for name, connection and handshake together.
        read: without anything from the server.
        write: in which the server takes nothing.
        pool: for a connection to become free.
    """

    __slots__ = ("connect", "pool", "read", "write")

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None

    def __init__(
        self,
        timeout: TimeoutTypes | Unset = UNSET,
        *,
        connect: float | Unset | None = UNSET,
        read: float | Unset | None = UNSET,
        write: float | Unset | None = UNSET,
        pool: float | Unset | None = UNSET,
    ) -> None:
        base: tuple[float | None, float | None, float | None, float | None]
        if isinstance(timeout, Timeout):
            base = timeout.connect, timeout.read, timeout.write, timeout.pool
        elif isinstance(timeout, tuple):
            base = (*timeout, *(None,) * (4 - len(timeout)))[:4]  # type: ignore[assignment]
        elif isinstance(timeout, Unset):
            if any(isinstance(value, Unset) for value in (connect, read, write, pool)):
                raise ValueError("a Timeout needs a default, or each of connect, read, write and pool")
            base = None, None, None, None
        else:
            base = (timeout,) * 4
        self.connect = _seconds(base[0] if isinstance(connect, Unset) else connect)
        self.read = _seconds(base[1] if isinstance(read, Unset) else read)
        self.write = _seconds(base[2] if isinstance(write, Unset) else write)
        self.pool = _seconds(base[3] if isinstance(pool, Unset) else pool)

    def as_dict(self) -> dict[str, float | None]:
        """By name."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timeout) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self.connect, self.read, self.write, self.pool))

    def __repr__(self) -> str:
        values = self.as_dict()
        if len(set(values.values())) == 1:
            return f"Timeout(timeout={self.connect})"
        return f"Timeout({', '.join(f'{name}={value}' for name, value in values.items())})"


TimeoutTypes: TypeAlias = "float | Timeout | tuple[float | None, float | None, float | None, float | None] | None"
DEFAULT_TIMEOUT = Timeout(5.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections.

    Attributes:
        max_connections: open at once; None is no limit.
        max_keepalive_connections: of these, how many may idle; None is no limit.
        keepalive_expiry: seconds that one may idle; None is no limit.
    """

    max_connections: int | None = 100
    max_keepalive_connections: int | None = 20
    keepalive_expiry: float | None = 30.0


@dataclass(frozen=True, slots=True)
class Decompression:
    """How large content may become when it is decoded.

    Attributes:
        max_size: bytes of a body that is held whole, decoded or not; streams may be longer. None is no limit.
        max_ratio: decoded bytes for one that came; None is no limit.
        ratio_after: decoded bytes up to which the ratio does not matter.
    """

    max_size: int | None = 1 << 30
    max_ratio: float | None = 200.0
    ratio_after: int = 16 << 20


class Proxy:
    """A proxy for HTTP: `http://[user:password@]host:port`.

    Args:
        url: where it is.
        auth: user and password, instead of those in the URL.

    Raises:
        ConfigError: another kind of proxy (`PROXY_INVALID`).
    """

    __slots__ = ("url",)

    def __init__(self, url: URL | str, *, auth: tuple[str, str] | None = None) -> None:
        found = URL(url)
        if found.scheme != "http" or not found.raw_host:
            raise ConfigError("PROXY_INVALID", f"cannot use the proxy {found!r}", "write http://HOST:PORT")
        self.url = found if auth is None else found.copy_with(username=auth[0], password=auth[1])

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"


_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Retry:
    """What is tried again: only what does no harm when it is done twice (RFC 9110 section 9.2.2).

    A request whose content cannot be sent again, because it was a generator, is not. One that failed before it left,
    for want of a connection, is tried again whatever its method.

    Attributes:
        total: further attempts.
        methods: those that may be repeated.
        statuses: answers that are no answers.
        backoff: seconds before the second further attempt, doubled with each; drawn from the upper half of that.
        max_backoff: seconds.
        respect_retry_after: wait as long as the server says (RFC 9110 section 10.2.3).
        max_retry_after: seconds; a server that wants more is not asked again.
    """

    total: int = 2
    methods: Collection[str] = field(default=_IDEMPOTENT)
    statuses: Collection[int] = field(default=frozenset({429, 502, 503, 504}))
    backoff: float = 0.25
    max_backoff: float = 30.0
    respect_retry_after: bool = True
    max_retry_after: float = 60.0

    def after_error(self, attempt: int, request: Request, error: RequestError) -> float | None:
        """Seconds to wait before the next attempt; None if there is none.

        Args:
            attempt: how many there were.
            request: what failed.
            error: how.
        """
        if attempt > self.total or not request.is_repeatable:
            return None
        unsent = isinstance(error, ConnectError | PoolTimeout)
        lost = isinstance(error, NetworkError | ReadTimeout | RemoteProtocolError | TimeoutException)
        if unsent and error.code not in _FINAL:
            return self._delay(attempt)
        return self._delay(attempt) if lost and not unsent and request.method in self.methods else None

    def after_response(self, attempt: int, request: Request, response: Response) -> float | None:
        """As `after_error`, for an answer."""
        if attempt > self.total or response.status_code not in self.statuses:
            return None
        if request.method not in self.methods or not request.is_repeatable:
            return None
        asked = retry_after(response.headers.get("retry-after")) if self.respect_retry_after else None
        if asked is None:
            return self._delay(attempt)
        return asked if asked <= self.max_retry_after else None

    def _delay(self, attempt: int) -> float:
        if attempt == 1:
            return 0.0
        longest = min(self.max_backoff, self.backoff * 2.0 ** (attempt - 2))
        return longest * random.uniform(0.5, 1)  # noqa: S311 - so that clients do not come all at once


_FINAL = {"CERTIFICATE_INVALID", "CERT_PQ_VALIDATION_FAILED", "PROFILE_POLICY_VIOLATION", "ALPN_REQUIRED"}
"""What another attempt would not mend."""


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds that the field Retry-After asks for; None where it is not there or says nothing."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 12 else float("inf")
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, when - (time.time() if now is None else now))


def retry_of(retries: Retry | int | None) -> Retry | None:
    """What was said of retries, as a policy."""
    if isinstance(retries, int):
        return Retry(retries) if retries > 0 else None
    return retries


def timeout_of(timeout: Any) -> Timeout:
    """What was said of timeouts."""
    return timeout if isinstance(timeout, Timeout) else Timeout(timeout)
