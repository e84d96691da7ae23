"""Which protocol to speak: the one that was asked for, or the best one that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from velocity import _core
from velocity.errors import ConfigError, ConnectError, VelocityError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ORDER", "Profile", "Protocol", "Trust", "open_connection", "protocols_for"]

Protocol = Literal["velocity/1", "h3", "h2", "http/1.1"]
Profile = Literal["light", "balanced", "secure"]
ORDER: tuple[Protocol, ...] = ("velocity/1", "h3", "h2", "http/1.1")
"""Strongest first."""
_CHOICES: dict[str, tuple[Protocol, ...]] = {
    "auto": ORDER,
    "velocity": ("velocity/1",),
    "h3": ("h3",),
    "h2": ("h2",),
    "h1": ("http/1.1",),
}
_OVER_UDP: frozenset[Protocol] = frozenset({"velocity/1", "h3"})
_FALLBACK_TIMEOUT = 3.0
"""Seconds for a protocol that has another one to fall back to."""
_FINAL = {"CERTIFICATE_INVALID", "RESOLVE_FAILED"}
"""What no other protocol would mend; trying one would only hide it."""


class Trust(NamedTuple):
    """Whom to believe."""

    ca_file: str | None = None
    insecure: bool = False


def protocols_for(http: str, alpn: tuple[str, ...] | None) -> tuple[Protocol, ...]:
    """The protocols to try, in order, for `--http` and `--alpn`.

    Raises:
        ConfigError: an unknown choice (`OPTION_INVALID`).
    """
    if http not in _CHOICES:
        message = f"--http: unknown protocol {http!r}"
        raise ConfigError("OPTION_INVALID", message, f"choose one of {', '.join(_CHOICES)}")
    if alpn is None:
        return _CHOICES[http]
    if http != "auto":
        raise ConfigError("OPTION_INVALID", "--http and --alpn exclude each other", "leave out one of the two")
    return cast("tuple[Protocol, ...]", alpn)


def open_connection(
    host: str,
    port: int,
    protocols: tuple[Protocol, ...],
    *,
    profile: Profile | None = None,
    trust: Trust = Trust(),  # noqa: B008 - immutable
    timeout: float = 10.0,
    on_fallback: Callable[[dict[Protocol, VelocityError], Protocol], None] | None = None,
) -> _core.Connection:
    """Connect over the first protocol that answers.

    Where UDP stays silent for one protocol it is not tried for the next, so that a server behind a
    firewall which drops it is reached over TCP after one short wait.

    Args:
        host: name or IP address.
        port: for UDP and TCP alike.
        protocols: tried in this order.
        profile: demanded under `velocity/1`, and its groups offered under the others.
        trust: whom to believe.
        timeout: seconds for each attempt; shortened while there is something to fall back to.
        on_fallback: told once which protocols failed and why, and which one answered.

    Raises:
        ConnectError: none of them answered; the error is that of the last one tried.
    """
    failures: dict[Protocol, VelocityError] = {}
    left = list(protocols)
    while left:
        protocol = left.pop(0)
        try:
            connection = _core.Connection(
                host,
                port,
                protocol=protocol,
                profile=profile,
                ca_file=trust.ca_file,
                insecure=trust.insecure,
                timeout=min(timeout, _FALLBACK_TIMEOUT) if left else timeout,
            )
        except ConnectError as error:
            failures[protocol] = error
            if error.code == "CONNECT_TIMEOUT" and protocol in _OVER_UDP:
                left = [other for other in left if other not in _OVER_UDP]
            if not left or error.code in _FINAL:
                raise
        else:
            if failures and on_fallback is not None:
                on_fallback(failures, protocol)
            return connection
    raise ConfigError("OPTION_INVALID", "there is no protocol to try", "name one with --http")
