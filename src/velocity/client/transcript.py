"""The messages of a handshake, read for people and programs (RFC 9846 section 4).

They are those that a real handshake over QUIC exchanged, so what drifts in a deployment (groups, signature schemes,
sizes of keys and signatures) can be seen and compared. Nothing in them is secret.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Literal

from velocity import _core
from velocity.client.connect import Profile, Trust

__all__ = ["MalformedError", "read_message", "transcript"]

_TYPES = {
    1: "client_hello",
    2: "server_hello",
    8: "encrypted_extensions",
    11: "certificate",
    13: "certificate_request",
    15: "certificate_verify",
    20: "finished",
    25: "compressed_certificate",
}
_EXTENSIONS = {
    0: "server_name",
    5: "status_request",
    10: "supported_groups",
    13: "signature_algorithms",
    16: "application_layer_protocol_negotiation",
    18: "signed_certificate_timestamp",
    27: "compress_certificate",
    41: "pre_shared_key",
    42: "early_data",
    43: "supported_versions",
    44: "cookie",
    45: "psk_key_exchange_modes",
    47: "certificate_authorities",
    50: "signature_algorithms_cert",
    51: "key_share",
    57: "quic_transport_parameters",
    0xFE0D: "encrypted_client_hello",
}
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random value of a ServerHello that is a HelloRetryRequest (RFC 9846 section 4.1.3)."""


class MalformedError(ValueError):
    """A message does not have the form that its type demands."""


def transcript(
    host: str,
    port: int,
    protocol: Literal["velocity/1", "h3"],
    *,
    profile: Profile | None = None,
    trust: Trust = Trust(),  # noqa: B008 - immutable
    timeout: float = 10.0,
) -> dict[str, Any]:
    """Shake hands once, and tell what was said.

    Args:
        host: name or IP address.
        port: of UDP.
        protocol: over TCP most of it is encrypted before anybody could record it.
        profile: to demand.
        trust: whom to believe, and who we are.
        timeout: seconds for the handshake.

    Returns:
        `{"host", "port", "negotiated": facts, "messages": [...]}`; see `read_message` for each of these, which has
        `from` (`client` or `server`) besides.

    Raises:
        ConfigError: a file of `trust` cannot be used.
        ConnectError: there was no handshake.
    """
    connection = _core.Connection(
        host, port, protocols=[protocol], profile=profile, transcript=True, timeout=timeout, **trust.options()
    )
    facts, messages = connection.facts, connection.transcript
    connection.close()
    del facts["certificate_chain"]  # it is among the messages
    return {
        "host": host,
        "port": port,
        "negotiated": facts,
        "messages": [{"from": sender, **read_message(message)} for sender, message in messages],
    }


def read_message(message: bytes) -> dict[str, Any]:
    """What a handshake message says.

    Returns:
        `type`, `length` and `sha256` of the whole, `base64`, and by its type: the extensions of hellos with their
        lengths and what the interesting ones hold, the certificates of a chain, scheme and length of a signature.

    Raises:
        MalformedError: it has another form than its type demands.
    """
    reader = _Reader(message)
    kind = reader.number(1)
    body = reader.vector(3)
    reader.end()
    read = _READERS.get(kind, lambda _: {})
    name = _TYPES.get(kind, f"{kind:#04x}")
    if kind == 2 and message[6:38] == _RETRY:
        name = "hello_retry_request"
    return {
        "type": name,
        "length": len(message),
        "sha256": hashlib.sha256(message).hexdigest(),
        **read(body),
        "base64": base64.b64encode(message).decode(),
    }


class _Reader:
    """A cursor over TLS presentation language (RFC 9846 section 3)."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, length: int) -> bytes:
        if len(self._data) < length:
            raise MalformedError("it ends early")
        taken, self._data = self._data[:length], self._data[length:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> _Reader:
        return _Reader(self.take(self.number(size)))

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def numbers(self, size: int) -> list[int]:
        found = []
        while self:
            found.append(self.number(size))
        return found

    def end(self) -> None:
        if self:
            raise MalformedError("there is more than it says")


def _group(code: int) -> str:
    return _core.code_point_name("group", code)


def _client_hello(body: _Reader) -> dict[str, Any]:
    body.take(2 + 32)  # legacy_version, random
    body.vector(1)
    ciphers = [_core.code_point_name("cipher", code) for code in body.vector(2).numbers(2)]
    body.vector(1)
    return {"cipher_suites": ciphers, **_extensions(body, _OFFERED)}


def _server_hello(body: _Reader) -> dict[str, Any]:
    body.take(2 + 32)
    body.vector(1)
    cipher = _core.code_point_name("cipher", body.number(2))
    body.take(1)
    return {"cipher_suite": cipher, **_extensions(body, _CHOSEN)}


def _extensions(body: _Reader, readers: dict[int, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    present = []
    found = body.vector(2)
    while found:
        code, content = found.number(2), found.vector(2)
        data = content.rest()
        present.append({"type": _EXTENSIONS.get(code, f"{code:#06x}"), "length": len(data)})
        if code in readers:
            known |= readers[code](_Reader(data))
    return {**known, "extensions": present}


def _names(content: _Reader) -> dict[str, Any]:
    names, found = content.vector(2), []
    while names:
        names.number(1)
        found.append(names.vector(2).rest().decode("ascii", "replace"))
    return {"server_name": found[0] if found else None}


def _protocols(content: _Reader) -> dict[str, Any]:
    names, found = content.vector(2), []
    while names:
        found.append(names.vector(1).rest().decode("ascii", "replace"))
    return {"alpn": found}


def _share(content: _Reader) -> dict[str, Any]:
    return {"group": _group(content.number(2)), "length": len(content.vector(2).rest())}


def _shares(content: _Reader) -> dict[str, Any]:
    shares, found = content.vector(2), []
    while shares:
        found.append(_share(shares))
    return {"key_shares": found}


def _schemes(content: _Reader) -> dict[str, Any]:
    codes = content.vector(2).numbers(2)
    return {"signature_schemes": [_core.code_point_name("signature_scheme", code) for code in codes]}


def _chosen_share(content: _Reader) -> dict[str, Any]:
    """A HelloRetryRequest names a group and has no share (RFC 9846 section 4.2.8)."""
    data = content.rest()
    is_retry = len(data) == 2
    return {"key_share": {"group": _group(int.from_bytes(data)), "length": 0} if is_retry else _share(_Reader(data))}


def _certificate(body: _Reader) -> dict[str, Any]:
    body.vector(1)
    chain, found = body.vector(3), []
    while chain:
        der = chain.vector(3).rest()
        chain.vector(2)
        found.append({"length": len(der), "sha256": hashlib.sha256(der).hexdigest()})
    return {"certificates": found}


def _certificate_verify(body: _Reader) -> dict[str, Any]:
    scheme = _core.code_point_name("signature_scheme", body.number(2))
    return {"signature_scheme": scheme, "signature_length": len(body.vector(2).rest())}


def _certificate_request(body: _Reader) -> dict[str, Any]:
    body.vector(1)
    return _extensions(body, {13: _schemes})


_OFFERED = {
    0: _names,
    10: lambda content: {"groups": [_group(code) for code in content.vector(2).numbers(2)]},
    13: _schemes,
    16: _protocols,
    51: _shares,
}
_CHOSEN = {51: _chosen_share}
_READERS: dict[int, Any] = {
    1: _client_hello,
    2: _server_hello,
    8: lambda body: _extensions(body, {16: _protocols}),
    11: _certificate,
    13: _certificate_request,
    15: _certificate_verify,
    20: lambda body: {"verify_data_length": len(body.rest())},
}
