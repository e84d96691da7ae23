"""`velocity cert issue`, `request` and `hybridize`: certificates come into being."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velocity.cli import authority, style

if TYPE_CHECKING:
    from velocity.pki.keys import KeyType

__all__ = ["HYBRIDIZE_EXAMPLES", "ISSUE_EXAMPLES", "REQUEST_EXAMPLES", "hybridize", "issue", "request"]

ISSUE_EXAMPLES = """\b
Examples:
  velocity cert issue --dns localhost --ip 127.0.0.1
  velocity cert issue --dns example.com --dns '*.example.com' --out /etc/velocity/certs
  velocity cert issue --dns worker-7.internal --client --lifetime 24h --out client
"""
REQUEST_EXAMPLES = """\b
Examples:
  velocity cert request --dns example.com --out certs
"""
HYBRIDIZE_EXAMPLES = """\b
Examples:
  velocity cert hybridize --chain live/fullchain.pem --key live/privkey.pem --out /etc/velocity/certs
"""

_Dns = Annotated[list[str] | None, typer.Option("--dns", metavar="NAME", help="DNS name; repeatable.")]
_Ip = Annotated[list[str] | None, typer.Option("--ip", metavar="ADDRESS", help="IP address; repeatable.")]
_Profile = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="light (turbo), balanced or secure (fortress).")
]
_KeyType = Annotated[
    str | None,
    typer.Option("--key-type", metavar="TYPE", help="p256, p384 or ed25519.  [default: what the profile negotiates]"),
]


def _folder(out: Path | None, name: str) -> Path:
    return out or Path("certs") / name.replace("*", "_wildcard").replace(":", "-")


def issue(
    dns: _Dns = None,
    ip: _Ip = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write.  [default: certs/NAME]")
    ] = None,
    profile: _Profile = "balanced",
    client: authority.ClientOption = False,
    lifetime: authority.LifetimeOption = None,
    key_type: _KeyType = None,
    ca: authority.CaOption = None,
    passphrase_file: authority.PassphraseOption = None,
) -> int:
    """Make keys and certify them with the Velocity CA.

    Writes fullchain.pem (hybrid), fullchain.classical.pem (for clients without post-quantum signatures),
    privkey.pem, privkey.mldsa.pem and root.pem.
    """
    from velocity.pki import bundle

    names = authority.canonical(dns or [], ip or [])
    wanted, kind, span = authority.profile(profile), _key_type(key_type), authority.lifetime(lifetime)
    issued = authority.find(ca, passphrase_file).issue(
        names, profile=wanted, key_type=kind, usage="client" if client else "server", lifetime=span
    )
    authority.say_written(bundle.write(issued, _folder(out, names[0])), names[0], serve=not client)
    style.note(f"  good until   {issued.leaf.plain.not_valid_after_utc:%Y-%m-%d %H:%M}Z")
    return 0


def request(
    dns: _Dns = None,
    ip: _Ip = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write.  [default: certs/NAME]")
    ] = None,
    profile: _Profile = "balanced",
    key_type: _KeyType = None,
) -> int:
    """Make keys, and a request (CSR) for somebody else's authority to certify them.

    Writes request.pem, privkey.pem and privkey.mldsa.pem. The request proves that both keys are held.
    """
    from velocity.pki import enrolment

    names = authority.canonical(dns or [], ip or [])
    path = enrolment.request(
        names, _folder(out, names[0]), profile=authority.profile(profile), key_type=_key_type(key_type)
    )
    style.note(f"Wrote {path}, and its keys beside it")
    style.note(f"  sign it      velocity ca sign --csr {path} --out {path.parent}")
    return 0


def hybridize(
    chain: Annotated[Path, typer.Option("--chain", metavar="FILE", help="Classical chain, PEM, leaf first.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Its private key, PEM.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")],
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="light, balanced or secure.  [default: what suits the key]"),
    ] = None,
    ca: authority.CaOption = None,
    passphrase_file: authority.PassphraseOption = None,
) -> int:
    """Add a hybrid certificate to one of a public authority: same names, same classical key, same expiry.

    Browsers go on to get the chain that they trust, as fullchain.classical.pem; fullchain.pem is for velocity/1.
    """
    from velocity.pki import bundle, keys
    from velocity.pki import chain as chains
    from velocity.pki.hybridize import hybridize as add_hybrid

    wanted = None if profile is None else authority.profile(profile)
    issued = add_hybrid(authority.find(ca, passphrase_file), chains.load(chain), keys.load_classical(key), wanted)
    authority.say_written(bundle.write(issued, out), issued.names[0])
    style.note(f"  good until   {issued.leaf.plain.not_valid_after_utc:%Y-%m-%d %H:%M}Z")
    return 0


def _key_type(text: str | None) -> KeyType | None:
    from velocity.errors import ConfigError
    from velocity.pki.keys import KEY_TYPES

    word = (text or "").lower()
    for known in KEY_TYPES:
        if word == known:
            return known
    if text is None:
        return None
    raise ConfigError("OPTION_INVALID", f"--key-type: unknown key type {text!r}", f"known are {', '.join(KEY_TYPES)}")
