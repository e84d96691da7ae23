"""The cache, and in it the files and the certificate that every contestant serves."""

from __future__ import annotations

import random
from pathlib import Path

from suite.contestants import Setup
from suite.contestants.base import find, output

BENCH = Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent
CACHE = BENCH / ".cache"

SMALL = ("1k.bin", 1 << 10)
MEDIUM = ("64k.bin", 64 << 10)
LARGE = ("100m.bin", 100 << 20)
# What slow clients read.
SLOW = ("10m.bin", 10 << 20)

# wrk and h2load read this through OPENSSL_CONF: they offer what the loader offers.
OPENSSL_CLIENT = """\
openssl_conf = default_conf
[default_conf]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""

EXTENSIONS = """\
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
"""


def prepare() -> Setup:
    """Make what is missing.

    Raises:
        Unavailable: there is no openssl command.
    """
    tls = CACHE / "tls"
    setup = Setup(
        cache=CACHE,
        root=CACHE / "site",
        certificate=tls / "certificate.pem",
        key=tls / "key.pem",
        ca=tls / "ca.pem",
    )
    for folder in (tls, setup.root, CACHE / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    openssl_client().write_text(OPENSSL_CLIENT)
    for name, size in (SMALL, MEDIUM, LARGE, SLOW):
        _write_random(setup.root / name, size)
    if not setup.certificate.exists():
        _issue_certificate(setup, tls)
    return setup


def openssl_client() -> Path:
    """The configuration for OpenSSL clients."""
    return CACHE / "tls" / "client.cnf"


def _write_random(file: Path, size: int) -> None:
    """Bytes that do not compress, the same on every machine."""
    if file.exists() and file.stat().st_size == size:
        return
    source = random.Random(size)
    with file.open("wb") as out:
        for start in range(0, size, 1 << 20):
            out.write(source.randbytes(min(1 << 20, size - start)))


def _issue_certificate(setup: Setup, folder: Path) -> None:
    """An ECDSA P-256 root, and directly under it the leaf."""
    openssl = find("openssl", "apt-get install openssl")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    ca_key, request, extensions = folder / "ca-key.pem", folder / "request.pem", folder / "extensions.cnf"
    extensions.write_text(EXTENSIONS)
    output([
        openssl, "req", "-x509", *new_key, "-days", "3650", "-subj", "/CN=Velocity bench root",
        *("-addext", "keyUsage=critical,keyCertSign"), "-keyout", str(ca_key), "-out", str(setup.ca),
    ])  # fmt: skip
    output([openssl, "req", *new_key, "-subj", "/CN=localhost", "-keyout", str(setup.key), "-out", str(request)])
    output([
        openssl, "x509", "-req", "-in", str(request), "-CA", str(setup.ca), "-CAkey", str(ca_key), "-days", "3650",
        *("-CAcreateserial", "-extfile", str(extensions)), "-out", str(setup.certificate),
    ])  # fmt: skip
