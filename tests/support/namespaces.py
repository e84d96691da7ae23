"""Two machines and a cable between them: network namespaces joined by a veth pair."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from support.needs import command, skip

if TYPE_CHECKING:
    from types import TracebackType

THERE = "198.18.7.1"
"""The address of the other machine (RFC 2544)."""
_FIRST = "198.18.7.2"


class Namespaces:
    """A machine `here` whose addresses come and go, and one `there` that stays.

    Ends the test where namespaces cannot be made.
    """

    def __init__(self) -> None:
        self._ip = command("ip", "iproute2")
        self._names = [f"velocity-{side}-{os.getpid()}" for side in ("here", "there")]
        self.address = _FIRST

    def __enter__(self) -> Namespaces:
        here, there = self._names
        made = subprocess.run([self._ip, "netns", "add", here], capture_output=True)
        if made.returncode != 0:
            skip("network namespaces cannot be made: run as root, with CAP_SYS_ADMIN")
        self._run("netns", "add", there)
        self._run("link", "add", "near", "netns", here, "type", "veth", "peer", "name", "far", "netns", there)
        self._run("-n", there, "address", "add", f"{THERE}/24", "dev", "far")
        for name, link in ((here, "lo"), (there, "lo"), (here, "near"), (there, "far")):
            self._run("-n", name, "link", "set", link, "up")
        self._run("-n", here, "address", "add", f"{self.address}/24", "dev", "near")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names:
            subprocess.run([self._ip, "netns", "delete", name], capture_output=True)

    @property
    def here(self) -> tuple[str, ...]:
        """What a command begins with that runs here."""
        return self._ip, "netns", "exec", self._names[0]

    @property
    def there(self) -> tuple[str, ...]:
        """What a command begins with that runs there."""
        return self._ip, "netns", "exec", self._names[1]

    def move(self, address: str) -> None:
        """The address here goes, and another one comes."""
        self._run("-n", self._names[0], "address", "delete", f"{self.address}/24", "dev", "near")
        self._run("-n", self._names[0], "address", "add", f"{address}/24", "dev", "near")
        self.address = address

    def prefer(self, address: str) -> None:
        """Another address comes, and packets are to leave from it; whatever leaves from the old one is not answered."""
        here, there = self._names
        to = f"{THERE.rpartition('.')[0]}.0/24"
        self._run("-n", here, "address", "add", f"{address}/24", "dev", "near")
        self._run("-n", here, "route", "replace", to, "dev", "near", "proto", "kernel", "scope", "link", "src", address)
        self._run("-n", there, "route", "add", "blackhole", f"{self.address}/32")
        self.address = address

    def plug(self, state: str) -> None:
        """The cable is `up` or `down`."""
        self._run("-n", self._names[0], "link", "set", "near", state)

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._ip, *arguments], check=True, capture_output=True)
