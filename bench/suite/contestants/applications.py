"""Servers of Python applications: one process, one application, TLS, uvloop; each in an environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from suite.contestants.base import Contestant, find, output
from suite.contestants.velocity import Velocity

if TYPE_CHECKING:
    from suite.contestants.base import Setup

# On the path of every server, so that nothing else may lie there.
FOLDER = Path(__file__).parents[1] / "applications"
# Of the application that needs it, everywhere the same.
FASTAPI = "fastapi==0.165.0"


class Server(Contestant):
    """A server from PyPI.

    Attributes:
        packages: what is installed, the server first.
    """

    packages: ClassVar[tuple[str, ...]]
    target = "asgi_app:app"

    @property
    def folder(self) -> Path:
        return self.setup.cache / self.packages[0].replace("[", "-").replace("]", "").replace("==", "-")

    def version(self) -> str:
        python = self.folder / "bin" / "python"
        if not python.exists():
            uv = find("uv", "pip install uv, or leave it out with --contestants")
            output([uv, "venv", "--quiet", "--python", sys.executable, str(self.folder)])
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
            output([*install, *self.packages, FASTAPI])
        name = self.packages[0].partition("[")[0].partition("==")[0]
        return output([str(python), "-c", f"from importlib.metadata import version; print(version({name!r}))"])

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "BENCH_ROOT": str(self.setup.root.absolute()), "PYTHONPATH": str(FOLDER)}

    def program(self, name: str) -> str:
        """A command of its environment."""
        return str(self.folder / "bin" / name)


class UvicornStandard(Server):
    """uvicorn with all of its extras: httptools, uvloop, websockets."""

    name = "uvicorn"
    protocols = frozenset({"http/1.1"})
    packages = ("uvicorn[standard]==0.54.0",)

    def command(self, port: int) -> list[str]:
        return [
            self.program("uvicorn"),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *("--ssl-certfile", str(self.setup.certificate)),
            *("--ssl-keyfile", str(self.setup.key)),
            *("--log-level", "warning"),
            "--no-access-log",
            # Nobody is offered compression by those who ask here; uvicorn would look for it.
            *("--ws-per-message-deflate", "false"),
            self.target,
        ]


class Granian(Server):
    """Granian with one worker, HTTP/1.1 or HTTP/2 as the client wishes."""

    name = "granian"
    protocols = frozenset({"h2", "http/1.1"})
    packages = ("granian[uvloop]==2.8.7",)

    def command(self, port: int) -> list[str]:
        return [
            self.program("granian"),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *("--ssl-certificate", str(self.setup.certificate)),
            *("--ssl-keyfile", str(self.setup.key)),
            *("--interface", "asgi"),
            *("--workers", "1"),
            *("--loop", "uvloop"),
            *("--log-level", "warning"),
            "--no-access-log",
            self.target,
        ]


class Hypercorn(Server):
    """Hypercorn: the other one with HTTP/3."""

    name = "hypercorn"
    protocols = frozenset({"h3", "h2", "http/1.1"})
    packages = ("hypercorn[h3,uvloop]==0.18.0",)

    def command(self, port: int) -> list[str]:
        return [
            self.program("hypercorn"),
            *("--bind", f"127.0.0.1:{port}"),
            *("--quic-bind", f"127.0.0.1:{port}"),
            *("--certfile", str(self.setup.certificate)),
            *("--keyfile", str(self.setup.key)),
            *("--worker-class", "uvloop"),
            *("--workers", "1"),
            self.target,
        ]


class VelocityApplication(Velocity):
    """`velocity serve MODULE:app`."""

    target = "asgi_app:app"

    def what(self) -> list[str]:
        return [self.target, "--app-dir", str(FOLDER)]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "BENCH_ROOT": str(self.setup.root.absolute())}


Serving = VelocityApplication | UvicornStandard | Granian | Hypercorn
_KINDS: tuple[type[Serving], ...] = (VelocityApplication, UvicornStandard, Granian, Hypercorn)
SERVING: dict[str, type[Serving]] = {kind.name: kind for kind in _KINDS}


def serving(name: str, setup: Setup, target: str = "asgi_app:app") -> Contestant:
    """The contestant of this name with an application.

    Args:
        name: of the contestant.
        setup: as for every contestant.
        target: `module:attribute` of this folder.
    """
    contestant = SERVING[name](setup)
    contestant.version()  # which installs it
    contestant.target = target
    return contestant
