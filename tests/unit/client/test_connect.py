"""Which protocol is tried when, how long, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from velocity import _core
from velocity.client.connect import ORDER, Opened, Trust, open_connection, protocols_for
from velocity.errors import ConfigError, ConnectError

if TYPE_CHECKING:
    from unit.fakes import FakeCore

REFUSED = ConnectError("CONNECT_FAILED", "nobody listens")
SILENT = ConnectError("CONNECT_TIMEOUT", "no answer")
UNTRUSTED = ConnectError("CERTIFICATE_INVALID", "not trusted")
UNKNOWN = ConnectError("RESOLVE_FAILED", "no such host")
UNPROVED = ConnectError("CERT_PQ_VALIDATION_FAILED", "no ML-DSA signature")
UDP, TCP = ("velocity/1", "h3"), ("h2", "http/1.1")


def connect(**options: Any) -> Opened:
    return open_connection("h", 1, options.pop("protocols", ORDER), **options)


def test_the_best_first(core: FakeCore) -> None:
    connection, failures = connect(profile="secure", trust=Trust("ca.pem", False))
    assert core.tried == [(UDP, 3.0)]
    assert connection.facts["alpn"] == "velocity/1"
    assert failures == {}
    assert connection.options == {  # type: ignore[attr-defined]
        "protocols": list(UDP),
        "profile": "secure",
        "connect_to": None,
        "ca_file": "ca.pem",
        "insecure": False,
    }


def test_what_the_server_chose_instead(core: FakeCore) -> None:
    core.failing = {"velocity/1": REFUSED}
    connection, failures = connect()
    assert len(core.tried) == 1
    assert connection.facts["alpn"] == "h3"
    assert [(name, error.code) for name, error in failures.items()] == [("velocity/1", "ALPN_REQUIRED")]


def test_what_failed_and_why(core: FakeCore) -> None:
    core.failing = {"velocity/1": REFUSED, "h3": REFUSED}
    connection, failures = connect()
    assert [offer for offer, _ in core.tried] == [UDP, TCP]
    assert connection.facts["alpn"] == "h2"
    assert failures == {"velocity/1": REFUSED, "h3": REFUSED}


def test_silent_udp_costs_one_wait(core: FakeCore) -> None:
    core.failing = {"velocity/1": SILENT, "h3": SILENT}
    connect(protocols=("velocity/1", "h2", "h3"))
    assert [offer for offer, _ in core.tried] == [("velocity/1",), ("h2",)]


def test_only_the_last_has_all_the_time(core: FakeCore) -> None:
    core.failing = dict.fromkeys((*UDP, "h2"), REFUSED)
    connect(timeout=10.0)
    assert [timeout for _, timeout in core.tried] == [3.0, 10.0]
    core.tried.clear()
    connect(timeout=1.0, protocols=("http/1.1",))
    assert core.tried == [(("http/1.1",), 1.0)]


def test_only_udp_and_silent(core: FakeCore) -> None:
    core.failing = dict.fromkeys(ORDER, SILENT)
    with pytest.raises(ConnectError):
        connect(protocols=UDP)
    assert [offer for offer, _ in core.tried] == [UDP]


@pytest.mark.parametrize("final", [UNTRUSTED, UNKNOWN, UNPROVED])
def test_what_no_protocol_mends_is_not_hidden(core: FakeCore, final: ConnectError) -> None:
    core.failing = {"velocity/1": final, "h3": final}
    with pytest.raises(ConnectError) as caught:
        connect()
    assert caught.value is final
    assert len(core.tried) == 1


def test_all_fail(core: FakeCore) -> None:
    core.failing = dict.fromkeys(ORDER, REFUSED)
    with pytest.raises(ConnectError):
        connect()
    assert len(core.tried) == 2


def refusal(directive: str) -> ConnectError:
    error = ConnectError("PROFILE_POLICY_VIOLATION", "other profiles only")
    error.details = {"fallback": directive}
    return error


def test_a_directive_is_followed_once_under_the_same_name(core: FakeCore) -> None:
    core.failing = dict.fromkeys(UDP, refusal('reason=client_profile, alpn="h2", host="other", port=8443'))
    connection, failures = connect()
    assert [offer for offer, _ in core.tried] == [UDP, ("h2",)]
    assert (connection.host, connection.options["connect_to"]) == ("h", ("other", 8443))  # type: ignore[attr-defined]
    assert set(failures) == set(UDP)


def test_a_directive_that_leads_nowhere_costs_nothing(core: FakeCore) -> None:
    error = refusal('reason=draining, alpn="h3", host="other"')
    core.failing = dict.fromkeys(UDP, error)
    connection, _ = connect()
    assert [offer for offer, _ in core.tried] == [UDP, ("h3",), TCP]
    assert connection.options["connect_to"] is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("directive", ['reason=draining, alpn="h2"', "nonsense", ""])
def test_a_directive_never_leads_below_what_was_asked_for(core: FakeCore, directive: str) -> None:
    core.failing = {"velocity/1": refusal(directive)}
    with pytest.raises(ConnectError):
        connect(protocols=("velocity/1",))
    assert len(core.tried) == 1


def test_without_a_root_for_it_velocity_is_left_out(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "can_verify_hybrid", lambda ca_file: False)
    connect()
    connect(trust=Trust(insecure=True))
    connect(protocols=("velocity/1",))
    assert [offer for offer, _ in core.tried] == [("h3",), UDP, ("velocity/1",)]


@pytest.mark.parametrize(
    ("http", "expected"),
    [("auto", ORDER), ("velocity", ("velocity/1",)), ("h3", ("h3",)), ("h2", ("h2",)), ("h1", ("http/1.1",))],
)
def test_choices(http: str, expected: tuple[str, ...]) -> None:
    assert protocols_for(http, None) == expected


def test_a_list_of_ones_own() -> None:
    assert protocols_for("auto", ("h2", "h3")) == ("h2", "h3")


@pytest.mark.parametrize(("http", "alpn"), [("h9", None), ("h3", ("h2",))])
def test_choices_refused(http: str, alpn: tuple[str, ...] | None) -> None:
    with pytest.raises(ConfigError):
        protocols_for(http, alpn)
