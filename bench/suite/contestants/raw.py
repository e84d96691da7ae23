"""The yardstick: QUIC streams with pre-encoded answers, on our driver and on stock quinn."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import ClassVar

from suite.contestants.base import Contestant, Unavailable, find

REPOSITORY = Path(__file__).resolve().parents[3]


@cache
def executable() -> str:
    """The path of `velocity-raw`, built when sources changed.

    Raises:
        Unavailable: there is no cargo, or it does not build.
    """
    cargo = find("cargo", "install Rust from https://rustup.rs")
    command = [cargo, "build", "--release", "--locked", "--package", "velocity-raw", "--message-format", "json"]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    for line in built.stdout.splitlines():
        found = json.loads(line).get("executable")
        if found:
            return str(found)
    raise Unavailable("velocity-raw does not build\nhint: run `cargo build --release --package velocity-raw`")


class Raw(Contestant):
    """The engine's driver. Answers every request with as many bytes as `length` says."""

    name = "raw"
    protocols = frozenset({"h3"})
    driver: ClassVar[str] = "own"
    length: int = 1024

    def version(self) -> str:
        executable()
        return "0.1.0"

    def command(self, port: int) -> list[str]:
        return [
            executable(),
            *("--driver", self.driver),
            *("--address", f"127.0.0.1:{port}"),
            *("--cert", str(self.setup.certificate)),
            *("--key", str(self.setup.key)),
            *("--length", str(self.length)),
        ]


class RawQuinn(Raw):
    """Stock quinn."""

    name = "quinn"
    driver = "quinn"
