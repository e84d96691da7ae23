"""The yardstick: QUIC streams with pre-encoded answers, on our driver and on stock quinn."""

from __future__ import annotations

from typing import ClassVar

from suite.contestants.base import Contestant, built


class Raw(Contestant):
    """The engine's driver. Answers every request with as many bytes as `length` says."""

    name = "raw"
    protocols = frozenset({"h3"})
    driver: ClassVar[str] = "own"
    length: int = 1024

    def version(self) -> str:
        built("velocity-raw")
        return "0.1.0"

    def command(self, port: int) -> list[str]:
        return [
            built("velocity-raw"),
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
