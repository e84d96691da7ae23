"""A connection outlives its client's address (RFC 9000 section 9): what was asked for comes, and was asked for once."""

from __future__ import annotations

import functools
import queue
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest

import velocity
from support.application import PROGRAMS
from support.bad_network import BadNetwork
from support.namespaces import THERE, Namespaces
from support.server import PYTHON, Server, check_talk, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

DRIP = "".join(f"{number}," for number in range(150))
"""What `/drip` is made of, in three seconds."""
SOON = 6.0
"""Seconds, of which an idle connection lets ten pass before it says something."""

each = pytest.mark.parametrize("protocol", ["velocity/1", "h3"])


@pytest.fixture
def machines() -> Iterator[Namespaces]:
    with Namespaces() as joined:
        yield joined


@pytest.fixture
def far(machines: Namespaces, tmp_path: Path) -> Iterator[Server]:
    flags = ("roads:app", "--app-dir", PROGRAMS)
    with Server(tmp_path, *flags, files=False, listen="0.0.0.0:0", within=machines.there) as running:
        yield running


class Traveller:
    """`programs/traveller.py`, here, with a connection to the server there."""

    def __init__(self, machines: Namespaces, server: Server, protocol: str) -> None:
        self._process = subprocess.Popen(
            [*machines.here, PYTHON, PROGRAMS / "traveller.py", server.url(""), THERE, server.trust, protocol],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: queue.Queue[list[str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Traveller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()
            self._reader.join(10)
            assert self._process.stderr is not None
            check_talk(self._process.stderr.read())

    def ask(self, path: str) -> None:
        """Have it ask for something."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        assert self.hear() == ["asks"]

    def hear(self, timeout: float = 20) -> list[str]:
        """What it says next, word for word."""
        return self._said.get(timeout=timeout)

    def hear_rest(self, timeout: float = 20) -> tuple[str, int, bool]:
        """The rest of an answer, how often the server was asked by then, and whether the connection was used."""
        pieces = []
        while (words := self.hear(timeout)) != ["done"]:
            pieces.append(words)
        text, _, number = "".join(piece for _, piece, _ in pieces).rpartition("asked:")
        return text, int(number), pieces[-1][2] == "True"

    def count(self) -> int:
        """How often the server was asked, this included."""
        self.ask("/count")
        return self.hear_rest()[1]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.split())


def stream(traveller: Traveller, event: Callable[[], object]) -> None:
    """An answer in the middle of which something happens, and another one over the same connection."""
    before = traveller.count()
    traveller.ask("/drip")
    begun = "".join(traveller.hear()[1] for _ in range(10))
    event()
    text, asked, _ = traveller.hear_rest()
    assert (begun + text, asked) == (DRIP, before + 1)
    traveller.ask("/count")
    assert traveller.hear_rest() == ("", before + 2, True)


@each
def test_an_address_that_is_replaced(machines: Namespaces, far: Server, protocol: str) -> None:
    with Traveller(machines, far, protocol) as traveller:
        for address in ("198.18.7.21", "198.18.7.22", "198.18.7.2"):
            stream(traveller, functools.partial(machines.move, address))


def test_an_answer_that_is_waited_for(machines: Namespaces, far: Server) -> None:
    """Nothing is sent meanwhile: it is the kernel that tells of the change."""
    with Traveller(machines, far, "h3") as traveller:
        before = traveller.count()
        traveller.ask("/late")
        time.sleep(0.5)
        machines.move("198.18.7.23")
        assert traveller.hear_rest(SOON) == ("", before + 1, True)


@each
def test_a_cable_that_is_out_for_a_moment(machines: Namespaces, far: Server, protocol: str) -> None:
    def pull() -> None:
        machines.plug("down")
        time.sleep(1)
        machines.plug("up")

    with Traveller(machines, far, protocol) as traveller:
        started = time.monotonic()
        stream(traveller, pull)
        assert time.monotonic() - started < 3 + SOON


def test_a_request_that_begins_while_there_is_no_way(machines: Namespaces, far: Server) -> None:
    with Traveller(machines, far, "h3") as traveller:
        before = traveller.count()
        machines.plug("down")
        traveller.ask("/count")
        time.sleep(0.5)
        machines.move("198.18.7.25")
        machines.plug("up")
        assert traveller.hear_rest(SOON) == ("", before + 1, True)


def test_a_better_way(machines: Namespaces, far: Server) -> None:
    """The old address stays, but packets would not leave from it any more."""
    with Traveller(machines, far, "h3") as traveller:
        stream(traveller, functools.partial(machines.prefer, "198.18.7.24"))


@each
def test_a_network_that_forgets_who_is_who(tmp_path: Path, protocol: Literal["velocity/1", "h3"]) -> None:
    """A NAT gives another port to what comes from the same one (RFC 9000 section 9.3)."""
    flags = ("roads:app", "--app-dir", PROGRAMS)
    with Server(tmp_path, *flags, files=False) as server, BadNetwork(server.port, 7, 0) as network:
        options: dict[str, Any] = {"resolve": {("localhost", server.port): ("127.0.0.1", network.port)}}
        with velocity.Client(base_url=server.url(""), verify=server.trust, protocols=[protocol], **options) as client:
            assert client.get("/count").text == "asked:1"
            text = ""
            with client.stream("GET", "/drip") as response:
                for number, piece in enumerate(response.iter_text()):
                    text += piece
                    if number in (10, 60):
                        network.forget()
            assert text == f"{DRIP}asked:2"
            again = client.get("/count")
            assert again.text == "asked:3"
            assert again.velocity.reused
