"""Values as configuration files have them: durations, sizes, networks, paths, header fields.

Like those of `velocity.config.values`, each parser says what is wrong and what to type instead.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from velocity.config.values import BadValueError, parse_domain

__all__ = [
    "MatchKind",
    "parse_cookie_name",
    "parse_duration",
    "parse_field_name",
    "parse_field_value",
    "parse_file_name",
    "parse_host",
    "parse_method",
    "parse_network",
    "parse_origin",
    "parse_path",
    "parse_pattern",
    "parse_resolver",
    "parse_size",
    "parse_upstream",
    "pattern_key",
]

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d|w)")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MAX_MS = 10 * 365 * 86_400_000
_SIZE = re.compile(r"([0-9]{1,15})\s*(?:([kmgt])(i?b)?|b)?", re.IGNORECASE)
_MAX_BYTES = 1 << 50
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+/?")
"""What most paths are, which needs no second look."""
_SERVICE = re.compile(r"_[a-z0-9-]{1,62}\._(?:tcp|udp)\.")
_PARAMETER = re.compile(r"\{(\*?)([A-Za-z_][A-Za-z0-9_]*)\}")

MatchKind = Literal["exact", "prefix", "pattern"]


def parse_duration(value: Any) -> int:
    """Milliseconds of `250ms`, `5s`, `2m`, `24h`, `7d`, `1w`, or several together: `1h30m`.

    Raises:
        BadValueError: no unit, an unknown one, or more than ten years.
    """
    hint = "write a number and a unit, for example 500ms, 5s, 2m, 24h or 7d"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadValueError("this is no duration", hint)
    if isinstance(value, int | float):
        if value == 0:
            return 0
        raise BadValueError(f"{value:g} of what? the unit is missing", hint)
    text = value.strip().lower()
    total, at = 0.0, 0
    while at < len(text):
        part = _DURATION.match(text, at)
        if part is None:
            break
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not text or at < len(text):
        raise BadValueError(f"{value[:40]!r} is no duration", hint)
    if total > _MAX_MS:
        raise BadValueError(f"{value[:40]!r} is more than ten years", hint)
    return round(total)


def parse_size(value: Any) -> int:
    """Bytes of `1024`, `64k`, `10MiB`, `1G`; units are powers of 1024.

    Raises:
        BadValueError: not a size, or more than a pebibyte.
    """
    hint = "write bytes, or a number and a unit, for example 64k or 10MiB"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadValueError("this is no size", hint)
    found = _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise BadValueError(f"{str(value)[:40]!r} is no size", hint)
    size = int(found[1]) << (10 * (" kmgt".index(found[2].lower()) if found[2] else 0))
    if size > _MAX_BYTES:
        raise BadValueError(f"{str(value)[:40]!r} is more than a pebibyte", hint)
    return size


def parse_network(text: str) -> str:
    """A network, `10.0.0.0/8`, or one address as the network that holds only it.

    Raises:
        BadValueError: neither.
    """
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise BadValueError(f"{text[:60]!r} is no network", "write 10.0.0.0/8, 2001:db8::/32 or an address") from None


def parse_host(text: str) -> str:
    """A host name, `*.example.com`, or `*` for all that are not named.

    Raises:
        BadValueError: not a host name.
    """
    return "*" if text.strip() == "*" else parse_domain(text)


def parse_path(text: str) -> str:
    """The path of a URL, as requests have it.

    Raises:
        BadValueError: it does not begin with a slash, or has something that no path has.
    """
    if not text.startswith("/"):
        raise BadValueError(f"the path {text[:80]!r} does not begin with /", f"write /{text[:80].lstrip('/')}")
    if any(sign in text for sign in "?#\\") or not text.isprintable() or " " in text:
        raise BadValueError(f"{text[:80]!r} is not the path of a URL", "leave out queries, fragments and spaces")
    if "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise BadValueError(f"no request has the path {text[:80]!r}", "leave out empty segments, . and ..")
    return text


@functools.lru_cache(maxsize=4096)
def parse_pattern(text: str) -> tuple[MatchKind | None, str]:
    """A path with `{name}` for a segment, `{*rest}` or `*` for all that follow.

    Returns:
        What it matches, None for a path as it is, and the path without its `*`.

    Raises:
        BadValueError: not such a path.
    """
    if _PLAIN_PATH.fullmatch(text):
        return None, text
    path = parse_path(text)
    if path.endswith("/*"):
        path = path[:-2] or "/"
        if not any(sign in path for sign in "{}*"):
            return "prefix", path
        path = f"{path.removesuffix('/')}/{{*rest}}"
    if not any(sign in path for sign in "{}*"):
        return None, path
    names: set[str] = set()
    segments = path.split("/")
    for number, segment in enumerate(segments):
        if not any(sign in segment for sign in "{}*"):
            continue
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None:
            hint = "a parameter is a whole segment: /users/{id}; the last may be {*rest} or *"
            raise BadValueError(f"{segment[:60]!r} is no parameter of a path", hint)
        if parameter[1] and number + 1 < len(segments):
            raise BadValueError(f"{segment[:60]} matches all that follows", "it can only be the last segment")
        if parameter[2] in names:
            raise BadValueError(f"the parameter {parameter[2]} is there twice", "give each its own name")
        names.add(parameter[2])
    return "pattern", path


def pattern_key(path: str) -> str:
    """The same text for patterns that match the same paths, whatever they call their parameters."""
    return _PARAMETER.sub(lambda found: f"{{{found[1]}}}", path)


def parse_method(text: str) -> str:
    """A method, upper case (RFC 9110 section 9).

    Raises:
        BadValueError: not a token.
    """
    word = text.strip().upper()
    if not _TOKEN.fullmatch(word) or len(word) > 32:
        raise BadValueError(f"{text[:40]!r} is no method", "for example GET or POST")
    return word


def parse_field_name(text: str) -> str:
    """The name of a header field (RFC 9110 section 5.1), lower case.

    Raises:
        BadValueError: not a token.
    """
    word = text.strip().lower()
    if not _TOKEN.fullmatch(word) or len(word) > 256:
        raise BadValueError(f"{text[:60]!r} is no name of a header field", "for example X-Frame-Options")
    return word


def parse_cookie_name(text: str) -> str:
    """The name of a cookie (RFC 6265 section 4.1.1), or of a header field; as it was written.

    Raises:
        BadValueError: not a token.
    """
    word = text.strip()
    if not _TOKEN.fullmatch(word) or len(word) > 256:
        raise BadValueError(f"{text[:60]!r} is no name of a cookie or header field", "for example session")
    return word


def parse_field_value(value: Any) -> str:
    """The value of a header field (RFC 9110 section 5.5).

    Raises:
        BadValueError: it has a line break or another control character.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise BadValueError("this is no value of a header field", "write it as text")
    if not text.replace("\t", "").isprintable():
        raise BadValueError("a header field cannot have line breaks or control characters", "write it on one line")
    return text.strip()


def parse_file_name(value: Any) -> str:
    """The name of a file or folder, not looked up.

    Raises:
        BadValueError: it is empty, or no name can be like that.
    """
    if not isinstance(value, str):
        raise BadValueError("this is no file name", "write it as text")
    if not value.strip() or "\0" in value:
        raise BadValueError("the path is empty" if "\0" not in value else "a NUL byte", "name a file or folder")
    return value


def parse_upstream(text: str) -> str:
    """Where requests are passed on to: `http://127.0.0.1:3000`, or `unix:/run/app.sock`.

    Raises:
        BadValueError: another scheme, or more than scheme, host and port.
    """
    hint = "write http://HOST:PORT, https://HOST:PORT, h2c://, h3:// or velocity://, or unix:/PATH"
    if text.strip().startswith("unix:"):
        path = text.strip().removeprefix("unix:")
        if not path.startswith("/") or not path.isprintable() or path.endswith("/"):
            raise BadValueError(
                f"{text[:80]!r} is no upstream", "a Unix socket has an absolute path: unix:/run/app.sock"
            )
        return f"unix:{path}"
    parts, port = _split(text, hint)
    if parts.scheme not in ("http", "https", "h2c", "h3", "velocity") or not parts.hostname:
        raise BadValueError(f"{text[:80]!r} is no upstream", hint)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise BadValueError(f"{text[:80]!r} has more than a host and a port", hint)
    # A service, which DNS knows (RFC 2782): what begins with underscores is no part of a host name.
    service = _SERVICE.match(parts.hostname) if port is None else None
    prefix = service[0] if service is not None else ""
    return f"{parts.scheme}://{prefix}{_host(parts.hostname.removeprefix(prefix))}{'' if port is None else f':{port}'}"


def parse_resolver(text: str) -> str:
    """Address and port of a DNS server: `127.0.0.1:53`, `[::1]:53`.

    Raises:
        BadValueError: no address, or no port.
    """
    host, colon, port = text.strip().rpartition(":")
    try:
        if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise ValueError
        address = ipaddress.ip_address(host[1:-1]) if host.startswith("[") and host.endswith("]") else None
        address = address or ipaddress.IPv4Address(host)
    except ValueError:
        hint = "write the address of a DNS server and its port, for example 127.0.0.1:53"
        raise BadValueError(f"{text[:80]!r} is no resolver", hint) from None
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


def parse_origin(text: str) -> str:
    """An origin, `https://app.example`, its host perhaps with a wildcard, or `*`.

    Raises:
        BadValueError: not an origin.
    """
    if text.strip() == "*":
        return "*"
    hint = "write https://HOST, without a path"
    parts, port = _split(text, hint)
    if not parts.scheme or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadValueError(f"{text[:80]!r} is no origin", hint)
    return f"{parts.scheme}://{_host(parts.hostname)}{'' if port is None else f':{port}'}"


def _split(text: str, hint: str) -> Any:
    try:
        if any(sign.isspace() or not sign.isprintable() for sign in text.strip()):
            raise ValueError
        parts = urlsplit(text.strip())
        return parts, parts.port
    except ValueError:
        raise BadValueError(f"{text[:80]!r} is no URL", hint) from None


def _host(name: str) -> str:
    host = parse_domain(name)
    return f"[{host}]" if ":" in host else host
