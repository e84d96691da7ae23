"""Making an authority: its keys, its certificates, its policy, and the first line of its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes

from velocity.errors import PkiError
from velocity.pki import bundle, hybrid, keys, policy, templates
from velocity.pki.ca import Authority, default_directory, system_clock
from velocity.pki.storage import locked, private_directory, write_all

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from pathlib import Path

    from velocity.pki.keys import HybridKey, Profile
    from velocity.pki.policy import Policy

__all__ = ["create"]


def create(
    directory: Path | None = None,
    *,
    name: str = "Velocity CA",
    profile: Profile = "balanced",
    rules: str = policy.TEMPLATE,
    intermediate: bool = False,
    root_keys: Path | None = None,
    passphrase: str | None = None,
    clock: Callable[[], dt.datetime] = system_clock,
) -> Authority:
    """Make an authority.

    Args:
        directory: where; `default_directory()` when None.
        name: common name of the root, at most 56 characters.
        profile: strength of its keys.
        rules: the policy, YAML.
        intermediate: whether an authority below the root does the issuing.
        root_keys: another folder for the root's keys, to be taken offline; needs an intermediate.
        passphrase: encrypts every key.
        clock: what time it is, with a time zone.

    Raises:
        PkiError: there is one already (`CA_EXISTS`), the folder cannot be written (`CA_UNWRITABLE`), the name is
            none (`CA_NAME_INVALID`), or nothing would be there to issue with (`CA_NO_ISSUER`).
        ConfigError: the policy cannot be (`CA_POLICY_INVALID`).
    """
    directory = directory or default_directory()
    allowed = policy.parse(rules)
    if not 1 <= len(name) <= 56 or not name.isprintable():
        raise PkiError("CA_NAME_INVALID", f"{name!r} names no authority", "write 1 to 56 characters")
    if root_keys is not None and not intermediate:
        message = "a root whose keys are elsewhere cannot issue"
        raise PkiError("CA_NO_ISSUER", message, "add --intermediate, which then does the issuing")
    root_file = directory / "root.pem"
    try:
        private_directory(directory)
        if root_keys is not None:
            root_keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory):
            for there in (root_file, (root_keys or directory) / "root-key.pem"):
                if there.exists():
                    message = f"there is an authority already: {there} exists"
                    raise PkiError("CA_EXISTS", message, "choose another folder with --ca DIR")
            private, public, key = _make(
                directory, allowed, name, profile, intermediate, root_keys, passphrase, clock()
            )
            public[directory / "ca.yaml"] = rules.encode()
            root = public.pop(root_file)
            write_all(private, public)
            write_all({}, {root_file: root})  # last: with it, the authority is there
            made = Authority(directory, lambda: passphrase, clock, key)
            fingerprint = made.root.plain.fingerprint(hashes.SHA256()).hex()
            made.record({"event": "init", "subject": name, "sha256": fingerprint})
    except OSError as error:
        message = f"cannot keep an authority in {directory}: {error.strerror}"
        raise PkiError("CA_UNWRITABLE", message, "choose another folder with --ca DIR") from error
    return made


def _make(
    directory: Path,
    allowed: Policy,
    name: str,
    profile: Profile,
    with_intermediate: bool,
    root_keys: Path | None,
    passphrase: str | None,
    now: dt.datetime,
) -> tuple[dict[Path, bytes], dict[Path, bytes], HybridKey]:
    """The files of a new authority, private and public, and the key that issues."""
    private: dict[Path, bytes] = {}

    def keep(path: Path, key: HybridKey) -> None:
        private[keys.sibling(path, "mldsa")] = keys.encode(key.alternative, passphrase)
        private[path] = keys.encode(key.classical, passphrase)

    key = keys.generate(profile)
    keep((root_keys or directory) / "root-key.pem", key)
    validity = templates.Validity.of(now, allowed.authority.root_lifetime)
    builder = templates.authority(
        templates.subject(name), key.classical.public_key(), None, validity, allowed.constraints, int(with_intermediate)
    )
    root = hybrid.sign_certificate(builder, key, key.alternative.public_key())
    public = {directory / "root.pem": bundle.pem(root.plain)}
    if not with_intermediate:
        return private, public, key
    lower = keys.generate(profile)
    keep(directory / "intermediate-key.pem", lower)
    validity = templates.Validity.of(now, min(allowed.authority.intermediate_lifetime, allowed.authority.root_lifetime))
    build = [
        templates.authority(
            templates.subject(f"{name} issuing"),
            lower.classical.public_key(),
            root.plain,
            validity,
            allowed.constraints,
            0,
        )
        for _ in range(2)
    ]
    path = directory / "intermediate.pem"
    public[path] = bundle.pem(hybrid.sign_certificate(build[0], key, lower.alternative.public_key()).plain)
    public[keys.sibling(path, "classical")] = bundle.pem(templates.sign_classical(build[1], key.classical))
    return private, public, lower
