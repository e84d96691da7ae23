"""Caddy, built from its module at a fixed version into the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.contestants.base import Contestant, find, output

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "2.11.9"

# Logs of requests are off by default. The certificate is given, so nothing is fetched or renewed.
CONFIGURATION = """\
{{
	admin off
	auto_https off
	default_sni localhost
	storage file_system {cache}/caddy/data
	log {{
		level ERROR
	}}
	servers {{
		protocols h1 h2 h3
	}}
}}

https://:{port} {{
	bind 127.0.0.1
	tls {certificate} {key}
	{what}
}}
"""


class Caddy(Contestant):
    """`file_server` over h1, h2 and h3."""

    name = "caddy"
    protocols = frozenset({"h3", "h2", "http/1.1"})

    @property
    def executable(self) -> Path:
        return self.setup.cache / "bin" / f"caddy-{VERSION}"

    def version(self) -> str:
        if not self.executable.exists():
            self._install()
        output([str(self.executable), "version"])  # It must run; what it calls itself depends on how Go built it.
        return VERSION

    def command(self, port: int) -> list[str]:
        file = self.setup.cache / "caddy" / "Caddyfile"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            CONFIGURATION.format(
                cache=self.setup.cache,
                port=port,
                certificate=self.setup.certificate,
                key=self.setup.key,
                what=self.what(),
            )
        )
        return [str(self.executable), "run", "--adapter", "caddyfile", "--config", str(file)]

    def what(self) -> str:
        """The directives that say what is served."""
        return f"root * {self.setup.root}\n\tfile_server"

    def environment(self) -> dict[str, str]:
        # It has one core: without this, Go would only find that out for itself.
        folder = str(self.setup.cache / "caddy")
        return {**super().environment(), "GOMAXPROCS": "1", "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}

    def _install(self) -> None:
        go = find("go", "install Go from https://go.dev/dl, or leave Caddy out with --contestants")
        folder = self.executable.parent
        output([go, "install", f"github.com/caddyserver/caddy/v2/cmd/caddy@v{VERSION}"], GOBIN=str(folder))
        (folder / "caddy").rename(self.executable)
