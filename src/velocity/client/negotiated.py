"""What a connection turned out to be, as a response tells it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Negotiated"]


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What was negotiated, read from the TLS state. Of plain HTTP, and of transports without a network, most is None.

    Attributes:
        alpn: `velocity/1`, `h3`, `h2` or `http/1.1`.
        profile: of `velocity/1`: `light`, `balanced` or `secure`.
        group: of the key exchange, by name.
        fallback: why it is not `velocity/1`: the server's reason, the code of the error that an attempt ended with,
            or `not_offered`; None where it is spoken.
        fallback_message: the same for people.
        remote: `address:port` of the other side; the proxy's where there is one.
        proxy: whether there is one.
        reused: whether the connection had served another request before.
        tls_version: `TLSv1.3` and so on.
        cipher: IANA name of the suite.
        signature_scheme: by which the server proved itself.
        resumed: whether a ticket stood in for that.
        early_data: whether the request went with the first flight.
        verified: whether the certificate passed.
        ml_dsa_level: what the chain rests on where both of its signatures were verified.
        handshake_ms: how long the handshake took.
        round_trips: how many times it waited for the other side.
        certificate_sha256: of the server's certificate, in hexadecimal.
        certificate_chain: DER, leaf first; empty where the session was resumed.
    """

    alpn: str | None = None
    profile: str | None = None
    group: str | None = None
    fallback: str | None = None
    fallback_message: str | None = None
    remote: str | None = None
    proxy: bool = False
    reused: bool = False
    tls_version: str | None = None
    cipher: str | None = None
    signature_scheme: str | None = None
    resumed: bool | None = None
    early_data: bool | None = None
    verified: bool | None = None
    ml_dsa_level: str | None = None
    handshake_ms: float | None = None
    round_trips: int | None = None
    certificate_sha256: str | None = None
    certificate_chain: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Negotiated:
        """From the facts of the core."""
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in facts.items() if name in known}
        given["certificate_chain"] = tuple(given.get("certificate_chain") or ())
        return cls(**given)
