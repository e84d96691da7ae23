"""From checked options to a running server, and what it says of itself when it stands."""

from __future__ import annotations

import contextlib
import math
import resource
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from velocity.errors import ConfigError, StartError
from velocity.files import sibling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from velocity.config.options import ServeOptions
    from velocity.config.plan import Certificate
    from velocity.config.program import Program
    from velocity.server.reload import Reloader

__all__ = ["Launch", "Runtime", "announce", "prepare", "run"]

_GROUPS = {
    "light": "X25519MLKEM512",
    "balanced": "X25519MLKEM768",
    "secure": "X25519MLKEM1024, SecP384r1MLKEM1024",
}
_ANY_ADDRESS = {"0.0.0.0", "[::]"}  # noqa: S104


class Runtime(NamedTuple):
    """What concerns this process and not the Plan."""

    log_format: Literal["json", "text"] | None = None
    """`json`, `text`, or None for whichever fits standard error."""
    verbosity: int = 0
    grace: float | None = None
    """Seconds for requests in flight once the server is told to stop; None is for ever."""

    @classmethod
    def check(cls, log_format: str | None, verbosity: int, grace: float | None) -> Runtime:
        """Refuse what cannot be.

        Raises:
            ConfigError: an unknown log format.
        """
        if log_format not in (None, "json", "text"):
            raise ConfigError("OPTION_INVALID", f"--log-format: unknown format {log_format!r}", "choose json or text")
        return cls(cast("Literal['json', 'text'] | None", log_format), verbosity, grace)


class Launch(NamedTuple):
    """Everything a start needs, in plain values."""

    plan: str
    """Canonical JSON."""
    chain_file: str
    certificate_files: tuple[str, ...]
    """All files of the certificate: chains and keys."""
    trust_file: str
    """What a client passes with --cacert; empty where it is not ours to say."""
    good_until: float
    """Unix time at which a self-signed certificate wants to be made anew; infinity for others."""
    domains: tuple[str, ...]
    alpn: tuple[str, ...]
    profile: str
    root: str
    programs: tuple[Program, ...]
    """Applications of the Plan."""
    runtime: Runtime


def prepare(options: ServeOptions, runtime: Runtime) -> Launch:
    """Check the folder, see to the certificate, compile the Plan.

    Raises:
        StartError: the folder cannot be served, the certificate not be kept beside it, or the name of either
            not be written in a Plan.
    """
    from velocity.config.compile import compile_plan

    root = options.root.absolute()
    _check_root(root)
    good_until, trust_file = math.inf, None
    if options.cert is not None and options.key is not None:
        chain_file, key_file = options.cert.absolute(), options.key.absolute()
    else:
        from velocity.pki import self_signed

        chain_file, key_file, trust_file, good_until = self_signed.ensure(root, options.domain)
    for path in (root, chain_file, key_file):
        _check_name(path)
    certificate = find_certificate(chain_file, key_file)
    plan = compile_plan(options, certificate)
    return Launch(
        plan=plan.to_json(),
        chain_file=str(chain_file),
        certificate_files=tuple(str(path) for path in certificate.model_dump().values() if path is not None),
        trust_file=str(trust_file or ""),
        good_until=good_until,
        domains=options.domain,
        alpn=options.alpn,
        profile=options.profile,
        root=_what(options, root),
        programs=() if options.program is None else (options.program,),
        runtime=runtime,
    )


def _what(options: ServeOptions, root: Path) -> str:
    """What is served, in a few words."""
    words = ([] if options.app is None else [options.app]) + ([str(root)] if options.has_files else [])
    return " and ".join(words)


def find_certificate(chain_file: Path, key_file: Path) -> Certificate:
    """A chain and a key, and what lies beside them: the ML-DSA key of a hybrid chain, and its lean sibling.

    Raises:
        StartError: the chain is hybrid and there is no ML-DSA key for it (`CERT_INCOMPLETE`).
    """
    from velocity._core import certificate_facts
    from velocity.config.plan import Certificate

    try:
        level = certificate_facts(str(chain_file))["ml_dsa_level"]
    except StartError:
        level = None  # the engine says what is wrong with it
    alternative, lean = sibling(key_file, "mldsa"), sibling(chain_file, "classical")
    if level is not None and not alternative.is_file():
        raise StartError(
            "CERT_INCOMPLETE",
            f"{chain_file} is hybrid, and there is no {level} key at {alternative}",
            "put that key there; or serve the lean chain, and no velocity/1, with --cert",
        )
    return Certificate(
        chain_file=chain_file,
        key_file=key_file,
        alternative_key_file=None if level is None else alternative,
        classical_chain_file=lean if level is not None and lean.is_file() else None,
    )


def run(launch: Launch, say: Callable[[str], None]) -> int:
    """Serve until told to stop.

    Args:
        launch: from `prepare`.
        say: where the announcement goes, line by line.

    Returns:
        The exit code.

    Raises:
        StartError: the server could not start; nothing is left behind.
        ApplicationError: so could an application.
    """
    from velocity.telemetry import logs

    logs.configure(launch.runtime.log_format, launch.runtime.verbosity)
    return supervise(launch, lambda addresses: announce(launch, addresses, say))


def serve_application(application: Any, options: dict[str, Any]) -> int:
    """Serve an application that is there already, or by its name; see `velocity.asgi.serve`."""
    import sys

    from velocity.config.options import ServeOptions
    from velocity.telemetry import logs

    values = dict(options)
    runtime = Runtime.check(values.pop("log_format", None), values.pop("verbose", 0), values.pop("grace_period", None))
    if values.get("cert") is None:
        values.setdefault("self_signed", True)
    named = isinstance(application, str)
    prepared = prepare(ServeOptions.check({**values, "app": application if named else "__main__:app"}), runtime)
    logs.configure(runtime.log_format, runtime.verbosity)
    program = prepared.programs[0]
    if program.workers is not None and not named:
        raise ConfigError(
            "WORKERS_INVALID",
            "workers import the application, and this one is there already",
            'name it instead: serve("MODULE:ATTRIBUTE", ...)',
        )

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    shown = prepared if named else prepared._replace(root=type(application).__name__)
    loaded = {} if named else {program.name: application}
    return supervise(prepared, lambda addresses: announce(shown, addresses, say), loaded=loaded)


def supervise(
    launch: Launch,
    on_start: Callable[[list[str]], None],
    reloader: Reloader | None = None,
    loaded: Mapping[str, Any] | None = None,
) -> int:
    """Serve in the way that the Plan asks for: where there are applications, their event loop has the main thread.

    `loaded` are applications that are there already, by the name of their program.
    """
    _raise_descriptor_limit()
    if launch.programs:
        from velocity.server import hosting

        return hosting.serve(launch.plan, launch.programs, launch.runtime.grace, on_start, reloader, loaded)
    from velocity.server import supervisor

    return supervisor.serve(launch.plan, launch.runtime.grace, on_start, reloader)


def _raise_descriptor_limit() -> None:
    """Each connection, site and open file takes a descriptor: use as many as the administrator allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def announce(launch: Launch, addresses: list[str], say: Callable[[str], None]) -> None:
    """Say what is served where, and how to fetch it."""
    from velocity._core import certificate_facts

    facts = certificate_facts(launch.chain_file)
    names = launch.domains or tuple(facts["names"])[:1] or ("localhost",)
    urls = [url for address in addresses for url in _urls(address, names)]
    say(f"Serving {launch.root}")
    for url in urls:
        say(f"  {url}")
    udp = [name for name in launch.alpn if name in ("velocity/1", "h3")]
    tcp = [name for name in launch.alpn if name in ("h2", "http/1.1")]
    carriers = [f"{', '.join(names)} over {kind}" for kind, names in (("UDP", udp), ("TCP", tcp)) if names]
    say(f"  protocols    {'; '.join(carriers)}")
    say(f"  profile      {launch.profile} ({_GROUPS[launch.profile]})")
    kind = "self-signed, " if launch.trust_file else ""
    kind += f"hybrid with {facts['ml_dsa_level']}" if facts["ml_dsa_level"] else "classical"
    say(f"  certificate  SHA-256 {facts['sha256']} ({kind})")
    if "velocity/1" in launch.alpn and not facts["ml_dsa_level"]:
        say("  velocity/1   off: that takes a hybrid certificate; velocity cert hybridize makes one from yours")
    say(f"  fetch it     {_command(launch, addresses[0], urls[0], facts['names'])}")


def _command(launch: Launch, address: str, url: str, names: list[str]) -> str:
    """What fetches the site from this machine. A name made up with --domain may lead anywhere or nowhere."""
    if not launch.trust_file:
        return f"velocity client get {url}"
    if "localhost" in names:
        from shlex import quote

        return f"velocity client get {url} --cacert {quote(launch.trust_file)}"
    return f"velocity client get {_urls(address, ('localhost',))[0]} --insecure"


def _urls(address: str, names: tuple[str, ...]) -> list[str]:
    """The URLs of one listener: by every name where it serves every address, else by its own address."""
    host, _, port = address.rpartition(":")
    suffix = "" if port == "443" else f":{port}"
    hosts = names if host in _ANY_ADDRESS or host in ("127.0.0.1", "[::1]") else (host, *names)
    plain = [name for name in hosts if not name.startswith("*")] or [host]
    return [f"https://{f'[{name}]' if ':' in name and not name.startswith('[') else name}{suffix}/" for name in plain]


def _check_name(path: Path) -> None:
    """A Plan is JSON, which holds Unicode only (RFC 8259 section 8.1)."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise StartError("PATH_INVALID", f"the path {path} is not UTF-8", "rename it, or link to it") from None


def _check_root(root: Path) -> None:
    hint = "pass the folder of your site with --root DIR"
    if not root.exists():
        raise StartError("ROOT_MISSING", f"there is no folder {root}", hint)
    if not root.is_dir():
        raise StartError("ROOT_INVALID", f"{root} is not a folder", hint)
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise StartError("ROOT_UNREADABLE", f"cannot read {root}: {error.strerror}", hint) from error
