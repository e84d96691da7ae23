"""A real `velocity serve` in a process of its own, and the `velocity` command beside it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

T = TypeVar("T")

PYTHON = Path(sys.executable)
VELOCITY = PYTHON.with_name("velocity")

_URL = re.compile(r"https://(?:\[[^\]\s]+\]|[^\s/:\[\]]+):(\d+)")
_START_TIMEOUT = 20.0


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without its own `VELOCITY_*`, plus `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VELOCITY_")}
    return inherited | {"NO_COLOR": "1"} | dict(extra or {})


def velocity(
    *args: str | Path, env: Mapping[str, str] | None = None, timeout: float = 60.0, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of `velocity` to its end, and check what holds for every one: no traceback."""
    done = subprocess.run(
        [VELOCITY, *args], env=environment(env), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, cwd=cwd
    )
    check_talk(done.stderr.decode())
    return done


def check_talk(stderr: str) -> None:
    """No traceback and no panic reaches a user."""
    for word in ("Traceback (most recent call last)", "panicked at", "RUST_BACKTRACE"):
        assert word not in stderr, stderr


class Server:
    """`velocity serve` on a port of the kernel's choice.

    Args:
        root: the folder to serve.
        flags: further flags. Without `--cert` among them (or in `env`) the server gets `--self-signed`.
        env: further environment variables.
        listen: the address; None leaves it to `env`.
        files: whether the root is served. Either way it is the current folder.
        within: what the command begins with.

    Raises:
        AssertionError: it did not begin to serve within 20 seconds; the message holds what it said.
    """

    def __init__(
        self,
        root: Path,
        *flags: str | Path,
        env: Mapping[str, str] | None = None,
        listen: str | None = "127.0.0.1:0",
        files: bool = True,
        within: Sequence[str] = (),
    ) -> None:
        self.root = root
        command: list[str | Path] = [*within, VELOCITY, "serve"]
        if files:
            command += ["--root", root]
        if "--cert" not in flags and "VELOCITY_CERT" not in (env or {}):
            command.append("--self-signed")
        if listen is not None:
            command += ["--listen", listen]
        self.process = subprocess.Popen(
            [*command, *flags],
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=None if files else root,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.port = int(self._wait_for(_URL.search, _START_TIMEOUT)[1])
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        check_talk(self.stderr)

    @property
    def address(self) -> str:
        """`host:port` to ask."""
        return f"localhost:{self.port}"

    @property
    def certificate(self) -> Path:
        """The certificate that `--self-signed` made for those who do not speak `velocity/1`."""
        return self._made("cert.classical.pem")

    @property
    def hybrid_certificate(self) -> Path:
        """The one that it made for those who do."""
        return self._made("cert.pem")

    @property
    def trust(self) -> Path:
        """What a client passes with --cacert: both of them."""
        return self._made("trust.pem")

    def _made(self, name: str) -> Path:
        found = next((self.root / ".velocity").rglob(name), None)
        assert found is not None, f"no {name} in .velocity at {self.root}"
        return found

    @property
    def stderr(self) -> str:
        """Everything it has said so far."""
        with self._news:
            return "".join(self._lines)

    def url(self, path: str = "/") -> str:
        """The URL of a path."""
        return f"https://{self.address}{path}"

    def line(self, wanted: Callable[[str], bool], timeout: float = 5.0) -> str:
        """The first line of stderr, past or to come, that is `wanted`."""
        return self._wait_for(lambda line: line if wanted(line) else None, timeout)

    def line_with(self, text: str, timeout: float = 5.0) -> str:
        """The first line of stderr, past or to come, that holds `text`."""
        return self.line(lambda line: text in line, timeout)

    def memory(self) -> int:
        """Bytes of anonymous memory it holds: what it allocated, without the files it maps."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def open_files(self) -> int:
        """Descriptors it holds."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def terminate(self) -> None:
        """Ask for a graceful stop and return at once."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 15.0) -> int:
        """Wait for its end and give back the exit code; AssertionError, with the end of what it said, if none comes."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s:\n{self.stderr[-2000:]}") from None
        self._reader.join(timeout)
        return code

    def kill(self) -> None:
        """End it, gracefully or not."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with contextlib.closing(self.process.stderr) as stream:
            for line in stream:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _wait_for(self, find: Callable[[str], T | None], timeout: float) -> T:
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for line in self._lines[seen:]:
                    if (found := find(line)) is not None:
                        return found
                seen = len(self._lines)
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError("velocity serve did not say what was expected:\n" + "".join(self._lines))
                self._news.wait(left)
