"""From configuration files to a running server, and again whenever they change."""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING, NamedTuple

from velocity.errors import ConfigError, VelocityError
from velocity.server.launch import Launch, Runtime, announce, find_certificate, supervise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from velocity.config.configuration import Configuration
    from velocity.config.plan import Plan
    from velocity.config.source import Given

__all__ = ["Prepared", "Request", "prepare", "run"]

_MAX_SHOWN = 5
"""Names of sites in the announcement."""


class Request(NamedTuple):
    """What a server was started with, so that the same can be done again."""

    config: Path | None
    edge: Path | None
    given: dict[str, Given]
    """Flags and variables, by parameter."""
    runtime: Runtime


class Prepared(NamedTuple):
    """A configuration and what becomes of it."""

    launch: Launch
    configuration: Configuration
    plan: Plan


def prepare(request: Request) -> Prepared:
    """Read and check the files, see to the certificates, compile the Plan.

    Raises:
        InvalidConfigError: the files say something that cannot be, or name what is not there.
        ConfigError: there is no certificate.
        StartError: a certificate cannot be used, or not be kept.
    """
    from velocity.config.configuration import without_collection

    with without_collection():
        return _prepare(request)


def _prepare(request: Request) -> Prepared:
    from velocity.config.configuration import open_configuration
    from velocity.config.problems import InvalidConfigError

    configuration = open_configuration(request.config, request.edge, request.given)
    missing = configuration.missing()
    if missing:
        raise InvalidConfigError(missing)
    good_until, trust_file = math.inf, None
    pairs = configuration.certificates
    if not pairs:
        if not configuration.simple.server.tls.self_signed:
            raise ConfigError(
                "CERT_MISSING",
                "there is no certificate to serve with",
                "set server.tls.certificate and private_key, or self_signed: true to try things out",
            )
        from velocity.pki import self_signed

        root = configuration.root or configuration.tree.folder(())
        chain_file, key_file, trust_file, good_until = self_signed.ensure(root.absolute(), configuration.names)
        pairs = ((chain_file, key_file),)
    certificates = tuple(find_certificate(chain.absolute(), key.absolute()) for chain, key in pairs)
    plan = configuration.plan(certificates)
    hosts = [host for site in plan.sites for host in site.hosts if not host.startswith("*")]
    launch = Launch(
        plan=plan.to_json(),
        chain_file=str(certificates[0].chain_file),
        certificate_files=tuple(
            str(path) for one in certificates for path in one.model_dump().values() if path is not None
        ),
        trust_file=str(trust_file or ""),
        good_until=good_until,
        domains=tuple(hosts[:_MAX_SHOWN]),
        alpn=plan.listeners[0].alpn,
        profile=plan.tls.profiles.default,
        root=_what(request),
        programs=configuration.programs,
        runtime=_runtime(request.runtime, configuration),
    )
    return Prepared(launch, configuration, plan)


def _what(request: Request) -> str:
    """What is served, in a few words: the files that say so, else the folder and the upstreams of the flags."""
    files = [str(path) for path in (request.config, request.edge) if path is not None]
    if files:
        return " and ".join(files)
    flags = [request.given[name].value for name in ("root", "proxy") if name in request.given]
    words = [word for value in flags for word in ([value] if isinstance(value, str) else value)]
    return " and ".join(words[:_MAX_SHOWN])


def run(request: Request, say: Callable[[str], None]) -> int:
    """Serve until told to stop, following every change of the files.

    Args:
        request: what to serve.
        say: where the announcement goes, line by line.

    Returns:
        The exit code.

    Raises:
        ConfigError, StartError: the server could not start; nothing is left behind.
    """
    from velocity.config.configuration import without_collection

    with without_collection():
        prepared = prepare(request)
        gc.freeze()  # what there is now stays: no collection has to look at it
    from velocity.server import judge
    from velocity.server.reload import Reloader, warn
    from velocity.telemetry import logs

    launch = prepared.launch
    logs.configure(launch.runtime.log_format, launch.runtime.verbosity)
    warn(prepared.configuration)
    reloader = Reloader(request, prepared)
    try:
        return supervise(launch, lambda addresses: announce(launch, addresses, say), reloader)
    except VelocityError as error:
        raise judge.located(prepared.configuration, error) from None


def _runtime(given: Runtime, configuration: Configuration) -> Runtime:
    """What flags say of the process, else what the file says."""
    structured = configuration.simple.tells.structured_logs
    log_format = given.log_format
    if log_format is None and structured is not None:
        log_format = "json" if structured else "text"
    grace = configuration.simple.server.grace_period
    return given._replace(log_format=log_format, grace=None if grace is None else grace / 1000)
