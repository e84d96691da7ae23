"""`velocity cert inspect` and `velocity cert verify`: certificates are read."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from velocity.cli import authority, style

__all__ = ["INSPECT_EXAMPLES", "VERIFY_EXAMPLES", "inspect", "verify"]

INSPECT_EXAMPLES = """\b
Examples:
  velocity cert inspect fullchain.pem
  velocity cert inspect fullchain.pem --json
"""
VERIFY_EXAMPLES = """\b
Examples:
  velocity cert verify fullchain.pem --cacert root.pem --name localhost
  velocity cert verify fullchain.pem --crl crl.pem --profile secure --json
"""
_File = Annotated[Path, typer.Argument(metavar="FILE", help="Certificates, PEM, leaf first.")]
_Cacert = Annotated[
    Path | None,
    typer.Option("--cacert", metavar="FILE", help="PEM roots.  [default: the root of the authority on this machine]"),
]


def inspect(file: _File, cacert: _Cacert = None, as_json: authority.JsonOption = False) -> int:
    """Show what is in certificates: both keys, both signatures and whether they hold, days left.

    Exits with 1 if a signature does not hold.
    """
    from velocity.pki import chain
    from velocity.pki.inspection import inspect as look

    found = look(chain.load(file), authority.roots(cacert), dt.datetime.now(dt.UTC))
    if as_json:
        print(json.dumps({"file": str(file), "certificates": found}, indent=2))
    else:
        for number, facts in enumerate(found):
            _print(number, facts)
    halves = [half for facts in found for half in (facts["classical"], facts["alternative"]) if half is not None]
    return 1 if any(half["verified"] is False for half in halves) else 0


def verify(
    file: _File,
    cacert: _Cacert = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="DNS name or IP address it has to be good for.")
    ] = None,
    crl: Annotated[
        list[Path] | None, typer.Option("--crl", metavar="FILE", help="Revocation list; repeatable.")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="The strength of ML-DSA it needs at least.")
    ] = "light",
    client: authority.ClientOption = False,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As of 2026-12-24 or 2026-12-24T18:00:00+01:00.")
    ] = None,
    as_json: authority.JsonOption = False,
) -> int:
    """Verify a chain twice, classically and by ML-DSA, as a client of velocity/1 does.

    Exits with 0 only if both hold up to a trusted root.
    """
    from velocity.errors import ChainError, ConfigError
    from velocity.pki import chain
    from velocity.pki.keys import PROFILES

    trusted = authority.roots(cacert)
    if not trusted:
        raise ConfigError("OPTION_INVALID", "there is no root to trust", "pass the authority's with --cacert FILE")
    try:
        passed = chain.verify(
            chain.load(file),
            trusted,
            at=_time(at),
            name=name,
            usage="client" if client else "server",
            revocation=[_read(path) for path in crl or []],
            at_least=PROFILES[authority.profile(profile)][1],
        )
    except ChainError as error:
        if not as_json:
            raise
        said = {"code": error.code, "cause": error.cause, "link": error.link, "subject": error.subject}
        print(json.dumps({"ok": False, **said, "message": error.message, "hint": error.hint}, indent=2))
        return 1
    path = [certificate.subject for certificate in passed.path]
    if as_json:
        print(json.dumps({"ok": True, "path": path, "level": passed.level}, indent=2))
    else:
        print(f"verified  {style.plain(' < '.join(path))}; classical and {passed.level}")
    return 0


def _time(text: str | None) -> dt.datetime:
    from velocity.errors import ConfigError

    if text is None:
        return dt.datetime.now(dt.UTC)
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        hint = "write 2026-12-24 or 2026-12-24T18:00:00+01:00"
        raise ConfigError("OPTION_INVALID", f"--at: {text!r} is no time", hint) from None
    return when if when.tzinfo else when.replace(tzinfo=dt.UTC)


def _read(path: Path) -> bytes:
    from velocity.errors import PkiError

    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError("CRL_UNREADABLE", f"cannot read {path}: {error.strerror}") from error


_VERDICTS = {True: "verified", False: "DOES NOT VERIFY", None: "not checked: its issuer is not at hand"}


def _print(number: int, facts: dict[str, Any]) -> None:
    """A certificate as text."""
    kind = "hybrid" if facts["hybrid"] else "classical"
    what = f"{kind} {'authority' if facts['authority'] else 'certificate'}"
    rows = [
        ("issuer", facts["issuer"]),
        ("names", ", ".join(facts["names"]) or "none"),
        ("valid", f"{facts['not_before'][:10]} to {facts['not_after'][:10]}, {facts['days_left']} days left"),
    ]
    for title, half in (("classical", facts["classical"]), ("post-quantum", facts["alternative"])):
        text = "none"
        if half is not None:
            text = (
                f"{half['key'] or 'no key'}; signature {half['signature'] or 'missing'}, {_VERDICTS[half['verified']]}"
            )
        rows.append((title, text))
    if facts["related_sha256"]:
        rows.append(("belongs with", f"SHA-256 {facts['related_sha256']}"))
    rows += [("serial", facts["serial"]), ("SHA-256", facts["sha256"]), ("size", f"{facts['size']} bytes")]
    print(style.plain(f"{number}  {facts['subject']}: {what}"))
    for title, text in rows:
        print(f"   {title:<13}{style.plain(text)}")
