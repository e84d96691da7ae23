"""`EasyClient`: one server, text and bytes, and as little to decide as possible.

client = EasyClient.connect("example.com:443")
print(client.fetch_text("/status"))
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from velocity.client.sync import Client
from velocity.client.uri import URL
from velocity.client.url import parse_authority
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from velocity.client.connect import Profile
    from velocity.client.negotiated import Negotiated
    from velocity.client.responses import Response
    from velocity.client.transport import Fallback

__all__ = ["EasyClient", "EasyClientConfig"]


class EasyClientConfig(NamedTuple):
    """Where to go, and what to believe.

    Attributes:
        server_addr: `HOST[:PORT]` to connect to, 443 if not said.
        hostname: whom the certificate has to name; the host of `server_addr` if not said.
        server_key_autodiscover: whether to believe whom the system's roots vouch for, and to remember on disk what the
            server speaks. Without it nothing is believed but `server_key`, and nothing is remembered.
        server_key: PEM file with what the server proves itself by: its own certificate or the root of its authority,
            such as the `trust.pem` of `velocity serve --self-signed`.
        fallback: to HTTPS: `directed` if the server says so, `allow` always, `never`.
        profile: to demand: `light`, `balanced` or `secure`.
        timeout: seconds.
        cache_dir: folder of what is remembered; `velocity` in `$XDG_STATE_HOME` or `~/.local/state` if not said.
    """

    server_addr: str
    hostname: str | None = None
    server_key_autodiscover: bool = True
    server_key: str | os.PathLike[str] | None = None
    fallback: Fallback = "directed"
    profile: Profile | None = None
    timeout: float = 10.0
    cache_dir: str | os.PathLike[str] | None = None


class EasyClient:
    """A client for one server. It follows redirects, and raises for answers that say that it did not work.

    Args:
        config: where to go, and what to believe.

    Raises:
        ConfigError: `server_addr` is none (`URL_INVALID`), or there is no `server_key` where nothing else is to be
            believed (`SERVER_KEY_MISSING`).
    """

    def __init__(self, config: EasyClientConfig) -> None:
        host, port = parse_authority(config.server_addr)
        name = parse_authority(config.hostname)[0] if config.hostname else host
        if config.server_key is None and not config.server_key_autodiscover:
            raise ConfigError(
                "SERVER_KEY_MISSING",
                "without server_key_autodiscover there is nothing to believe the server by",
                "pass server_key=FILE, for example its trust.pem",
            )
        self._client = Client(
            base_url=URL("https://host/").copy_with(host=name, port=port),
            verify=True if config.server_key is None else os.fspath(config.server_key),
            profile=config.profile,
            fallback=config.fallback,
            timeout=config.timeout,
            follow_redirects=True,
            state_dir=(config.cache_dir or True) if config.server_key_autodiscover else None,
            resolve={(name.lower(), port): (host, port)} if name != host else None,
        )
        self._last: Response | None = None

    @classmethod
    def connect(cls, server: str | EasyClientConfig, **options: Any) -> EasyClient:
        """A client for a server. Nothing is connected before the first request.

        Args:
            server: `HOST[:PORT]`, or all of it.
            **options: the other attributes of `EasyClientConfig`.

        Raises:
            ConfigError: as the class itself.
            TypeError: an option that does not exist.
        """
        return cls(EasyClientConfig(server, **options) if isinstance(server, str) else server._replace(**options))

    def fetch(self, path: str = "/", **options: Any) -> Response:
        """The whole answer; as `Client.get`.

        Raises:
            RequestError: no complete response came.
            HTTPStatusError: it says that it did not work.
        """
        self._last = self._client.get(path, **options)
        return self._last.raise_for_status()

    def fetch_text(self, path: str = "/", **options: Any) -> str:
        """Its text; raises as `fetch`."""
        return self.fetch(path, **options).text

    def fetch_bytes(self, path: str = "/", **options: Any) -> bytes:
        """Its content; raises as `fetch`."""
        return self.fetch(path, **options).content

    def fetch_json(self, path: str = "/", **options: Any) -> Any:
        """Its content as JSON; raises as `fetch`, and ValueError."""
        return self.fetch(path, **options).json()

    @property
    def negotiated(self) -> Negotiated | None:
        """What the last request was answered over; None before the first."""
        return None if self._last is None else self._last.velocity

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def __enter__(self) -> EasyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
