"""Caddy, built from its module at a fixed version, serving a folder over HTTP/3."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Pair

VERSION = "2.11.9"
CACHE = Path(__file__).parents[1] / ".cache"

_CONFIGURATION = """\
{{
	admin off
	auto_https off
	default_sni localhost
	storage file_system {folder}
	log {{
		level ERROR
	}}
	servers {{
		protocols h1 h2 h3
	}}
}}

https://:{port} {{
	bind 127.0.0.1
	tls {cert} {key}
	root * {root}
	file_server
}}
"""


def executable() -> Path:
    """The program, which the first test that needs it builds; it stays in `tests/.cache`."""
    program = CACHE / f"caddy-{VERSION}"
    if not program.exists():
        go = needs.command("go", "Go 1.26 or later")
        CACHE.mkdir(exist_ok=True)
        environment = os.environ | {"GOBIN": str(CACHE), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        built = subprocess.run(
            [go, "install", f"github.com/caddyserver/caddy/v2/cmd/caddy@v{VERSION}"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stderr
        (CACHE / "caddy").rename(program)
    return program


@contextmanager
def serve(root: Path, pair: Pair, folder: Path) -> Iterator[int]:
    """Serve `root`, with what Caddy writes in `folder`; the port."""
    program = executable()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    file = folder / "Caddyfile"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port, cert=pair.cert, key=pair.key, root=root))
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command: list[str | Path] = [program, "run", "--adapter", "caddyfile", "--config", file]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            _wait_for(port, process, folder / "log")
            yield port
        finally:
            process.kill()  # a graceful end would wait for connections


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"Caddy did not start: {log.read_text()[-2000:]}")
