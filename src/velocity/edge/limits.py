"""At most so many requests in any window (RFC 6585 section 4; draft-ietf-httpapi-ratelimit-headers-10).

What the data plane does, for servers that are not Velocity: a true sliding window, with the same fields and the same
answer. Memory is bounded: there are at most `MAX_KEYS` keys with `MAX_STAMPS` times in all, and who has not been seen
for longest makes room. State is that of one process.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.config.middleware import RateLimitRule
    from velocity.edge.requests import Connection

__all__ = ["RateLimiter", "Standing"]

MAX_KEYS = 1 << 16
MAX_STAMPS = 1 << 20
TICKS = 4096
"""Times of one key: more requests than that share them, always to the side of letting in less."""


class Standing(NamedTuple):
    """What became of a request, and how it stands with its key.

    Attributes:
        allowed: whether it may pass.
        remaining: requests that may follow at once.
        reset: seconds until there is room for one more than now.
    """

    allowed: bool
    remaining: int
    reset: float


class _Stamps:
    __slots__ = ("requests", "ticks")

    def __init__(self) -> None:
        self.ticks: deque[tuple[float, int]] = deque()
        self.requests = 0


class RateLimiter:
    """A rate limit with its state.

    Args:
        rule: as configuration has it.
        clock: seconds, never going back.
    """

    def __init__(self, rule: RateLimitRule, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = rule.limit
        self._window = rule.window / 1000
        self._tick = 0.0 if rule.limit <= TICKS else self._window / TICKS
        self._key = rule.key
        self._clock = clock
        self._keys: OrderedDict[str, _Stamps] = OrderedDict()
        self._stamps = 0
        name = rule.key if isinstance(rule.key, str) else "header" if rule.key.header else "cookie"
        self._name = f'"{name}"'

    def admit(self, key: str) -> Standing:
        """Count one request."""
        now = self._clock()
        stamps = self._keys.get(key)
        if stamps is None:
            stamps = self._keys[key] = _Stamps()
        else:
            self._keys.move_to_end(key)
        before = len(stamps.ticks)
        while stamps.ticks and stamps.ticks[0][0] + self._window <= now:
            stamps.requests -= stamps.ticks.popleft()[1]
        allowed = stamps.requests < self._limit
        if allowed:
            stamps.requests += 1
            tick = math.ceil(now / self._tick) * self._tick if self._tick else now
            if stamps.ticks and stamps.ticks[-1][0] >= tick:
                last, count = stamps.ticks.pop()
                stamps.ticks.append((last, count + 1))
            else:
                stamps.ticks.append((tick, 1))
        self._stamps += len(stamps.ticks) - before
        while (len(self._keys) > MAX_KEYS or self._stamps > MAX_STAMPS) and len(self._keys) > 1:
            self._stamps -= len(self._keys.popitem(last=False)[1].ticks)
        oldest = stamps.ticks[0][0] if stamps.ticks else now
        return Standing(allowed, self._limit - stamps.requests, max(oldest + self._window - now, 0.0))

    def key_of(self, connection: Connection) -> str:
        """Whom a request counts for; by address, where it does not have what is counted by."""
        if self._key == "path":
            return f"path {hash(connection.scope.get('raw_path') or connection.scope['path'])}"
        if not isinstance(self._key, str):
            if self._key.header is not None:
                value = connection.headers.get(self._key.header)
            else:
                value = connection.cookies.get(self._key.cookie or "")
            if value is not None:
                # Values are of any length; what is kept of them is not.
                return f"value {hash(value)}"
        return _by_address(connection.client.host if connection.client else "")

    def fields(self, standing: Standing) -> list[tuple[bytes, bytes]]:
        """What the client is told of it."""
        reset = math.ceil(standing.reset)
        pairs = {
            "ratelimit-policy": f"{self._name};q={self._limit};w={math.ceil(self._window)}",
            "ratelimit": f"{self._name};r={standing.remaining};t={reset}",
            "ratelimit-limit": str(self._limit),
            "ratelimit-remaining": str(standing.remaining),
            "ratelimit-reset": str(reset),
        }
        return [(name.encode(), value.encode()) for name, value in pairs.items()]


def _by_address(host: str) -> str:
    """IPv6 by /64: that is what one household or one machine has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return f"host {host[:64]}"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(int(address) >> 64)
        address = address.ipv4_mapped
    return str(address)
