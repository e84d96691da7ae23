"""What a figure is worth nothing without: the machine and the versions."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from suite import clients
from suite.contestants import Contestant, Unavailable
from suite.contestants.base import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# How each tool is asked for its version.
TOOLS: Mapping[str, Callable[[], str]] = {
    "wrk": lambda: output([clients.wrk(), "-v"], may_fail=True).split()[1].removeprefix("debian/"),
    "h2load": lambda: output([clients.h2load(), "--version"]).split("/")[-1],
    "openssl": lambda: output(["openssl", "version"]).split()[1],
    "rustc": lambda: output(["rustc", "--version"]).split()[1],
    "go": lambda: output(["go", "version"]).split()[2].removeprefix("go"),
}


def describe() -> dict[str, str | int]:
    """The machine, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count() or 1,
        "memory_gib": round(memory / 2**30),
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def versions(contestants: Iterable[Contestant]) -> dict[str, str]:
    """Versions of the contestants, the clients and what they are built with."""
    found = {contestant.name: contestant.version() for contestant in contestants}
    for name, ask in TOOLS.items():
        with suppress(Unavailable):
            found[name] = ask()
    return {**found, "python": platform.python_version()}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
