"""What every contestant is asked: its version, its command line, and which protocols it has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

REPOSITORY = Path(__file__).resolve().parents[3]


class Unavailable(Exception):
    """A contestant or a tool cannot be used here; the message says how to get it."""


@dataclass(frozen=True)
class Setup:
    """The same files for every contestant.

    Attributes:
        cache: folder for whatever a contestant has to write.
        root: folder to serve.
        certificate: PEM, an ECDSA P-256 leaf for `localhost` and `127.0.0.1`.
        key: PEM, its key.
        ca: PEM, the root that signed it.
    """

    cache: Path
    root: Path
    certificate: Path
    key: Path
    ca: Path


class Contestant(ABC):
    """One server.

    Attributes:
        name: as it stands in tables.
        protocols: ALPN names that it serves.
        secure: False for plain HTTP.
    """

    name: ClassVar[str]
    protocols: ClassVar[frozenset[str]]
    secure: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @abstractmethod
    def version(self) -> str:
        """The version that will run.

        Raises:
            Unavailable: it is not installed and cannot be fetched.
        """

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """The command that serves the files on 127.0.0.1, in the foreground. May write configuration files."""

    def environment(self) -> dict[str, str]:
        """The environment of the command. Python may write and use its bytecode."""
        return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def find(program: str, hint: str) -> str:
    """The path of a program.

    Raises:
        Unavailable: there is none; the message ends with `hint`.
    """
    # Debian keeps servers in sbin, which is not on everybody's PATH.
    found = shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if found is None:
        raise Unavailable(f"{program} is not installed\nhint: {hint}")
    return found


def output(command: list[str], *, may_fail: bool = False, **environment: str) -> str:
    """What a command prints on stdout and stderr together, stripped.

    Args:
        may_fail: take what it prints whatever its exit code.
        environment: variables on top of ours.

    Raises:
        Unavailable: it cannot be run, or fails.
    """
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )
    except OSError as error:
        raise Unavailable(f"{Path(command[0]).name}: {error.strerror}") from error
    if done.returncode and not may_fail:
        last = done.stdout.strip().splitlines()[-1:] or ["no message"]
        raise Unavailable(f"{Path(command[0]).name} failed: {last[0]}")
    return done.stdout.strip()


@cache
def built(package: str) -> str:
    """The path of a Rust program of the benches, built when sources changed.

    Raises:
        Unavailable: there is no cargo, or it does not build.
    """
    cargo = find("cargo", "install Rust from https://rustup.rs")
    command = [cargo, "build", "--release", "--locked", "--package", package, "--message-format", "json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if executable := json.loads(line).get("executable"):
            return str(executable)
    raise Unavailable(f"{package} does not build\nhint: run `cargo build --release --package {package}`")
