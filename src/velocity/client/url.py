"""Where a URL leads."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

from velocity.config.values import BadValueError, parse_domain
from velocity.errors import ConfigError

__all__ = ["Target", "parse_authority", "parse_url"]


class Target(NamedTuple):
    """A server and what to ask it for."""

    host: str
    """Name or address, without brackets."""
    port: int
    path: str
    """Origin form, query included."""


def parse_url(text: str) -> Target:
    """An https URL, taken apart. `example.com/x` without a scheme means https.

    Raises:
        ConfigError: another scheme, or no host (`URL_INVALID`).
    """
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _invalid(text, str(error)) from None
    if parts.scheme.lower() != "https":
        raise _invalid(text, f"{parts.scheme} is not spoken here, only https")
    if not host or parts.username is not None:
        raise _invalid(text, "there is no host" if not host else "user names in URLs are not supported")
    try:
        # What was no UTF-8 on the command line is sent as the bytes it was.
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._", errors="surrogateescape")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?", errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise _invalid(text, error.reason) from None
    return Target(_host(host, text), port or 443, f"{path}?{query}" if query else path)


def parse_authority(text: str) -> tuple[str, int]:
    """`HOST[:PORT]`, port 443 when absent; a whole https URL is understood too.

    Raises:
        ConfigError: not a host (`URL_INVALID`).
    """
    if text.count(":") > 1 and not text.startswith("[") and "://" not in text:
        text = f"[{text}]"
    target = parse_url(text)
    return target.host, target.port


def _host(host: str, text: str) -> str:
    """A name in A-labels or an address; a zone (RFC 6874) only where it means something, after an address."""
    address, zone, _ = host.partition("%")
    try:
        name = parse_domain(address if ":" in address else host)
    except BadValueError as error:
        raise _invalid(text, str(error)) from None
    if name.startswith("*"):
        raise _invalid(text, "a wildcard is no host")
    return f"{name}{zone}{host[len(address) + 1 :]}" if ":" in address else name


def _invalid(text: str, why: str) -> ConfigError:
    return ConfigError("URL_INVALID", f"cannot use {text!r}: {why}", "write https://HOST[:PORT]/PATH")
