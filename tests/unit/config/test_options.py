"""The checked options of `velocity serve`, and the one line that says what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from velocity.config.options import ServeOptions
from velocity.errors import ConfigError


def check(**given: Any) -> ServeOptions:
    return ServeOptions.check({"self_signed": True, **given})


def test_defaults() -> None:
    options = check()
    assert options.listen == ("0.0.0.0:4433",)
    assert options.alpn == ("velocity/1", "h3", "h2", "http/1.1")
    assert options.profile == "balanced"
    assert options.max_sessions is None
    assert options.access_log
    assert options.compress
    assert not options.listings
    assert not options.dotfiles


def test_none_is_not_given() -> None:
    assert check(profile=None, listen=None) == check()


def test_lists_from_flags_and_from_the_environment_are_one() -> None:
    assert check(listen=["127.0.0.1:1,[::1]:2"]).listen == check(listen=["127.0.0.1:1", "[::1]:2"]).listen
    assert check(domain="a.example, B.example,a.example").domain == ("a.example", "b.example")


def test_any_number_of_listeners_may_ask_the_kernel() -> None:
    assert len(check(listen=["127.0.0.1:0", "127.0.0.1:0"]).listen) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_sessions": 0}, "--max-sessions: "),
        ({"max_datagram_size": 1199}, "--max-datagram-size: "),
        ({"max_datagram_size": 65528}, "--max-datagram-size: "),
        ({"workers": 0}, "--workers: "),
        ({"listen": ["127.0.0.1:1", "127.0.0.1:01"]}, "--listen: the same address is named twice"),
        ({"profile": "paranoid"}, "--profile: unknown profile 'paranoid'"),
        ({"cache_control": "a\r\nset-cookie: b"}, "--cache-control: "),
        ({"cache_control": " "}, "--cache-control: "),
        ({"domain": ["a b"]}, "--domain: "),
        ({"domain": [""]}, "--domain: no name is given"),
        ({"listen": [","]}, "--listen: no address is named"),
        ({"root": ""}, "--root: the path is empty"),
        ({"cert": ""}, "--cert: the path is empty"),
        ({"max_sessions": "9" * 30}, "--max-sessions: "),
        ({"max_sessions": "many"}, "--max-sessions: "),
    ],
)
def test_refuses(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**given)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("size", [1200, 1452, 65527])
def test_datagram_sizes(size: int) -> None:
    assert check(max_datagram_size=size).max_datagram_size == size


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "CERT_MISSING"),
        ({"cert": "c.pem"}, "CERT_INCOMPLETE"),
        ({"key": "k.pem"}, "CERT_INCOMPLETE"),
        ({"self_signed": True, "cert": "c.pem", "key": "k.pem"}, "CERT_CONFLICT"),
    ],
)
def test_a_certificate_comes_from_one_place(given: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServeOptions.check(given)
    assert caught.value.code == code
    assert caught.value.hint


def test_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        setattr(check(), "profile", "light")  # noqa: B010 - the type checker knows
    with pytest.raises(ConfigError):
        check(max_session=1)
