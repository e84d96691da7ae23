"""uvicorn with an application that does nothing, over plain HTTP: the yardstick for starting."""

from __future__ import annotations

import sys
from pathlib import Path

from suite.contestants.base import Contestant, find, output

VERSION = "0.54.0"


class Uvicorn(Contestant):
    """`uvicorn trivial_app:app` in an environment of its own, with compiled bytecode."""

    name = "uvicorn"
    protocols = frozenset({"http/1.1"})
    secure = False

    @property
    def environment_folder(self) -> Path:
        return self.setup.cache / f"uvicorn-{VERSION}"

    def version(self) -> str:
        python = self.environment_folder / "bin" / "python"
        if not python.exists():
            uv = find("uv", "pip install uv, or leave uvicorn out with --contestants")
            output([uv, "venv", "--quiet", "--python", sys.executable, str(self.environment_folder)])
            package = f"uvicorn=={VERSION}"
            output([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), package])
        return output([str(python), "-c", "import uvicorn; print(uvicorn.__version__)"])

    def command(self, port: int) -> list[str]:
        return [
            str(self.environment_folder / "bin" / "uvicorn"),
            *("--app-dir", str(Path(__file__).parent)),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *("--log-level", "warning"),
            "--no-access-log",
            "trivial_app:app",
        ]
