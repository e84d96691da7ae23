"""Which transport a URL goes to: by scheme, host and port, and by what the environment says of proxies."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar
from urllib.request import getproxies

from velocity.client.exceptions import InvalidURL

if TYPE_CHECKING:
    from velocity.client.uri import URL

__all__ = ["Mounts", "Pattern", "environment_proxies"]

T = TypeVar("T")


class Pattern(NamedTuple):
    """URLs that go somewhere.

    Attributes:
        scheme: nothing is every one.
        host: nothing is every one; `*.example.com` what lies below, `*example.com` that and the host itself.
        port: None is every one.
    """

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, text: str) -> Pattern:
        """From `all://`, `https://example.com:443` and the like.

        Raises:
            InvalidURL: it is no pattern.
        """
        scheme, separator, rest = text.lower().partition("://")
        host, colon, digits = rest.rpartition(":")
        if not colon or rest.endswith("]"):
            host, digits = rest, ""
        if not separator or (digits and not digits.isdigit()):
            raise InvalidURL(f"{text!r} is no pattern of URLs", "write all://, https://, or https://example.com:443")
        return cls(
            "" if scheme == "all" else scheme, "" if host == "*" else host.strip("[]"), int(digits) if digits else None
        )

    def matches(self, url: URL) -> bool:
        """Whether a URL is one of these."""
        scheme, host, port = url.origin
        if self.scheme and self.scheme != scheme:
            return False
        if self.port is not None and self.port != port:
            return False
        if not self.host:
            return True
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        if self.host.startswith("*"):
            return host == self.host[1:] or host.endswith(f".{self.host[1:]}")
        return host == self.host

    @property
    def weight(self) -> tuple[int, int, int]:
        """The closer ones go first."""
        return (self.port is None, -len(self.host), -len(self.scheme))


class Mounts(Generic[T]):
    """Transports by pattern; the closest one counts, and None is the ordinary one."""

    def __init__(self, mounts: dict[str, T | None]) -> None:
        self._mounts = sorted(
            ((Pattern.of(text), transport) for text, transport in mounts.items()), key=lambda pair: pair[0].weight
        )

    def __bool__(self) -> bool:
        return bool(self._mounts)

    def find(self, url: URL, otherwise: T) -> T:
        """The transport for a URL."""
        for pattern, transport in self._mounts:
            if pattern.matches(url):
                return otherwise if transport is None else transport
        return otherwise

    def all(self) -> list[T]:
        """Every transport."""
        return [transport for _, transport in self._mounts if transport is not None]


def environment_proxies() -> dict[str, str | None]:
    """What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, by pattern; None is no proxy."""
    found = getproxies()
    mounts: dict[str, str | None] = {
        f"{scheme}://": url if "://" in url else f"http://{url}"
        for scheme, url in found.items()
        if scheme in ("http", "https", "all") and url
    }
    if not mounts:
        return {}
    for host in (one.strip() for one in found.get("no", "").split(",")):
        if host == "*":
            return {}
        if host:
            mounts[_exempt(host)] = None
    return mounts


def _exempt(host: str) -> str:
    if "://" in host:
        return host
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"all://{host}" if host.lower() == "localhost" else f"all://*{host.lstrip('*').removeprefix('.')}"
    return f"all://[{host.strip('[]')}]" if address.version == 6 else f"all://{host}"
