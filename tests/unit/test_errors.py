"""The tree of exceptions: exit codes, and the entrance from the core."""

from __future__ import annotations

import pytest

from velocity import errors


@pytest.mark.parametrize(
    ("fault", "kind", "exit_code"),
    [
        ("config", errors.ConfigError, 2),
        ("start", errors.StartError, 3),
        ("connect", errors.ConnectError, 1),
        ("request", errors.RequestError, 1),
        ("internal", errors.InternalError, 1),
        ("of another age", errors.InternalError, 1),
    ],
)
def test_from_core(fault: str, kind: type[errors.VelocityError], exit_code: int) -> None:
    error = errors.from_core(fault, "CODE", "a message", "a hint", {"cause": "expired"})
    assert type(error) is kind
    assert (error.code, error.message, error.hint, error.exit_code) == ("CODE", "a message", "a hint", exit_code)
    assert str(error) == "a message"


def test_one_tree() -> None:
    assert issubclass(errors.ConnectError, errors.TransportError)
    assert issubclass(errors.TransportError, errors.RequestError)
    assert issubclass(errors.RequestError, errors.ClientError)
    assert issubclass(errors.ClientError, errors.VelocityError)
    assert issubclass(errors.ChainError, errors.PkiError)


def test_a_chain_error_names_link_and_cause() -> None:
    error = errors.ChainError(1, "the root", "expired", "a message", "a hint")
    assert (error.code, error.link, error.subject, error.cause) == (
        "CERT_PQ_VALIDATION_FAILED", 1, "the root", "expired"
    )  # fmt: skip
    assert (str(error), error.hint, error.exit_code) == ("a message", "a hint", 1)


def test_names_that_others_rely_on() -> None:
    assert set(errors.__all__) == {
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
    }
    assert {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
    } == {name for name in errors.__all__ if name != "from_core"}
