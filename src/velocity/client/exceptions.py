"""What can go wrong for a client: one tree, whose names are those of httpx where the cases are.

    ClientError                     what was asked for did not happen
     ├── RequestError               no complete response came
     │    ├── TransportError        the way there or back
     │    │    ├── ConnectError     no connection, or no handshake
     │    │    │    ├── ResolveError         the name has no address
     │    │    │    ├── ProxyError           the proxy does not let us through
     │    │    │    └── TLSError             no handshake
     │    │    │         ├── CertificateError    the server did not prove itself
     │    │    │         └── PolicyError         the two sides want different things
     │    │    ├── TimeoutException
     │    │    │    ├── ConnectTimeout       is a ConnectError, too
     │    │    │    ├── ReadTimeout
     │    │    │    ├── WriteTimeout
     │    │    │    └── PoolTimeout          every connection was busy
     │    │    ├── NetworkError: ReadError, WriteError    the connection broke
     │    │    ├── ProtocolError
     │    │    │    ├── LocalProtocolError   what we were to send cannot be sent
     │    │    │    └── RemoteProtocolError  what came is not HTTP
     │    │    │         ├── HeadersTooLarge
     │    │    │         └── BodyTruncated
     │    │    └── UnsupportedProtocol       a scheme that is not spoken
     │    ├── DecodingError         the content is not what its coding says
     │    │    └── DecompressionBomb
     │    ├── TooManyRedirects
     │    └── BodyTooLarge          more than the caller wanted
     ├── HTTPStatusError            the response says so (`raise_for_status`)
     ├── InvalidURL
     ├── CookieConflict             several cookies have this name
     └── StreamError                used in a way that cannot be
          ├── StreamConsumed
          ├── StreamClosed
          ├── ResponseNotRead
          └── RequestNotRead

Each has `code`, `message`, `hint` and `details`, as all errors of Velocity; a `RequestError` has its `request`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from velocity.errors import ClientError, ConnectError, RequestError, TransportError, VelocityError

if TYPE_CHECKING:
    from velocity.client.requests import Request
    from velocity.client.responses import Response

__all__ = [
    "BodyTooLarge",
    "BodyTruncated",
    "CertificateError",
    "ClientError",
    "ConnectError",
    "ConnectTimeout",
    "CookieConflict",
    "DecodingError",
    "DecompressionBomb",
    "HTTPStatusError",
    "HeadersTooLarge",
    "InvalidURL",
    "LocalProtocolError",
    "NetworkError",
    "PolicyError",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "RequestError",
    "RequestNotRead",
    "ResolveError",
    "ResponseNotRead",
    "StreamClosed",
    "StreamConsumed",
    "StreamError",
    "TLSError",
    "TimeoutException",
    "TooManyRedirects",
    "TransportError",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
    "typed",
]


class ResolveError(ConnectError):
    """The host has no address."""


class ProxyError(ConnectError):
    """The proxy cannot be reached, or does not let us through."""


class TLSError(ConnectError):
    """There was no handshake."""


class CertificateError(TLSError):
    """The server did not prove who it is."""


class PolicyError(TLSError):
    """What one side insists on, the other does not have: a protocol, a profile, a client certificate."""


class TimeoutException(TransportError):
    """Something took longer than it may."""


class ConnectTimeout(TimeoutException, ConnectError):
    """Connecting, handshake included, took too long."""


class ReadTimeout(TimeoutException):
    """Nothing came for too long."""


class WriteTimeout(TimeoutException):
    """The server took nothing for too long."""


class PoolTimeout(TimeoutException):
    """No connection became free in time."""


class NetworkError(TransportError):
    """The connection broke."""


class ReadError(NetworkError):
    """The connection broke before the response had come."""


class WriteError(NetworkError):
    """The connection broke before the request had gone."""


class ProtocolError(TransportError):
    """Somebody does not keep to HTTP."""


class LocalProtocolError(ProtocolError):
    """What was to be sent cannot be sent."""


class RemoteProtocolError(ProtocolError):
    """What came is no response."""


class HeadersTooLarge(RemoteProtocolError):
    """The head of a response does not end where it has to."""


class BodyTruncated(RemoteProtocolError):
    """The body ended before its end."""


class UnsupportedProtocol(TransportError):
    """The scheme of the URL is none that is spoken."""


class DecodingError(RequestError):
    """The content is not what its coding says."""


class DecompressionBomb(DecodingError):
    """Decoded, the content would be larger than it may."""


class TooManyRedirects(RequestError):
    """The redirects did not come to an end."""


class BodyTooLarge(RequestError):
    """The content is larger than the caller wanted."""


class HTTPStatusError(ClientError):
    """A response that says that it did not work.

    Attributes:
        request: what was asked.
        response: what was answered.
    """

    def __init__(self, message: str, *, request: Request, response: Response) -> None:
        super().__init__("STATUS", message)
        self.request = request
        self.response = response


class InvalidURL(ClientError):
    """No URL, or none that leads anywhere."""

    def __init__(self, message: str, hint: str = "write https://HOST[:PORT]/PATH") -> None:
        super().__init__("URL_INVALID", message, hint)


class CookieConflict(ClientError):
    """Several cookies have this name."""


class StreamError(ClientError):
    """Content is used in a way that cannot be."""


class StreamConsumed(StreamError):
    """The content has been read, and is not kept."""

    def __init__(self) -> None:
        super().__init__("STREAM_CONSUMED", "the content has been read already, and is not kept", "call read() first")


class StreamClosed(StreamError):
    """The response was closed before its content was read."""

    def __init__(self) -> None:
        super().__init__("STREAM_CLOSED", "the response is closed", "read it inside the with block")


class ResponseNotRead(StreamError):
    """The content of a streamed response was asked for."""

    def __init__(self) -> None:
        super().__init__("RESPONSE_NOT_READ", "the content has not been read", "call read() first")


class RequestNotRead(StreamError):
    """The content of a streamed request was asked for."""

    def __init__(self) -> None:
        super().__init__("REQUEST_NOT_READ", "the content has not been read", "call read() first")


_BY_CODE: dict[str, type[RequestError]] = {
    "RESOLVE_FAILED": ResolveError,
    "CONNECT_FAILED": ConnectError,
    "CONNECT_TIMEOUT": ConnectTimeout,
    "PROXY_FAILED": ProxyError,
    "HANDSHAKE_FAILED": TLSError,
    "CERTIFICATE_INVALID": CertificateError,
    "CERT_PQ_VALIDATION_FAILED": CertificateError,
    "ALPN_REQUIRED": PolicyError,
    "PROFILE_POLICY_VIOLATION": PolicyError,
    "READ_TIMEOUT": ReadTimeout,
    "REQUEST_TIMEOUT": ReadTimeout,
    "WRITE_TIMEOUT": WriteTimeout,
    "POOL_TIMEOUT": PoolTimeout,
    "READ_FAILED": ReadError,
    "REQUEST_FAILED": ReadError,
    "WRITE_FAILED": WriteError,
    "CONNECTION_LOST": ReadError,
    "STREAM_RESET": ReadError,
    "PROTOCOL_ERROR": RemoteProtocolError,
    "HEADERS_TOO_LARGE": HeadersTooLarge,
    "HEADERS_INVALID": LocalProtocolError,
    "BODY_TRUNCATED": BodyTruncated,
    "BODY_TOO_LARGE": BodyTooLarge,
}


def typed(error: VelocityError, request: Request | None = None) -> VelocityError:
    """The error of the core as one of this tree, by its code."""
    kind = _BY_CODE.get(error.code)
    if kind is not None and not isinstance(error, kind):
        found = kind(error.code, error.message, error.hint)
        found.details = error.details
        error = found
    if request is not None and isinstance(error, RequestError):
        error.request = request
    return error
