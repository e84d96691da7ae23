"""From checked options to the Plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velocity.config.plan import (
    ClientAuth,
    Fallback,
    Files,
    Headers,
    Limits,
    Listener,
    Log,
    Match,
    Plan,
    Profiles,
    ProxyProtocol,
    Python,
    Route,
    Site,
    Tls,
)

if TYPE_CHECKING:
    from velocity.config.options import ServeOptions
    from velocity.config.plan import Certificate

__all__ = ["compile_plan"]


def compile_plan(options: ServeOptions, certificate: Certificate) -> Plan:
    """The Plan for one folder or application as a site, on every listener, for every host."""
    files = Files(
        root=options.root.absolute(),
        listings=options.listings,
        cache_control=options.cache_control,
        dotfiles=options.dotfiles,
        compress=options.compress,
    )
    handler: Files | Python = files
    program = options.program
    if program is not None:
        handler = Python(
            app=program.name,
            root_path=options.root_path,
            files=files if options.has_files else None,
            limit_concurrency=options.limit_concurrency,
            ws_per_message_deflate=options.ws_per_message_deflate,
            ws_max_message_bytes=options.ws_max_size,
            ws_ping_ms=round(options.ws_ping_interval * 1000) or None,
        )
    removed = () if options.server_header or "server" in dict(options.header) else ("server",)
    filters = (Headers(default=options.header, remove=removed),) if options.header or removed else ()
    match = Match(kind="prefix", value="/")
    route = Route(name="root", match=match, filters=tuple(range(len(filters))), handler=handler)
    return Plan(
        listeners=tuple(Listener(address=address, alpn=options.alpn) for address in options.listen),
        tls=Tls(
            certificates=(certificate,),
            profiles=Profiles(default=options.profile, permit=options.permit),
            client_auth=_client_auth(options),
            fallback=Fallback(alpn=options.fallback_alpn, host=options.fallback_host, port=options.fallback_port),
        ),
        limits=Limits(
            max_sessions=options.max_sessions,
            max_datagram_size=options.max_datagram_size,
            idle_timeout_ms=options.idle_timeout,
        ),
        sites=(Site(routes=(route,)),),
        filters=filters,
        trusted_proxies=options.trusted_proxies,
        proxy_protocol=ProxyProtocol(trusted=options.proxy_protocol) if options.proxy_protocol else None,
        log=Log(access=options.access_log),
        workers=options.threads,
    )


def _client_auth(options: ServeOptions) -> ClientAuth | None:
    if options.client_ca is None:
        return None
    return ClientAuth(
        roots_file=options.client_ca.absolute(),
        mode=options.client_auth or "request",
        revocation_files=tuple(path.absolute() for path in options.client_crl),
    )
