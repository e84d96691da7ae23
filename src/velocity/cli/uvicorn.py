"""What a uvicorn user types: flags of `uvicorn` that have another name here, or nothing to say.

Those that mean the same in both are flags of `velocity serve` under uvicorn's names; here are the others.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["translate"]


class _Rule(NamedTuple):
    """What becomes of a flag."""

    words: Callable[[str], list[str]] = lambda _: []
    """Words that take its place, by its value."""
    has_value: bool = True
    note: str = ""
    """What to say of it."""
    instead: str = ""
    """What to do where it is refused; empty where it is not."""
    is_switch: bool = False
    """Whether it is a flag without a value here."""


def _renamed(name: str) -> _Rule:
    return _Rule(lambda value: [name, value])


def _nothing(why: str = "", *, has_value: bool = True) -> _Rule:
    """It says what is so in any case, or what cannot be said of Velocity: then why."""
    return _Rule(has_value=has_value, note=why)


def _refused(why: str, instead: str) -> _Rule:
    """It would change whom the server trusts, or where it can be reached: nothing to pass over."""
    return _Rule(note=why, instead=instead)


def _client_auth(value: str) -> list[str]:
    """Of `ssl.VerifyMode`."""
    modes: dict[str, list[str]] = {"0": [], "1": ["--client-auth", "request"], "2": ["--client-auth", "require"]}
    if value not in modes:
        raise ConfigError("OPTION_INVALID", f"--ssl-cert-reqs: unknown mode {value!r}", "choose 0, 1 or 2")
    return modes[value]


def _networks(value: str) -> list[str]:
    """Addresses and networks; `*` is everybody."""
    return ["--trusted-proxies", "0.0.0.0/0,::/0" if value.strip() == "*" else value] if value.strip() else []


def _switched(on: str, off: str) -> _Rule:
    """One flag with a value, where ours are two without."""
    return _Rule(lambda value: [on if _BOOLEANS.get(value.lower()) else off], is_switch=True)


def _valued(name: str, **values: str) -> _Rule:
    """Some values have other names here."""
    return _Rule(lambda value: [name, values.get(value, value)])


def _without_colors(_: str) -> list[str]:
    os.environ["NO_COLOR"] = "1"
    return []


_BOOLEANS = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True)
_BOOLEANS |= dict.fromkeys(("0", "false", "f", "no", "n", "off"), False)
_ONE_HTTP = "the core speaks every version of HTTP itself, and WebSocket too"
_DATE = "every answer says when it was made (RFC 9110 section 6.6.1)"
_TLS = "TLS is 1.3, and its groups and ciphers are those of the profile"

_RULES = {
    "--ssl-certfile": _renamed("--cert"),
    "--ssl-keyfile": _renamed("--key"),
    "--ssl-ca-certs": _renamed("--client-ca"),
    "--ssl-cert-reqs": _Rule(_client_auth),
    "--ssl-keyfile-password": _refused(
        "keys are not encrypted here, but private to their user",
        "openssl pkey -in KEY -out PLAIN, and chmod 600 PLAIN",
    ),
    "--ssl-version": _refused(_TLS, "leave it out, or see --profile"),
    "--ssl-ciphers": _refused(_TLS, "leave it out, or see --profile"),
    "--uds": _refused("clients come by TLS, to an address", "name one with --listen"),
    "--fd": _refused("clients come by TLS, to an address", "name one with --listen"),
    "--forwarded-allow-ips": _Rule(_networks),
    "--proxy-headers": _nothing(has_value=False),
    "--no-proxy-headers": _nothing(has_value=False),
    "--timeout-keep-alive": _Rule(lambda value: ["--idle-timeout", f"{value}s"]),
    "--ws-per-message-deflate": _switched("--ws-per-message-deflate", "--no-ws-per-message-deflate"),
    "--interface": _valued("--interface", asgi3="asgi"),
    "--loop": _valued("--loop", zuvloop="uvloop", none="auto"),
    "--ws-ping-timeout": _nothing("a client has as long to answer a ping as --ws-ping-interval says"),
    "--ws-max-queue": _nothing("64 KiB wait for an application"),
    "--http": _nothing(_ONE_HTTP),
    "--http2": _nothing(has_value=False),
    "--ws": _nothing(_ONE_HTTP),
    "--backlog": _nothing("connections are taken as they come, and --max-sessions limits them"),
    "--h11-max-incomplete-event-size": _nothing("limits.max_header_size in a configuration file says it"),
    "--reload-delay": _nothing("changes are seen when they happen"),
    "--reset-contextvars": _nothing(has_value=False),
    "--date-header": _nothing(has_value=False),
    "--no-date-header": _nothing(has_value=False, why=_DATE),
    "--use-colors": _nothing(has_value=False),
    "--no-use-colors": _Rule(_without_colors, has_value=False),
}


def translate(arguments: list[str]) -> tuple[list[str], list[str]]:
    """A command line without flags that uvicorn alone has.

    Args:
        arguments: of `velocity`, the verb first.

    Returns:
        The arguments that say the same here, and what to say of those that say nothing.

    Raises:
        ConfigError: one that cannot be passed over, or lacks its value.
    """
    words: list[str] = []
    notes: list[str] = []
    rest = deque(arguments)
    while rest:
        word = rest.popleft()
        if word == "--":
            words += [word, *rest]
            break
        name, equals, value = word.partition("=")
        rule = _RULES.get(name)
        if rule is None or (rule.is_switch and not equals and not (rest and rest[0].lower() in _BOOLEANS)):
            words.append(word)
            continue
        if rule.has_value and not equals:
            if not rest:
                raise ConfigError("OPTION_INVALID", f"{name} needs a value", "velocity serve --help lists every flag")
            value = rest.popleft()
        if rule.instead:
            raise ConfigError("OPTION_UNKNOWN", f"{name} is uvicorn's: {rule.note}", rule.instead)
        words += rule.words(value)
        if rule.note:
            notes.append(f"{name} says nothing here: {rule.note}")
    return words, notes
