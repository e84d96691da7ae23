"""A Velocity CA made with the command line, and what it issues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.server import velocity

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Issued:
    """What `velocity cert issue` wrote."""

    folder: Path

    @property
    def cert(self) -> Path:
        """The hybrid chain."""
        return self.folder / "fullchain.pem"

    @property
    def lean(self) -> Path:
        """The lean chain."""
        return self.folder / "fullchain.classical.pem"

    @property
    def key(self) -> Path:
        """The classical key."""
        return self.folder / "privkey.pem"

    @property
    def ml_dsa_key(self) -> Path:
        """The ML-DSA key."""
        return self.folder / "privkey.mldsa.pem"

    @property
    def flags(self) -> tuple[str | Path, ...]:
        """For `velocity serve`, and for `velocity client get`."""
        return ("--cert", self.cert, "--key", self.key)


class Authority:
    """A CA in a folder of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.ca = folder / "ca"
        self._issued = 0
        done = velocity("ca", "init", "--ca", self.ca, *flags)
        assert done.returncode == 0, done.stderr

    @property
    def root(self) -> Path:
        """Its root, PEM."""
        return self.ca / "root.pem"

    def classical_root(self, path: Path) -> Path:
        """A root of the same name and classical key, without an ML-DSA key."""
        root = x509.load_pem_x509_certificate(self.root.read_bytes())
        key = serialization.load_pem_private_key((self.ca / "root-key.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        builder = x509.CertificateBuilder(
            root.issuer,
            root.subject,
            root.public_key(),
            x509.random_serial_number(),
            root.not_valid_before_utc,
            root.not_valid_after_utc,
        )
        for extension in root.extensions:
            if not extension.oid.dotted_string.startswith("2.5.29.7"):
                builder = builder.add_extension(extension.value, extension.critical)
        path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, *names: str, flags: tuple[str, ...] = ()) -> Issued:
        """A certificate for these names."""
        self._issued += 1
        folder = self.folder / f"issued-{self._issued}"
        dns = [part for name in names for part in ("--dns", name)]
        done = velocity("cert", "issue", "--ca", self.ca, *dns, "--out", folder, *flags)
        assert done.returncode == 0, done.stderr
        return Issued(folder)

    def revoke(self, issued: Issued) -> Path:
        """Revoke what was issued; the list that says so."""
        done = velocity("ca", "revoke", "--ca", self.ca, issued.cert)
        assert done.returncode == 0, done.stderr
        crl = self.folder / "crl.pem"
        done = velocity("ca", "crl", "--ca", self.ca, "--out", crl)
        assert done.returncode == 0, done.stderr
        return crl
