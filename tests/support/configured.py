"""A real `velocity serve` with configuration files, followed through what it says."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from support.server import VELOCITY, check_talk, environment, velocity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = "server: {listen: '127.0.0.1:0', tls: {self_signed: true}}\ntelemetry: {structured_logs: false}\n"
"""The beginning of a `serve.simple.yaml`."""


class Configured:
    """`velocity serve` with configuration files, in a folder of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._log: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [VELOCITY, "serve", *flags],
            cwd=folder,
            env=environment({"XDG_CACHE_HOME": str(folder / "cache")}),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = re.search(r"https://localhost:(\d+)/", self.said("https://localhost:"))
        assert found
        self.port = int(found[1])
        self.url = f"https://localhost:{self.port}"
        self.said("fetch it")

    def _read(self) -> None:
        assert self.process.stderr is not None
        with contextlib.closing(self.process.stderr) as stream:
            for line in stream:
                with self._news:
                    self.lines.append(line)
                    self._log.append(line)
                    self._news.notify_all()

    def said(self, text: str, seconds: float = 10) -> str:
        """The next line with a text; what stands before it is forgotten."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                for number, line in enumerate(self.lines):
                    if text in line:
                        del self.lines[: number + 1]
                        return line
                left = end - time.monotonic()
                assert left > 0, f"{text!r} was not said: {self.lines}"
                self._news.wait(left)

    def has_said(self, text: str, seconds: float = 10) -> None:
        """Wait until there is a line with a text, wherever it stands: the log has a thread of its own."""
        with self._news:
            said = self._news.wait_for(lambda: any(text in line for line in self._log), seconds)
            assert said, f"{text!r} was not said: {self._log}"

    def get(self, path: str = "/") -> tuple[int, str]:
        done = velocity("client", "get", f"{self.url}{path}", "--insecure")
        return done.returncode, done.stdout.decode()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(10) == 0
        finally:
            self.process.kill()
            self._reader.join(5)
        check_talk("".join(self._log))


def write(folder: Path, text: str, name: str = "serve.simple.yaml") -> None:
    """As editors do: a new file takes the place of the old."""
    new = folder / f".{name}.new"
    new.write_text(text)
    new.replace(folder / name)


@contextlib.contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Configured]:
    running = Configured(folder, *flags)
    try:
        yield running
    finally:
        running.end()
