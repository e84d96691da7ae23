"""`velocity ca`: the authority itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velocity.cli import authority, style

if TYPE_CHECKING:
    from velocity.pki.chain import Usage

__all__ = ["app"]

INIT_EXAMPLES = """\b
Examples:
  velocity ca init
  velocity ca init --passphrase-file pass.txt --policy ca.yaml
  velocity ca init --intermediate --root-keys /media/usb --profile secure
"""
SIGN_EXAMPLES = """\b
Examples:
  velocity ca sign --csr request.pem --out certs
"""
REVOKE_EXAMPLES = """\b
Examples:
  velocity ca revoke certs/localhost/fullchain.pem --reason key_compromise
  velocity ca revoke 36ce407c31416c191b5eb5fd0919d0d83cf08b98
"""
CRL_EXAMPLES = """\b
Examples:
  velocity ca crl --out crl.pem
"""
EXPORT_EXAMPLES = """\b
Examples:
  velocity ca export-root --out root.pem
"""
TRUST_EXAMPLES = """\b
Examples:
  velocity ca trust --dry-run
  velocity ca trust
"""
UNTRUST_EXAMPLES = """\b
Examples:
  velocity ca untrust
"""
app = typer.Typer(help="Run an authority of your own.", no_args_is_help=True, rich_markup_mode=None)

_Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write.  [default: stdout]")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@app.command("init", epilog=INIT_EXAMPLES)
def init(
    ca: authority.CaOption = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the root is called.")] = "Velocity CA",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="Strength of its keys: light, balanced or secure.")
    ] = "balanced",
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="What it may issue, YAML.  [default: anything]")
    ] = None,
    intermediate: Annotated[
        bool, typer.Option("--intermediate", help="Issue from an authority below the root.")
    ] = False,
    root_keys: Annotated[
        Path | None, typer.Option("--root-keys", metavar="DIR", help="Keep the root's keys there, to go offline.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", metavar="FILE", help="Encrypt the keys.  [default: VELOCITY_CA_PASSPHRASE]"),
    ] = None,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Encrypt the keys; the system's keyring holds the passphrase.")
    ] = False,
) -> int:
    """Make an authority: a root that certifies hybrid keys.

    Its policy is ca.yaml in its folder, to be edited at any time.
    """
    from velocity.errors import ConfigError
    from velocity.pki import founding, passphrases
    from velocity.pki import policy as policies
    from velocity.pki.ca import default_directory

    directory = ca or default_directory()
    try:
        rules = policies.TEMPLATE if policy is None else policy.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError("CA_POLICY_INVALID", f"cannot read the policy {policy}: {why}") from error
    secret = passphrases.for_new(directory, passphrase_file, keyring=keyring)
    made = founding.create(
        directory,
        name=name,
        profile=authority.profile(profile),
        rules=rules,
        intermediate=intermediate,
        root_keys=root_keys,
        passphrase=secret,
    )
    style.note(f"Made {made.root.subject} in {directory}")
    if secret is None:
        style.note("  its keys are not encrypted: only file permissions protect them (--passphrase-file, --keyring)")
    if root_keys is not None:
        style.note(f"  the keys of its root are in {root_keys}: take them offline")
    style.note("  trust it     velocity ca trust")
    style.note("  issue        velocity cert issue --dns localhost")
    return 0


@app.command("sign", epilog=SIGN_EXAMPLES)
def sign(
    csr: Annotated[Path, typer.Option("--csr", metavar="FILE", help="The request, PEM or DER.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path(),
    client: authority.ClientOption = False,
    lifetime: authority.LifetimeOption = None,
    ca: authority.CaOption = None,
    passphrase_file: authority.PassphraseOption = None,
) -> int:
    """Certify the keys of a request (CSR), which has to prove that both are held.

    Writes fullchain.pem, fullchain.classical.pem and root.pem.
    """
    from velocity.errors import PkiError
    from velocity.pki import bundle

    try:
        data = csr.read_bytes()
    except OSError as error:
        raise PkiError("CSR_INVALID", f"cannot read {csr}: {error.strerror}") from error
    usage: Usage = "client" if client else "server"
    span = authority.lifetime(lifetime)
    issued = authority.find(ca, passphrase_file).sign_request(data, usage=usage, lifetime=span)
    authority.say_written(bundle.write(issued, out), issued.names[0], serve=False)
    return 0


@app.command("revoke", epilog=REVOKE_EXAMPLES)
def revoke(
    what: Annotated[str, typer.Argument(metavar="FILE|SERIAL", help="A certificate, or its serial number in hex.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="REASON", help="key_compromise, superseded and others.")
    ] = "unspecified",
    ca: authority.CaOption = None,
    passphrase_file: authority.PassphraseOption = None,
) -> int:
    """Revoke a certificate, hybrid and lean alike. It counts for others from the next `velocity ca crl` on."""
    from velocity.errors import PkiError
    from velocity.pki import chain, hybrid, revocation

    if Path(what).is_file():
        serial = hybrid.read(chain.load(Path(what))[0]).plain.serial_number
    else:
        try:
            serial = int(what.replace(":", ""), 16)
        except ValueError:
            message = f"{what} is neither a file nor a serial number"
            raise PkiError("SERIAL_UNKNOWN", message, "velocity cert inspect shows serial numbers") from None
    names = revocation.revoke(authority.find(ca, passphrase_file), serial, reason)
    style.note(f"Revoked {style.plain(', '.join(names))}")
    style.note("  publish it   velocity ca crl --out crl.pem")
    return 0


@app.command("crl", epilog=CRL_EXAMPLES)
def crl(out: _Out = None, ca: authority.CaOption = None, passphrase_file: authority.PassphraseOption = None) -> int:
    """Make a fresh revocation list, with both signatures."""
    from velocity.pki import revocation

    authority.write_text(revocation.revocation_list(authority.find(ca, passphrase_file)), out)
    return 0


@app.command("export-root", epilog=EXPORT_EXAMPLES)
def export_root(out: _Out = None, ca: authority.CaOption = None) -> int:
    """Print the root's certificate, for others to trust."""
    authority.write_text(authority.find(ca).root_pem, out)
    return 0


@app.command("trust", epilog=TRUST_EXAMPLES)
def trust(dry_run: _DryRun = False, ca: authority.CaOption = None) -> int:
    """Make this machine trust the root: the system's store, and the NSS databases of browsers."""
    return _change_trust(ca, dry_run=dry_run, remove=False)


@app.command("untrust", epilog=UNTRUST_EXAMPLES)
def untrust(dry_run: _DryRun = False, ca: authority.CaOption = None) -> int:
    """Make this machine stop trusting the root."""
    return _change_trust(ca, dry_run=dry_run, remove=True)


def _change_trust(ca: Path | None, *, dry_run: bool, remove: bool) -> int:
    from velocity.pki import trust as stores

    for step in stores.plan(authority.find(ca).directory / "root.pem", remove=remove):
        if dry_run:
            print(step.command)
        else:
            style.note(step.command)
            step.run()
    return 0
