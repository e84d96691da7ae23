"""Making this machine trust a root: the system's store, and the NSS databases that browsers read.

The system's store is Debian's: a file in `/usr/local/share/ca-certificates`, then `update-ca-certificates`.
Chromium and Firefox have databases of their own; where `certutil` (libnss3-tools) is there, the user's are told too.
A plan is made first and can be shown without being carried out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from velocity.errors import PkiError
from velocity.pki import chain

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Step", "plan"]

SYSTEM_STORE = Path("/usr/local/share/ca-certificates")


@dataclass(frozen=True)
class Step:
    """One thing to do, said as a command of the shell, and how to do it."""

    command: str
    run: Callable[[], None]


def plan(root_file: Path, *, remove: bool = False, home: Path | None = None) -> list[Step]:
    """What it takes on this machine to trust a root, or to stop trusting it.

    Args:
        root_file: its certificate, PEM.
        remove: stop trusting it.
        home: whose NSS databases are meant; the user's by default.

    Raises:
        PkiError: there is no store that Velocity knows (`TRUST_STORE_MISSING`), or no root (`CERT_UNREADABLE`).
    """
    root = _Root(root_file.absolute(), hashlib.sha256(chain.load(root_file)[0]).hexdigest()[:16])
    steps = [*_system(root, remove), *_nss(root, remove, home or Path.home())]
    if not steps:
        message = "this machine has no trust store that is known here"
        raise PkiError("TRUST_STORE_MISSING", message, "velocity ca export-root prints the root, to be added by hand")
    return steps


class _Root(NamedTuple):
    file: Path
    digest: str

    @property
    def label(self) -> str:
        return f"velocity-{self.digest}"


def _system(root: _Root, remove: bool) -> list[Step]:
    update = shutil.which("update-ca-certificates") or shutil.which("update-ca-certificates", path="/usr/sbin:/sbin")
    if update is None or not SYSTEM_STORE.is_dir():
        return []
    file = SYSTEM_STORE / f"{root.label}.crt"
    if remove:
        first = Step(f"rm -f {file}", lambda: _file(lambda: file.unlink(missing_ok=True), file))
        return [first, _command(update, "--fresh")]

    def copy() -> None:
        file.write_bytes(root.file.read_bytes())
        file.chmod(0o644)

    return [Step(f"install -m 644 {root.file} {file}", lambda: _file(copy, file)), _command(update)]


def _nss(root: _Root, remove: bool, home: Path) -> list[Step]:
    certutil = shutil.which("certutil")
    if certutil is None:
        return []
    databases = [home / ".pki" / "nssdb", home / ".local" / "share" / "pki" / "nssdb"]
    for firefox in (home / ".mozilla" / "firefox", home / "snap" / "firefox" / "common" / ".mozilla" / "firefox"):
        databases += sorted(firefox.glob("*/"))
    there = [database for database in databases if (database / "cert9.db").is_file()]
    return [_in_database(certutil, f"sql:{database}", root, remove) for database in there]


def _in_database(certutil: str, database: str, root: _Root, remove: bool) -> Step:
    label = root.label
    if remove:
        # Deleting what is not there is fine: certutil fails, and the wish is fulfilled.
        return _command(certutil, "-D", "-d", database, "-n", label, may_fail=True)
    return _command(certutil, "-A", "-d", database, "-n", label, "-t", "C,,", "-i", str(root.file))


def _command(*command: str, may_fail: bool = False) -> Step:
    return Step(" ".join(command), lambda: _run([*command], may_fail))


def _run(command: list[str], may_fail: bool = False) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PkiError("TRUST_FAILED", f"cannot run {command[0]}: {error}") from error
    if done.returncode and not may_fail:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise PkiError("TRUST_FAILED", f"{Path(command[0]).name} failed: {said}", "run it as root, or add it by hand")


def _file(change: Callable[[], None], file: Path) -> None:
    try:
        change()
    except OSError as error:
        message = f"cannot change {file}: {error.strerror}"
        raise PkiError("TRUST_FAILED", message, "run this command as root") from error
