"""One tree of exceptions, each with a stable code and a hint.

    VelocityError
     ├── ConfigError      flags, environment or files are wrong            exit 2
     ├── StartError       the configuration is fine, starting failed       exit 3
     ├── ApplicationError the application cannot be loaded or started      exit 1
     ├── PkiError         a key, certificate or authority is not usable    exit 1
     │    └── ChainError      a certificate chain did not pass
     └── ClientError      what a client asked for did not happen           exit 1
          └── RequestError    no complete response came
               └── TransportError  and that is due to the way there
                    └── ConnectError   no connection, or no handshake

What grows below `ClientError` is in `velocity.client.exceptions`.

The native core raises the same classes: `from_core` is its only entrance.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "ApplicationError",
    "ChainError",
    "ClientError",
    "ConfigError",
    "ConnectError",
    "InternalError",
    "PkiError",
    "RequestError",
    "StartError",
    "TransportError",
    "VelocityError",
    "from_core",
]


class VelocityError(Exception):
    """Base of everything Velocity raises on purpose.

    Attributes:
        code: stable, upper snake case, the same in logs, metrics and documentation.
        message: one line, without a full stop.
        hint: what to try next; empty when there is nothing useful to say.
        details: facts for programs, by name; what there is depends on the code.
        exit_code: what the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: dict[str, str] = {}

    def __str__(self) -> str:
        return self.message


class ConfigError(VelocityError):
    """Flags, environment or files say something that cannot be."""

    exit_code = 2


class StartError(VelocityError):
    """The configuration reads well, but the server could not start with it."""

    exit_code = 3


class ApplicationError(VelocityError):
    """An application cannot be loaded, or does not start.

    Attributes:
        lines: where in its own code that happened; empty where none of it ran.
    """

    def __init__(self, code: str, message: str, hint: str = "", lines: tuple[str, ...] = ()) -> None:
        super().__init__(code, message, hint)
        self.lines = lines


class PkiError(VelocityError):
    """A key or certificate cannot be used, or an authority does not issue what was asked for."""


class ChainError(PkiError):
    """A certificate chain did not pass: which link, and why.

    Attributes:
        link: place in the chain, 0 being the leaf.
        subject: whom that certificate names.
        cause: stable, lower snake case; see `velocity.pki.chain.Cause`.
    """

    def __init__(self, link: int, subject: str, cause: str, message: str, hint: str = "") -> None:
        super().__init__("CERT_PQ_VALIDATION_FAILED", message, hint)
        self.link = link
        self.subject = subject
        self.cause = cause


class ClientError(VelocityError):
    """What a client asked for did not happen."""


class RequestError(ClientError):
    """No complete response came.

    Attributes:
        request: what was asked, a `velocity.client.requests.Request`; None where that is not known.
    """

    request: Any = None


class TransportError(RequestError):
    """The way to the server or back broke, or was too slow."""


class ConnectError(TransportError):
    """No connection, or no handshake."""


class InternalError(VelocityError):
    """A defect of ours; please report it."""


_BY_FAULT: dict[str, type[VelocityError]] = {
    "config": ConfigError,
    "start": StartError,
    "connect": ConnectError,
    "request": RequestError,
    "internal": InternalError,
}


def from_core(fault: str, code: str, message: str, hint: str, details: dict[str, str]) -> VelocityError:
    """The exception for an error of the native core."""
    error = _BY_FAULT.get(fault, InternalError)(code, message, hint)
    error.details = details
    return error
