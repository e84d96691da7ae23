"""The Plan: the one contract between Python, which decides, and the engine, which moves bytes.

`crates/velocity-engine/src/plan.rs` is the mirror of this file. Unknown keys are refused on both
sides, and the golden tests hold both to the same JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Alpn", "Certificate", "Files", "Limits", "Listener", "Log", "Plan", "Profile", "Profiles", "Site", "Tls"]

Alpn = Literal["velocity/1", "h3", "h2", "http/1.1"]
Profile = Literal["light", "balanced", "secure"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(_Part):
    """One address, for UDP and TCP as its protocols need."""

    address: str
    """`127.0.0.1:4433` or `[::]:443`; port 0 asks the kernel for one."""
    alpn: tuple[Alpn, ...]
    """Preferred first."""


class Certificate(_Part):
    """Where the server's certificate is. Key bytes never pass through Python."""

    chain_file: Path
    key_file: Path


class Profiles(_Part):
    """The profile policy: `default` where the client has no preference, `permit` what is allowed at all."""

    default: Profile = "balanced"
    permit: tuple[Profile, ...] = ("light", "balanced", "secure")


class Tls(_Part):
    """Everything about the handshake."""

    certificate: Certificate
    profiles: Profiles = Profiles()


class Limits(_Part):
    """What peers may make the server hold. Durations in milliseconds, sizes in bytes."""

    max_sessions: int | None = None
    """Connections at once over all protocols; None is unlimited."""
    max_datagram_size: int | None = None
    """Largest UDP payload sent; None lets path MTU discovery decide, up to 1452."""
    handshake_timeout_ms: int = 10_000
    idle_timeout_ms: int = 60_000
    header_timeout_ms: int = 30_000
    max_header_bytes: int = 65_536
    max_streams: int = 100
    """Concurrent requests on one connection; RFC 9114 section 6.1 asks for at least 100."""


class Files(_Part):
    """A folder that is a site."""

    root: Path
    index: tuple[str, ...] = ("index.html",)
    listings: bool = False
    cache_control: str | None = None
    dotfiles: bool = False
    compress: bool = True
    hot_cache_bytes: int = 64 << 20


class Site(_Part):
    """Host names (empty: every host) and what they serve."""

    hosts: tuple[str, ...] = ()
    files: Files


class Log(_Part):
    """What is logged beyond the level."""

    access: bool = True


class Plan(_Part):
    """Everything the engine needs to serve."""

    version: Literal[1] = 1
    listeners: tuple[Listener, ...]
    tls: Tls
    limits: Limits = Limits()
    sites: tuple[Site, ...]
    log: Log = Log()
    workers: int | None = None
    """Threads; None is one for each CPU this process may run on."""

    def to_json(self) -> str:
        """The canonical form: sorted keys, no spaces, every key present."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
