"""A site for tests, with everything in it that must and must not be served."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"SECRET-THAT-MUST-NEVER-BE-SERVED"
"""What every file outside the site, and every hidden one, begins with."""

INDEX = b"<!doctype html><title>Test site</title><p>It works.\n"
TEXT = ("".join(f"line {n} of a text that compresses well\n" for n in range(2000))).encode()


@dataclass(frozen=True)
class Site:
    """A folder to serve and what lies around it."""

    root: Path
    binary: bytes
    """The content of `/data.bin`: 1 MiB that does not compress."""


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that are the same on every run and do not compress."""
    return random.Random(seed).randbytes(size)


def large_file(path: Path, size: int) -> str:
    """Write `size` bytes of noise, 64 MiB of it over and over with a counter before each; their SHA-256 in hex."""
    block = memoryview(noise(min(size, 64 << 20)))
    digest = hashlib.sha256()
    with path.open("wb") as file:
        written = 0
        while written < size:
            for piece in (written.to_bytes(8, "big"), block[: size - written - 8]):
                written += file.write(piece)
                digest.update(piece)
    return digest.hexdigest()


def make(folder: Path) -> Site:
    """Write the site into `folder/site`, with secrets beside it and links to them inside."""
    root, outside = folder / "site", folder / "outside"
    for directory in (outside, root / "sub", root / "files", root / ".hidden", root / ".velocity" / "certs"):
        directory.mkdir(parents=True)

    binary = noise(1 << 20)
    script = b"console.log('compressed beforehand');\n" * 200
    contents = {
        "index.html": INDEX,
        "hello.txt": b"hello\n",
        "style.css": b"body { margin: 0 }\n",
        "data.json": b'{"answer": 42}\n',
        "data.bin": binary,
        "empty.txt": b"",
        "long.txt": TEXT,
        "sub/index.html": b"<!doctype html><title>Sub</title>\n",
        "sub/a file with spaces & umlauts äöü.txt": b"found\n",
        "files/one.txt": b"1\n",
        "files/<script>alert(1)<script>.txt": b"2\n",
        "app.js": script,
        "app.js.gz": gzip.compress(script, mtime=0),
        # Siblings are sent as they are, so what only looks like one shows best which of them was chosen.
        "app.js.br": b"as if brotli",
        "app.js.zst": b"as if zstandard",
        ".secret": SECRET,
        ".hidden/file.txt": SECRET,
        ".velocity/file.txt": SECRET,
        ".velocity/certs/key.txt": SECRET,
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)

    (outside / "secret.txt").write_bytes(SECRET)
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "site-secret.txt").write_bytes(SECRET)
    (root / "inside-link.txt").symlink_to("hello.txt")
    (root / "escape.txt").symlink_to("../outside/secret.txt")
    (root / "escape-absolute.txt").symlink_to(outside / "secret.txt")
    (root / "escape").symlink_to("../outside", target_is_directory=True)
    os.mkfifo(root / "pipe")
    return Site(root, binary)
