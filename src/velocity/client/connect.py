"""Which protocol to speak: the one that was asked for, or the best one that answers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from velocity import _core
from velocity.errors import ConfigError, ConnectError, VelocityError
from velocity.files import sibling

__all__ = ["ORDER", "Opened", "Profile", "Protocol", "Trust", "open_connection", "protocols_for"]

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
_FINAL = {"CERTIFICATE_INVALID", "CERT_PQ_VALIDATION_FAILED", "RESOLVE_FAILED"}
"""What no other protocol would mend; trying one would only hide it."""


class Trust(NamedTuple):
    """Whom to believe, and who we are."""

    ca_file: str | None = None
    insecure: bool = False
    crl_files: tuple[str, ...] = ()
    """Revocation lists, DER or PEM."""
    cert_file: str | None = None
    """Chain to show a server that asks for one; what lies beside it and its key is found."""
    key_file: str | None = None

    def options(self) -> dict[str, Any]:
        """As the core takes them."""
        chosen: dict[str, Any] = {"ca_file": self.ca_file, "insecure": self.insecure}
        if self.crl_files:
            chosen["crl_files"] = list(self.crl_files)
        if self.cert_file and self.key_file:
            beside = {
                "alternative_key_file": sibling(Path(self.key_file), "mldsa"),
                "classical_cert_file": sibling(Path(self.cert_file), "classical"),
            }
            chosen |= {"cert_file": self.cert_file, "key_file": self.key_file}
            chosen |= {name: str(path) for name, path in beside.items() if path.is_file()}
        return chosen


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


class Opened(NamedTuple):
    """A connection, and what it took."""

    connection: _core.Connection
    failures: dict[Protocol, VelocityError]
    """What was preferred, and why it did not come to that."""


class _Attempt(NamedTuple):
    """One handshake: protocols that are offered together, and where."""

    protocols: tuple[Protocol, ...]
    connect_to: tuple[str, int] | None = None


def open_connection(
    host: str,
    port: int,
    protocols: tuple[Protocol, ...],
    *,
    profile: Profile | None = None,
    trust: Trust = Trust(),  # noqa: B008 - immutable
    timeout: float = 10.0,
) -> Opened:
    """Connect over the first protocol that answers.

    Neighbours over one transport are offered in one handshake. A server that refuses `velocity/1` and says where to
    go is followed, to wherever that is: it has to authenticate as `host` all the same. Where UDP stays
    silent it is not tried again, so that a server behind a firewall which drops it is reached over TCP after
    one short wait.

    Args:
        host: name or IP address.
        port: for UDP and TCP alike.
        protocols: preferred first. With others beside it, `velocity/1` is left out where nothing that is trusted
            has an ML-DSA key: no server could prove itself.
        profile: demanded under `velocity/1`, and its groups offered under the others.
        trust: whom to believe, and who we are.
        timeout: seconds for each handshake; shortened while there is something to fall back to.

    Raises:
        ConfigError: a file of `trust` cannot be used.
        ConnectError: none of them answered; the error is that of the last one tried.
    """
    if len(protocols) > 1 and "velocity/1" in protocols and not _can_verify(trust):
        protocols = tuple(protocol for protocol in protocols if protocol != "velocity/1")
    failures: dict[Protocol, VelocityError] = {}
    left = _attempts(protocols)
    followed = False
    while left:
        attempt = left.pop(0)
        try:
            connection = _core.Connection(
                host,
                port,
                protocols=list(attempt.protocols),
                profile=profile,
                connect_to=attempt.connect_to,
                timeout=min(timeout, _FALLBACK_TIMEOUT) if left else timeout,
                **trust.options(),
            )
        except ConnectError as error:
            failures |= dict.fromkeys(attempt.protocols, error)
            if error.code == "CONNECT_TIMEOUT" and attempt.protocols[0] in _OVER_UDP:
                left = [other for other in left if other.protocols[0] not in _OVER_UDP]
            target = None if followed else _directed(error, host, port, protocols)
            if target is not None:
                left.insert(0, target)
                followed = True
            if not left or error.code in _FINAL:
                raise
        else:
            spoken = connection.facts["alpn"] or "http/1.1"
            for protocol in attempt.protocols[: attempt.protocols.index(spoken)]:
                failures[protocol] = ConnectError("ALPN_REQUIRED", f"{host} does not speak {protocol}")
            return Opened(connection, failures)
    raise ConfigError("OPTION_INVALID", "there is no protocol to try", "name one with --http")


def _can_verify(trust: Trust) -> bool:
    return trust.insecure or _core.can_verify_hybrid(trust.ca_file)


def _attempts(protocols: tuple[Protocol, ...]) -> list[_Attempt]:
    """Neighbours over one transport go together."""
    groups = itertools.groupby(protocols, key=lambda protocol: protocol in _OVER_UDP)
    return [_Attempt(tuple(group)) for _, group in groups]


def _directed(error: ConnectError, host: str, port: int, protocols: tuple[Protocol, ...]) -> _Attempt | None:
    """Where a refusal points to, if that is something we would speak."""
    directive = _core.parse_fallback(error.details.get("fallback", ""))
    if directive is None or directive["alpn"] not in protocols:
        return None
    return _Attempt((directive["alpn"],), (directive["host"] or host, directive["port"] or port))
