"""From checked options to the Plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velocity.config.plan import Certificate, Files, Limits, Listener, Log, Plan, Profiles, Site, Tls

if TYPE_CHECKING:
    from pathlib import Path

    from velocity.config.options import ServeOptions

__all__ = ["compile_plan"]


def compile_plan(options: ServeOptions, chain_file: Path, key_file: Path) -> Plan:
    """The Plan for one folder as a site, on every listener, for every host."""
    return Plan(
        listeners=tuple(Listener(address=address, alpn=options.alpn) for address in options.listen),
        tls=Tls(
            certificate=Certificate(chain_file=chain_file.absolute(), key_file=key_file.absolute()),
            profiles=Profiles(default=options.profile),
        ),
        limits=Limits(max_sessions=options.max_sessions, max_datagram_size=options.max_datagram_size),
        sites=(
            Site(
                files=Files(
                    root=options.root.absolute(),
                    listings=options.listings,
                    cache_control=options.cache_control,
                    dotfiles=options.dotfiles,
                    compress=options.compress,
                )
            ),
        ),
        log=Log(access=options.access_log),
        workers=options.workers,
    )
