"""The sources of Python packages as their authors publish them, with tests, at the versions that uv.lock names."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from support import needs

CACHE = Path(__file__).parents[1] / ".cache"
LOCK = Path(__file__).parents[2] / "uv.lock"


def unpacked(name: str) -> Path:
    """The folder with the sources of a package.

    The first test that needs them fetches them into `tests/.cache`, and checks what it got.
    """
    package = _locked(name)
    folder = CACHE / f"{name}-{package['version']}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            archive = Path(made) / "source.tar.gz"
            archive.write_bytes(_fetched(package["sdist"]))
            with tarfile.open(archive) as source:
                source.extractall(made, filter="data")
            archive.unlink()
            (only,) = Path(made).iterdir()
            shutil.move(only, folder)
    return folder


def imported(*names: str) -> Path:
    """A folder with packages of pure Python, for the path of a process that imports them."""
    packages = [_locked(name) for name in names]
    known = hashlib.sha256("".join(package["wheels"][0]["hash"] for package in packages).encode()).hexdigest()
    folder = CACHE / f"packages-{known[:12]}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            for package in packages:
                with zipfile.ZipFile(io.BytesIO(_fetched(package["wheels"][0]))) as wheel:
                    own = package["name"].replace("-", "_")
                    # Nothing but the package itself: no second one of another name.
                    wheel.extractall(made, [name for name in wheel.namelist() if name.startswith(f"{own}/")])
            shutil.copytree(made, folder)
    return folder


def _locked(name: str) -> dict[str, Any]:
    packages = tomllib.loads(LOCK.read_text())["package"]
    found: dict[str, Any] = next(package for package in packages if package["name"] == name)
    return found


def _fetched(source: dict[str, Any]) -> bytes:
    try:
        with urllib.request.urlopen(source["url"], timeout=60) as response:
            content: bytes = response.read()
    except (urllib.error.URLError, TimeoutError) as error:
        needs.skip(f"cannot fetch {source['url']}: {error}")
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == source["hash"]
    return content
