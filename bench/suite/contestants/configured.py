"""Velocity with configuration files instead of flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.contestants.velocity import Velocity

if TYPE_CHECKING:
    from pathlib import Path

    from suite.contestants.base import Setup

SIMPLE = """\
server:
  listen: 127.0.0.1:{port}
  alpn: [velocity/1, h3, h2, http/1.1]
  workers: 1
  tls: {{certificate: {certificate}, private_key: {key}}}
telemetry: {{access_log: false}}
content: {{sites: [{{root: {root}}}]}}
"""


class Configured(Velocity):
    """The same site as with flags, and behind it what an `edge.yaml` says; nothing where that is empty."""

    def __init__(self, setup: Setup, edge: str = "") -> None:
        super().__init__(setup)
        self.edge = edge

    @property
    def edge_file(self) -> Path:
        return self.setup.cache / "edge" / "edge.yaml"

    def command(self, port: int) -> list[str]:
        folder = self.edge_file.parent
        folder.mkdir(exist_ok=True)
        simple = folder / "serve.simple.yaml"
        simple.write_text(
            SIMPLE.format(
                port=port, certificate=self.setup.certificate, key=self.setup.key, root=self.setup.root.absolute()
            )
        )
        self.edge_file.write_text(self.edge)
        words = [self.executable, "serve", "--config", str(simple), "--log-format", "json"]
        return [*words, "--edge-config", str(self.edge_file)] if self.edge else words
