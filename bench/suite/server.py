"""One running contestant: pinned to its core, in a process group of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.flame import FLAMES
from suite.material import CACHE, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suite.contestants import Contestant

SERVER_CPU = 0
CLIENT_CPU = 1

# USER_HZ, the unit of CPU times in /proc.
TICKS_PER_SECOND = 100
STARTUP_SECONDS = 30.0


class Failed(Exception):
    """A measurement is void; the message says why."""


@dataclass(frozen=True)
class Server:
    """A contestant that answers.

    Attributes:
        name: of the contestant.
        port: on 127.0.0.1.
        group: process group id.
    """

    name: str
    port: int
    group: int

    def memory(self) -> int:
        """Bytes of anonymous memory that all its processes hold."""
        return sum(_anonymous(self.group))

    def cpu_seconds(self) -> float:
        """CPU time of all its processes and threads so far."""
        return sum(_cpu_ticks(self.group)) / TICKS_PER_SECOND


def pinned(cpu: int, command: list[str]) -> list[str]:
    """The command, bound to one core."""
    return ["taskset", "-c", str(cpu), *command]


@contextmanager
def running(contestant: Contestant) -> Iterator[Server]:
    """Start a contestant, check what it serves, and kill it in the end.

    Raises:
        Failed: it does not start, or does not serve the right bytes.
    """
    port = free_port()
    log = CACHE / "logs" / f"{contestant.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            pinned(SERVER_CPU, contestant.command(port)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=contestant.environment(),
            start_new_session=True,
        )
    try:
        if contestant.protocols == {"h3"}:
            _wait_until_it_is_bound(process, port)
        else:
            _wait_until_it_listens(process, port, log)
            _check(contestant, port, log)
        with FLAMES.recording(contestant.name, process.pid):
            yield Server(contestant.name, port, process.pid)
        if process.poll() is not None:
            raise Failed("the server is gone")
    except Failed as error:
        if process.poll() is None:
            raise
        raise Failed(f"{error} (the server ended with {process.returncode}: {_tail(log)})") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A port that is free for TCP and UDP on 127.0.0.1, and that the kernel gives to no client meanwhile."""
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first_of_clients - 8192, first_of_clients)
        with socket.socket(type=socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        if process.poll() is not None:
            raise Failed("the server did not start")
        if answers(port):
            return
        if time.monotonic() > deadline:
            raise Failed(f"the server does not listen; its log ends with: {_tail(log)}")
        time.sleep(0.01)


def answers(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait_until_it_is_bound(process: subprocess.Popen[bytes], port: int) -> None:
    """For UDP, where nothing answers a connect: the kernel's list of sockets."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while f":{port:04X} " not in Path("/proc/net/udp").read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed("the server did not start")
        time.sleep(0.01)


def _check(contestant: Contestant, port: int, log: Path) -> None:
    """The small file must come back byte for byte."""
    setup = contestant.setup
    context = ssl.create_default_context(cafile=str(setup.ca))
    url = f"{'https' if contestant.secure else 'http'}://localhost:{port}/{SMALL[0]}"
    try:
        with urllib.request.urlopen(url, context=context, timeout=10) as response:
            body = response.read()
    except OSError as error:
        raise Failed(f"{contestant.name} does not answer: {error}; its log ends with: {_tail(log)}") from error
    if contestant.secure and body != (setup.root / SMALL[0]).read_bytes():
        raise Failed(f"{contestant.name} serves other bytes than it was given")


def _cpu_ticks(group: int) -> Iterator[int]:
    for _, fields in _processes(group):
        yield sum(int(field) for field in fields[14 - 3 : 18 - 3])


def _anonymous(group: int) -> Iterator[int]:
    for entry, _ in _processes(group):
        with suppress(OSError, IndexError):
            yield int((entry / "status").read_text().split("RssAnon:")[1].split()[0]) * 1024


def _processes(group: int) -> Iterator[tuple[Path, list[str]]]:
    """Those of a group in /proc, and what their `stat` has from the third field on."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # proc_pid_stat(5): field 3 follows the name, which is in parentheses and may hold anything.
        fields = text[text.rindex(")") + 2 :].split()
        if int(fields[5 - 3]) == group:
            yield entry, fields


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
