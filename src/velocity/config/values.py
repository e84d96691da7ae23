"""Values as people type them: addresses, protocols, profiles, names.

Each parser says what is wrong and what to type instead.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import TYPE_CHECKING, TypeVar

from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.config.plan import Alpn, Profile

__all__ = [
    "DEFAULT_ALPN",
    "DEFAULT_LISTEN",
    "BadValueError",
    "closest",
    "parse_alpn",
    "parse_domain",
    "parse_listen",
    "parse_profile",
    "usage",
]

T = TypeVar("T")

DEFAULT_LISTEN = "0.0.0.0:4433"
DEFAULT_ALPN: tuple[Alpn, ...] = ("velocity/1", "h3", "h2", "http/1.1")
_ALPN_ALIASES: dict[str, Alpn] = {"h1": "http/1.1", "velocity": "velocity/1"}
_PROFILE_ALIASES: dict[str, Profile] = {"turbo": "light", "fortress": "secure"}
_PROFILES: tuple[Profile, ...] = ("light", "balanced", "secure")
_PORT = re.compile(r"0*[0-9]{1,5}")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


class BadValueError(ValueError):
    """A value that cannot be, with a hint; `usage` and `ServeOptions.check` make a ConfigError of it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def closest(word: str, known: tuple[str, ...]) -> str:
    """A hint for a word that is none of those that are known."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def parse_listen(text: str) -> str:
    """`HOST:PORT` in canonical form; `:PORT` means every IPv4 address.

    Raises:
        ValueError: no port, a port beyond 65535, or an IPv6 address without brackets.
    """
    hint = "write HOST:PORT, for example 127.0.0.1:4433 or [::]:443"
    host, separator, port = text.strip().rpartition(":")
    if not separator or not _PORT.fullmatch(port) or int(port) > 65535:
        raise BadValueError(f"{text!r} has no port between 0 and 65535", hint)
    if host.startswith("[") and host.endswith("]"):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            raise BadValueError(f"{text!r} has no valid IPv6 address", hint) from None
    elif ":" in host:
        raise BadValueError(f"the IPv6 address in {text!r} needs brackets", f"write [{host}]:{port}")
    elif re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise BadValueError(f"{text!r} has no valid IPv4 address", hint) from None
    elif host:
        host = parse_domain(host)
        if host.startswith("*"):
            raise BadValueError(f"{text!r} has a wildcard, which is no address", hint)
    return f"{host or '0.0.0.0'}:{int(port)}"  # noqa: S104 - serving everybody is what a server is for


def parse_alpn(value: str | list[str] | tuple[str, ...]) -> tuple[Alpn, ...]:
    """A comma-separated list of protocols, preferred first.

    Raises:
        ValueError: an unknown protocol, one named twice, or none at all.
    """
    words = value.split(",") if isinstance(value, str) else [word for item in value for word in item.split(",")]
    names: list[Alpn] = []
    for word in filter(None, (word.strip().lower() for word in words)):
        name = _ALPN_ALIASES.get(word, word)
        if name not in DEFAULT_ALPN:
            raise BadValueError(f"unknown protocol {word!r}", closest(word, DEFAULT_ALPN))
        if name in names:
            raise BadValueError(f"{name} is named twice", "name each protocol once, preferred first")
        names.append(name)
    if not names:
        raise BadValueError("the list of protocols is empty", f"known are {', '.join(DEFAULT_ALPN)}")
    return tuple(names)


def parse_profile(text: str) -> Profile:
    """A profile by name or alias (`turbo`, `fortress`).

    Raises:
        ValueError: no such profile.
    """
    word = text.strip().lower()
    for profile in _PROFILES:
        if word == profile:
            return profile
    if word in _PROFILE_ALIASES:
        return _PROFILE_ALIASES[word]
    raise BadValueError(f"unknown profile {text!r}", closest(word, (*_PROFILES, *_PROFILE_ALIASES)))


def parse_domain(text: str) -> str:
    """A host name as it stands in certificates: A-labels, lower case; IP addresses as they are.

    Raises:
        ValueError: not a host name.
    """
    word = text.strip().removesuffix(".")
    address = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    if ":" in address or address.rpartition(".")[2].isdigit():
        try:
            if "%" not in address:  # a zone means something on this machine only (RFC 4007 section 11)
                return str(ipaddress.ip_address(address))
        except ValueError:
            pass
    try:
        name = word.encode("idna").decode("ascii").lower() if not word.isascii() else word.lower()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    wildcard = labels[0] == "*" and len(labels) > 2
    valid = len(name) <= 253 and all(map(_LABEL.fullmatch, labels[wildcard:]))
    if not valid or labels[-1].isdigit():  # the last label of a name is no number, or it would be an address
        raise BadValueError(
            f"{text!r} is not a host name", "write a name such as example.com, without https:// or a path"
        )
    return name


def usage(flag: str, parse: Callable[[str], T], text: str) -> T:
    """Parse the value of one flag.

    Raises:
        ConfigError: with the flag's name in front.
    """
    try:
        return parse(text)
    except BadValueError as error:
        raise ConfigError("OPTION_INVALID", f"{flag}: {error}", error.hint) from None
