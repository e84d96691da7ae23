"""Asking a server what it speaks: one handshake a protocol, and one a profile."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from velocity import _core
from velocity.client.connect import ORDER, Profile, Protocol, Trust, open_connection
from velocity.errors import ConnectError

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["PROFILES", "probe"]

PROFILES: tuple[Profile, ...] = ("light", "balanced", "secure")
_FACTS = (
    "alpn",
    "tls_version",
    "group",
    "group_code",
    "profile",
    "cipher",
    "signature_scheme",
    "signature_scheme_code",
    "round_trips",
    "handshake_ms",
    "remote",
    "verified",
)
_UNVERIFIED = {"CERT_PQ_VALIDATION_FAILED", "CERTIFICATE_INVALID"}


def probe(host: str, port: int, trust: Trust, timeout: float) -> dict[str, Any]:
    """Shake hands over every protocol and, under `velocity/1`, with every profile.

    Every value comes from the TLS state of a real handshake.

    Returns:
        `{"host", "port", "ok", "protocols": {alpn: facts}, "profiles": {profile: facts}, "certificate"}`. Facts hold
        `ok`, and either what was negotiated or `error` and `code`; and wherever a certificate was seen, `verification`:
        `{"classical": bool, "ml_dsa": bool, "ml_dsa_level": str}` with None for what was not looked at, and where one
        failed `cause` and `link`. `ok` at the top is that of `velocity/1`.

    Raises:
        ConnectError: the host has no address.
    """
    protocols = {protocol: _handshake(host, port, protocol, None, trust, timeout) for protocol in ORDER}
    velocity = protocols["velocity/1"]
    profiles: dict[str, Any] = {}
    for profile in PROFILES if velocity["ok"] or velocity["code"] == "HANDSHAKE_FAILED" else ():
        profiles[profile] = _handshake(host, port, "velocity/1", profile, trust, timeout)
    certificate = next((facts["certificate"] for facts in protocols.values() if facts["ok"]), None)
    works = velocity["ok"] or any(facts["ok"] for facts in profiles.values())
    return {
        "host": host,
        "port": port,
        "ok": works,
        "protocols": protocols,
        "profiles": profiles,
        "certificate": certificate,
    }


def _handshake(
    host: str, port: int, protocol: Protocol, profile: Profile | None, trust: Trust, timeout: float
) -> dict[str, Any]:
    try:
        connection, _ = open_connection(host, port, (protocol,), profile=profile, trust=trust, timeout=timeout)
    except ConnectError as error:
        if error.code == "RESOLVE_FAILED":
            raise
        failed = {"ok": False, "code": error.code, "error": error.message}
        directive = _core.parse_fallback(error.details.get("fallback", ""))
        if directive is not None:
            failed["fallback"] = directive
        if error.code in _UNVERIFIED:
            failed["verification"] = _verdicts(error, host, port, protocol, profile, trust, timeout)
        return failed
    facts = connection.facts
    connection.close()
    known = {name: facts[name] for name in _FACTS}
    known["handshake_ms"] = round(facts["handshake_ms"], 3)
    known["verification"] = {
        "classical": facts["verified"] or None,
        "ml_dsa": True if facts["ml_dsa_level"] else None,
        "ml_dsa_level": facts["ml_dsa_level"],
    }
    return {"ok": True, **known, "certificate": _certificate(facts["certificate_chain"], facts["certificate_sha256"])}


def _verdicts(
    error: ConnectError,
    host: str,
    port: int,
    protocol: Protocol,
    profile: Profile | None,
    trust: Trust,
    timeout: float,
) -> dict[str, Any]:
    """What of a certificate did not pass, each kind of signature by itself: another handshake fetches the chain."""
    verdicts: dict[str, Any] = {"classical": None, "ml_dsa": None, "ml_dsa_level": None}
    if error.code == "CERT_PQ_VALIDATION_FAILED":
        verdicts |= {"ml_dsa": False, **error.details}
    try:
        anyone = trust._replace(insecure=True)
        connection, _ = open_connection(host, port, (protocol,), profile=profile, trust=anyone, timeout=timeout)
    except ConnectError:
        return verdicts
    chain = connection.facts["certificate_chain"]
    connection.close()
    verdicts["classical"] = _core.verify_classical(chain, host, trust.ca_file) is None
    return verdicts


def _certificate(chain: list[bytes], sha256: str | None) -> dict[str, Any] | None:
    """The leaf, as people know it."""
    if not chain:
        return None
    from cryptography import x509

    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        names = _names(leaf)
        key = type(leaf.public_key()).__name__.removesuffix("PublicKey").lstrip("_")
        subject, issuer = leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()
    except Exception:
        return {"sha256": sha256, "chain_length": len(chain)}
    left = leaf.not_valid_after_utc - dt.datetime.now(dt.UTC)
    return {
        "sha256": sha256,
        "subject": subject,
        "issuer": issuer,
        "names": names,
        "key": key,
        "not_before": leaf.not_valid_before_utc.isoformat(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "days_left": left.days,
        "chain_length": len(chain),
    }


def _names(leaf: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*extension.get_values_for_type(x509.DNSName), *map(str, extension.get_values_for_type(x509.IPAddress))]
