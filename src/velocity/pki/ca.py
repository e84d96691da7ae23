"""The Velocity CA: a root, an authority below it if wanted, and what they issue, revoke and answer for.

It lives in one private directory:

    ca.yaml                         the policy: what may be issued
    root.pem                        the root's certificate, to be trusted by others
    root-key.pem, .mldsa.pem        the root's keys; they may be kept elsewhere, offline, where there is an intermediate
    intermediate.pem                an authority below the root, hybrid, and intermediate.classical.pem, lean
    intermediate-key.pem, .mldsa.pem
    issued.jsonl, issued.head       what was done (see `issuance_log`)
    crl.pem                         the revocation list made last

Leaves come directly from the root unless there is an intermediate, and every leaf is issued twice, with one
classical key: hybrid, and lean and classical for clients that would make nothing of 9 KB of ML-DSA.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from velocity.errors import PkiError
from velocity.pki import bundle, chain, hybrid, keys, names, policy, templates
from velocity.pki.bundle import Issued
from velocity.pki.der import DerError
from velocity.pki.issuance_log import IssuanceLog
from velocity.pki.keys import ClassicalPublicKey, HybridKey
from velocity.pki.storage import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from velocity.pki.chain import Usage
    from velocity.pki.hybrid import Certificate
    from velocity.pki.keys import AlternativePublicKey, KeyType, Profile
    from velocity.pki.policy import Policy

__all__ = ["Authority", "default_directory", "system_clock"]


def default_directory() -> Path:
    """`VELOCITY_CA_DIR`, or `velocity/ca` under `XDG_DATA_HOME`, which is `~/.local/share` by default."""
    chosen = os.environ.get("VELOCITY_CA_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "velocity" / "ca"


def system_clock() -> dt.datetime:
    """What time it is."""
    return dt.datetime.now(dt.UTC)


def _no_passphrase() -> str | None:
    return None


class Authority:
    """An authority that is there; `founding.create` makes one. Several processes may use it at once."""

    def __init__(
        self,
        directory: Path,
        passphrase: Callable[[], str | None],
        clock: Callable[[], dt.datetime],
        key: HybridKey | None = None,
    ) -> None:
        self.directory = directory
        self._passphrase = passphrase
        self._clock = clock
        self.policy: Policy = policy.load(directory / "ca.yaml")
        self.root = _read_one(directory / "root.pem")
        lower = directory / "intermediate.pem"
        self.intermediate = _read_one(lower) if lower.exists() else None
        self.issuer = self.intermediate or self.root
        self._key = key
        alternative = self.issuer.alternative.key
        if alternative is None:
            raise PkiError("CA_DAMAGED", f"the authority in {directory} has no ML-DSA key", "make a new one")
        self.log = IssuanceLog(directory, self.issuer.plain.public_key(), alternative)
        self.log.refresh()
        self._by_serial: dict[str, dict[str, Any]] = {}
        self._revoked: dict[str, dict[str, Any]] = {}
        self._indexed = 0

    @classmethod
    def open(
        cls,
        directory: Path | None = None,
        passphrase: Callable[[], str | None] = _no_passphrase,
        clock: Callable[[], dt.datetime] = system_clock,
    ) -> Authority:
        """The authority in a directory.

        Args:
            directory: `default_directory()` when None.
            passphrase: asked only once an encrypted key is needed.
            clock: what time it is, with a time zone.

        Raises:
            PkiError: there is none (`CA_MISSING`), or its log was tampered with (`CA_LOG_TAMPERED`).
            ConfigError: its policy cannot be (`CA_POLICY_INVALID`).
        """
        directory = directory or default_directory()
        if not (directory / "root.pem").is_file():
            message = f"there is no authority in {directory}"
            raise PkiError("CA_MISSING", message, "make one with velocity ca init, or name its folder with --ca DIR")
        return cls(directory, passphrase, clock)

    def issue(
        self,
        wanted: Sequence[str],
        *,
        profile: Profile = "balanced",
        key_type: KeyType | None = None,
        usage: Usage = "server",
        lifetime: dt.timedelta | None = None,
    ) -> Issued:
        """Make keys and certify them.

        Args:
            wanted: DNS names (A-labels, lower case) and IP addresses.
            profile: strength of the keys.
            key_type: another classical key than the profile's.
            usage: for a server or for a client.
            lifetime: the policy's default when None.

        Raises:
            PkiError: the policy does not allow it (`CA_POLICY_VIOLATION`), the authority is at its end
                (`CA_EXPIRED`), its key cannot be used, or its log was tampered with.
        """
        kind = key_type or keys.PROFILES[profile][0]
        lifetime = lifetime or self.policy.lifetime.default
        self.policy.check(wanted, lifetime=lifetime, key=kind, profile=profile, usage=usage)
        key = keys.generate(profile, kind)
        extension = names.alternative_names(dict.fromkeys(wanted))
        public = key.classical.public_key(), key.alternative.public_key()
        issued = self._certify(extension, public, lifetime, usage)
        return replace(issued, classical_key=key.classical, alternative_key=key.alternative)

    def sign_request(self, data: bytes, *, usage: Usage = "server", lifetime: dt.timedelta | None = None) -> Issued:
        """Certify keys that somebody else holds.

        Args:
            data: a certification request, DER or PEM, with proof that both keys are held.
            usage: for a server or for a client.
            lifetime: the policy's default when None.

        Raises:
            PkiError: the request does not prove what it must (`CSR_INVALID`); else as `issue`.
        """
        try:
            request = hybrid.read_request(data)
        except DerError as error:
            raise PkiError("CSR_INVALID", f"the request cannot be used: {error}", "make it anew") from error
        public = request.plain.public_key()
        kind = keys.key_type(public)
        if request.alternative_key is None or kind is None or not isinstance(public, ClassicalPublicKey):
            lacks = "no ML-DSA key" if kind else f"an {keys.name_of(public)} key"
            message = f"the request has {lacks}"
            raise PkiError("CSR_INVALID", message, "velocity cert request makes one that has all it takes")
        try:
            wanted = request.plain.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            wanted = x509.SubjectAlternativeName([])
        listed = _listed(wanted)
        lifetime = lifetime or self.policy.lifetime.default
        profile = _profile_of(request.alternative_key)
        self.policy.check(listed, lifetime=lifetime, key=kind, profile=profile, usage=usage)
        return self._certify(wanted, (public, request.alternative_key), lifetime, usage)

    def certify(
        self, original: x509.Certificate, alternative: AlternativePublicKey, binding: x509.ExtensionType
    ) -> Certificate:
        """A hybrid certificate for the names, classical key and expiry of another authority's certificate.

        Args:
            original: that certificate; `hybridize` checks first that it is what it should be.
            alternative: the ML-DSA key to go with its key.
            binding: the extension that binds the two.

        Raises:
            PkiError: as `issue`.
        """
        public = original.public_key()
        kind = keys.key_type(public)
        assert isinstance(public, ClassicalPublicKey)  # noqa: S101 - hybridize has checked it
        assert kind is not None  # noqa: S101
        wanted = original.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed, end = _listed(wanted), original.not_valid_after_utc
        validity = templates.Validity(self.now() - templates.SKEW, end)
        self.policy.check(listed, lifetime=end - self.now(), key=kind, profile=_profile_of(alternative), usage="server")
        self._check_end(end)
        builder = self._leaf(original.subject, wanted, public, validity, "server")
        leaf = hybrid.sign_certificate(builder.add_extension(binding, critical=False), self.key, alternative)
        self._release(leaf, None, listed, "server")
        return leaf

    @property
    def key(self) -> HybridKey:
        """The private keys of the issuing certificate.

        Raises:
            PkiError: they are elsewhere or encrypted, or are those of another certificate (`CA_KEY_MISMATCH`).
        """
        if self._key is None:
            path = self.directory / ("intermediate-key.pem" if self.intermediate else "root-key.pem")
            encrypted = _is_encrypted(path)
            key = keys.load(path, self._passphrase() if encrypted else None)
            expected = (self.issuer.plain.public_key(), self.issuer.alternative.key)
            for public, private in zip(expected, (key.classical, key.alternative), strict=True):
                if keys.spki(private.public_key()) != keys.spki(public):  # type: ignore[arg-type]
                    message = f"the keys in {path} are not those of {self.issuer.subject}"
                    raise PkiError("CA_KEY_MISMATCH", message, "restore them from a backup")
            self._key = key
        return self._key

    @property
    def root_pem(self) -> bytes:
        """The root's certificate, for those who shall trust it."""
        return bundle.pem(self.root.plain)

    def _check_end(self, end: dt.datetime) -> None:
        last = min(one.plain.not_valid_after_utc for one in (self.root, self.issuer))
        if end > last:
            message = f"the authority itself is good only until {last:%Y-%m-%d %H:%M}Z"
            raise PkiError("CA_EXPIRED", message, "ask for a shorter lifetime, or make a new authority")

    def _certify(
        self,
        wanted: x509.SubjectAlternativeName,
        public: tuple[ClassicalPublicKey, AlternativePublicKey],
        lifetime: dt.timedelta,
        usage: Usage,
    ) -> Issued:
        """The hybrid certificate and the lean one for the same names and the same classical key."""
        validity = templates.Validity.of(self.now(), lifetime)
        self._check_end(validity.end)
        listed = _listed(wanted)
        subject = templates.subject(listed[0])
        leaf = hybrid.sign_certificate(self._leaf(subject, wanted, public[0], validity, usage), self.key, public[1])
        lean = templates.sign_classical(self._leaf(subject, wanted, public[0], validity, usage), self.key.classical)
        self._release(leaf, lean, listed, usage)
        return Issued(leaf, self.chain_of(leaf.plain), self.chain_of(lean), self.root_pem)

    def chain_of(self, leaf: x509.Certificate) -> bytes:
        """A certificate of this authority, and what is between it and the root, PEM."""
        if self.intermediate is None:
            return bundle.pem(leaf)
        path = self.directory / "intermediate.pem"
        is_hybrid = any(extension.oid.dotted_string == hybrid.ALT_SIGNATURE for extension in leaf.extensions)
        return bundle.pem(leaf) + (path if is_hybrid else keys.sibling(path, "classical")).read_bytes()

    def _leaf(
        self,
        subject: x509.Name,
        wanted: x509.SubjectAlternativeName,
        key: ClassicalPublicKey,
        validity: templates.Validity,
        usage: Usage,
    ) -> x509.CertificateBuilder:
        above = self.issuer.plain
        return templates.with_names(subject, wanted, key, above, validity, usage, self.policy.revocation)

    def _release(self, leaf: Certificate, lean: x509.Certificate | None, listed: Sequence[str], usage: Usage) -> None:
        """Write down what was signed. Only then may it leave."""
        self._check_constraints(leaf.plain)
        entry = {
            "event": "issue",
            "serial": f"{leaf.plain.serial_number:x}",
            "classical_serial": None if lean is None else f"{lean.serial_number:x}",
            "names": list(listed),
            "usage": usage,
            "keys": [keys.name_of(leaf.plain.public_key()), keys.name_of(leaf.alternative.key)],
            "not_after": leaf.plain.not_valid_after_utc.isoformat(),
            "sha256": leaf.plain.fingerprint(hashes.SHA256()).hex(),
        }
        with self.locked():
            self.record(entry)

    def _check_constraints(self, leaf: x509.Certificate) -> None:
        for above in (self.issuer, self.root):
            try:
                constraints = above.plain.extensions.get_extension_for_class(x509.NameConstraints).value
            except x509.ExtensionNotFound:
                continue
            name = names.violation(constraints, leaf)
            if name is not None:
                message = f"{above.subject} may not certify {name}"
                raise PkiError("CA_POLICY_VIOLATION", message, "its name constraints were fixed when it was made")

    def issued(self, serial: int) -> dict[str, Any] | None:
        """The log entry of what was issued under a serial number, hybrid or lean."""
        self._index()
        return self._by_serial.get(f"{serial:x}")

    def revoked(self, serial: int) -> dict[str, Any] | None:
        """The log entry that revoked it, if one did."""
        entry = self.issued(serial)
        return None if entry is None else self._revoked.get(entry["serial"])

    def _index(self) -> None:
        for entry in self.log.entries[self._indexed :]:
            if entry["event"] == "issue":
                self._by_serial[entry["serial"]] = entry
                if entry["classical_serial"]:
                    self._by_serial[entry["classical_serial"]] = entry
            elif entry["event"] == "revoke":
                self._revoked[entry["serial"]] = entry
        self._indexed = len(self.log.entries)

    def now(self) -> dt.datetime:
        """What time it is, in whole seconds."""
        return self._clock().astimezone(dt.UTC).replace(microsecond=0)

    def record(self, entry: dict[str, Any]) -> None:
        """Add to the log; whoever does holds the lock."""
        self.log.append({"time": self.now().isoformat(), **entry}, self.key)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the directory.

        Raises:
            PkiError: something in it cannot be written (`CA_UNWRITABLE`).
        """
        try:
            with locked(self.directory):
                yield
        except OSError as error:
            message = f"cannot write to {self.directory}: {error.strerror}"
            raise PkiError("CA_UNWRITABLE", message, "nothing was issued; make room, or make it writable") from error


def _read_one(path: Path) -> Certificate:
    return hybrid.read(chain.load(path)[0])


def _is_encrypted(path: Path) -> bool:
    try:
        return b"ENCRYPTED" in path.read_bytes()
    except OSError:
        return False  # keys.load says what is wrong


def _listed(wanted: x509.SubjectAlternativeName) -> tuple[str, ...]:
    """The names in an extension, which holds DNS names and addresses only.

    Raises:
        PkiError: it holds others (`CSR_INVALID`).
    """
    for name in wanted:
        if not isinstance(name, x509.DNSName | x509.IPAddress):
            message = f"a name of the kind {type(name).__name__} is not certified"
            raise PkiError("CSR_INVALID", message, "ask for DNS names and IP addresses")
    return (*wanted.get_values_for_type(x509.DNSName), *map(str, wanted.get_values_for_type(x509.IPAddress)))


def _profile_of(key: AlternativePublicKey) -> Profile:
    return next(profile for profile, (_, level) in keys.PROFILES.items() if level == keys.level(key))
