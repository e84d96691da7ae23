"""What the verbs of `velocity cert` and `velocity ca` have in common: options, and finding the authority."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velocity.cli import style

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from velocity.pki.bundle import Written
    from velocity.pki.ca import Authority
    from velocity.pki.keys import Profile

__all__ = [
    "CaOption",
    "ClientOption",
    "JsonOption",
    "LifetimeOption",
    "PassphraseOption",
    "canonical",
    "find",
    "lifetime",
    "passphrase",
    "profile",
    "roots",
    "say_written",
    "write_text",
]

CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="DIR", help="The authority's folder.  [default: VELOCITY_CA_DIR, ~/.local/share/velocity/ca]"
    ),
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Passphrase of the authority's keys.  [default: VELOCITY_CA_PASSPHRASE, the keyring, or asked for]",
    ),
]
LifetimeOption = Annotated[
    str | None,
    typer.Option("--lifetime", metavar="TIME", help="How long it is good: 7d, 36h.  [default: what the policy says]"),
]
ClientOption = Annotated[bool, typer.Option("--client", help="For a client that authenticates itself.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]


def find(directory: Path | None, passphrase_file: Path | None = None) -> Authority:
    """The authority to work with.

    Raises:
        PkiError: there is none.
    """
    from velocity.pki.ca import Authority, default_directory

    directory = directory or default_directory()
    return Authority.open(directory, passphrase(directory, passphrase_file))


def passphrase(directory: Path, file: Path | None) -> Callable[[], str | None]:
    """Where the passphrase comes from, once it is needed: a file, the environment, the keyring, or who is asked."""

    def ask() -> str | None:
        from velocity.pki import passphrases

        found = passphrases.find(directory, file)
        if found is None and sys.stdin.isatty():
            found = str(typer.prompt(f"Passphrase of {directory}", hide_input=True, err=True))
        return found

    return ask


def canonical(dns: list[str], ip: list[str]) -> list[str]:
    """Names from --dns and --ip as they stand in certificates.

    Raises:
        ConfigError: one is no name, or no address.
    """
    import ipaddress

    from velocity.config.values import parse_domain, usage
    from velocity.errors import ConfigError

    names = [usage("--dns", parse_domain, name) for name in dns]
    for text in ip:
        try:
            names.append(str(ipaddress.ip_address(text.strip("[]"))))
        except ValueError:
            raise ConfigError(
                "OPTION_INVALID", f"--ip: {text!r} is no address", "write 192.0.2.1 or 2001:db8::1"
            ) from None
    if not names:
        raise ConfigError("OPTION_INVALID", "there is no name to certify", "pass --dns NAME or --ip ADDRESS")
    return list(dict.fromkeys(names))


def profile(text: str) -> Profile:
    """A profile by name or alias.

    Raises:
        ConfigError: there is none of this name.
    """
    from velocity.config.values import parse_profile, usage

    return usage("--profile", parse_profile, text)


def lifetime(text: str | None) -> dt.timedelta | None:
    """A length of time.

    Raises:
        ConfigError: it is none.
    """
    from velocity.errors import ConfigError
    from velocity.pki.policy import duration

    try:
        return None if text is None else duration(text)
    except ValueError as error:
        raise ConfigError("OPTION_INVALID", f"--lifetime: {text!r} is no length of time", str(error)) from None


def roots(cacert: Path | None, directory: Path | None = None) -> list[bytes]:
    """Trusted roots, DER: of --cacert, or of the authority on this machine; none where there is neither."""
    from velocity.pki import chain
    from velocity.pki.ca import default_directory

    if cacert is not None:
        return chain.load(cacert)
    own = (directory or default_directory()) / "root.pem"
    return chain.load(own) if own.is_file() else []


def write_text(content: bytes, out: Path | None) -> None:
    """PEM to a file, or to stdout.

    Raises:
        ClientError: the file cannot be written.
    """
    from velocity.errors import ClientError
    from velocity.pki.storage import write_all

    if out is None:
        sys.stdout.write(content.decode())
        return
    try:
        write_all({}, {out: content})
    except OSError as error:
        raise ClientError("OUTPUT_UNWRITABLE", f"cannot write to {out}: {error.strerror}") from error


def say_written(written: Written, name: str, *, serve: bool = True) -> None:
    """What was written where, and what to do with it."""
    from shlex import quote

    style.note(f"Wrote {', '.join(written.names)} to {written.chain.parent}")
    if serve:
        host = f"[{name}]" if ":" in name else name.replace("*", "www")
        style.note(f"  serve it     velocity serve --cert {quote(str(written.chain))} --key {quote(str(written.key))}")
        style.note(f"  fetch it     velocity client get https://{host}:4433/ --cacert {quote(str(written.root))}")
