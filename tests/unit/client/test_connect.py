"""Which protocol is tried when, how long, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from velocity.client.connect import ORDER, Trust, open_connection, protocols_for
from velocity.errors import ConfigError, ConnectError

if TYPE_CHECKING:
    from unit.fakes import FakeCore

REFUSED = ConnectError("CONNECT_FAILED", "nobody listens")
SILENT = ConnectError("CONNECT_TIMEOUT", "no answer")
UNTRUSTED = ConnectError("CERTIFICATE_INVALID", "not trusted")
UNKNOWN = ConnectError("RESOLVE_FAILED", "no such host")
NOT_SPOKEN = ConnectError("ALPN_REQUIRED", "not spoken")


def connect(**options: Any) -> tuple[Any, list[Any]]:
    said: list[Any] = []
    connection = open_connection(
        "h", 1, options.pop("protocols", ORDER), on_fallback=lambda *news: said.append(news), **options
    )
    return connection, said


def test_the_best_first(core: FakeCore) -> None:
    connection, said = connect(profile="secure", trust=Trust("ca.pem", False))
    assert core.tried == [("velocity/1", 3.0)]
    assert said == []
    assert connection.options == {
        "protocol": "velocity/1",
        "profile": "secure",
        "ca_file": "ca.pem",
        "insecure": False,
    }


def test_falls_back_and_says_so_once(core: FakeCore) -> None:
    core.failing = {"velocity/1": NOT_SPOKEN, "h3": REFUSED}
    _, said = connect()
    assert [name for name, _ in core.tried] == ["velocity/1", "h3", "h2"]
    assert said == [({"velocity/1": NOT_SPOKEN, "h3": REFUSED}, "h2")]


def test_silent_udp_costs_one_wait(core: FakeCore) -> None:
    core.failing = {"velocity/1": SILENT}
    _, said = connect()
    assert [name for name, _ in core.tried] == ["velocity/1", "h2"]
    assert said[0][1] == "h2"


def test_silent_tcp_says_nothing_about_the_other(core: FakeCore) -> None:
    core.failing = {"h2": SILENT}
    connect(protocols=("h2", "http/1.1"))
    assert [name for name, _ in core.tried] == ["h2", "http/1.1"]


def test_only_the_last_has_all_the_time(core: FakeCore) -> None:
    core.failing = dict.fromkeys(("velocity/1", "h3", "h2"), REFUSED)
    connect(timeout=10.0)
    assert [timeout for _, timeout in core.tried] == [3.0, 3.0, 3.0, 10.0]
    core.tried.clear()
    connect(timeout=1.0, protocols=("http/1.1",))
    assert core.tried == [("http/1.1", 1.0)]


def test_only_udp_and_silent(core: FakeCore) -> None:
    core.failing = dict.fromkeys(ORDER, SILENT)
    with pytest.raises(ConnectError):
        connect(protocols=("velocity/1", "h3"))
    assert [name for name, _ in core.tried] == ["velocity/1"]


@pytest.mark.parametrize("final", [UNTRUSTED, UNKNOWN])
def test_what_no_protocol_mends_is_not_hidden(core: FakeCore, final: ConnectError) -> None:
    core.failing = {"velocity/1": final}
    with pytest.raises(ConnectError) as caught:
        connect()
    assert caught.value is final
    assert len(core.tried) == 1


def test_all_fail(core: FakeCore) -> None:
    core.failing = dict.fromkeys(ORDER, REFUSED)
    with pytest.raises(ConnectError):
        connect()
    assert len(core.tried) == 4


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
