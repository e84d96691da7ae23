"""Applications in processes of their own: whatever happens to one of them, nobody notices but whom it had begun."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from support.application import PROGRAMS, serving
from support.clients import PROTOCOLS, Protocol, ask
from support.configured import BASE
from support.configured import serving as configured
from support.front import http as client_of
from support.http1 import Http1
from support.load import Load
from support.server import Server, velocity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def crew(folder: Path, *flags: str) -> Server:
    return serving(folder, "crew:app", "--workers", "2", "--no-access-log", *flags)


def pid(port: int, protocol: Protocol = "http/1.1") -> int:
    """The process that answers."""
    answer = ask(protocol, port, "/")
    assert answer.status == 200, answer
    return int(bytes(answer.body))


def pids(server: Server, count: int = 2) -> set[int]:
    """All of them."""
    found: set[int] = set()

    def one_more() -> bool:
        found.add(pid(server.port))
        return len(found) >= count

    until(one_more, f"{count} workers answer")
    return found


def began(server: Server) -> list[int]:
    return [int(number) for number in re.findall(r"began (\d+)", server.stderr)]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it goes while it is read
        return False


def until(true: Callable[[], object], what: str, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with crew(tmp_path) as running:
        yield running


def test_each_has_its_lifespan(server: Server) -> None:
    found = pids(server)
    assert sorted(found) == sorted(began(server)), "once for each"
    assert server.process.pid not in found
    for protocol in PROTOCOLS:
        assert pid(server.port, protocol) in found
    server.terminate()
    assert server.wait() == 0
    assert {int(number) for number in re.findall(r"ended (\d+)", server.stderr)} == found
    assert not any(map(is_alive, found))


def test_killed_under_load(server: Server) -> None:
    with Load(server.port) as load:
        for number in range(4):
            os.kill(began(server)[-1], signal.SIGKILL)
            until(lambda number=number: len(began(server)) == 3 + number, "another one takes its place")  # type: ignore[misc]
            load.hears(str(began(server)[-1]).encode())
            load.goes_on()
    line = server.line_with("worker_lost")
    assert "SIGKILL" in line


@every_protocol
def test_nobody_writes_what_is_known_of_a_connection(tmp_path: Path, protocol: Protocol) -> None:
    forged = ("x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-proto", "x-forwarded-prefix", "x-root-path")
    with serving(tmp_path, "raw:app", "--workers", "2") as server:
        answer = ask(protocol, server.port, "/facts", fields=[(name, "192.0.2.6") for name in forged])
    known = json.loads(bytes(answer.body))
    assert (known["client"][0], known["scheme"], known["root_path"]) == ("127.0.0.1", "https", "")
    assert known["extensions"]["velocity"]["alpn"] == protocol
    assert known["extensions"]["velocity"]["identity"] is None


@every_protocol
def test_what_was_begun_is_lost_and_said_to_be(server: Server, protocol: Protocol) -> None:
    """A request that changes something is not asked twice."""
    answer = ask(protocol, server.port, "/exit", "POST")
    assert answer.status == 502
    assert b"ended before it had answered" in bytes(answer.body)
    assert "exited with 3" in server.line_with("worker_lost")
    assert pid(server.port, protocol)


def test_an_answer_that_was_begun_breaks_off(server: Server) -> None:
    with client_of(server.port, "h2") as client, client.stream("GET", "/stream?30") as answer:
        parts = answer.iter_raw()
        os.kill(int(next(parts)), signal.SIGKILL)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(parts)
    with Http1(server.port) as one:
        one.send("GET", "/stream?30")
        response = one.begin()
        os.kill(int(response.read1()), signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


def test_a_request_that_kills_is_asked_twice_at_most(server: Server) -> None:
    before = pids(server)
    assert ask("h2", server.port, "/kill").status == 502
    assert not any(map(is_alive, before)), "the first one was no proof"
    assert pid(server.port)


def test_who_has_started_others_is_as_dead(server: Server) -> None:
    """They still hold its sockets."""
    with Http1(server.port) as client:
        client.socket.settimeout(5)
        assert client.ask("/fork", "POST").status == 502


def test_nobody_is_left_behind(server: Server) -> None:
    found = pids(server)
    server.process.kill()
    until(lambda: not any(map(is_alive, found)), "they end with the server")


def test_recycled_under_load(tmp_path: Path) -> None:
    with crew(tmp_path, "--limit-max-requests", "60", "--limit-max-requests-jitter", "20") as server:
        with Load(server.port):
            until(lambda: len(began(server)) >= 6, "some were replaced", 60)
        assert "worker_retires" in server.stderr
        assert "worker_lost" not in server.stderr


def test_a_worker_that_is_told_to_go_is_replaced_first(server: Server) -> None:
    leaving = began(server)[0]
    with Load(server.port) as load:
        os.kill(leaving, signal.SIGTERM)
        until(lambda: not is_alive(leaving), "it goes")
        load.goes_on()
    assert f"ended {leaving}" in server.stderr
    assert len(began(server)) == 3


def test_more_and_less(server: Server) -> None:
    server.process.send_signal(signal.SIGTTIN)
    assert len(pids(server, 3)) == 3
    with Load(server.port) as load:
        for _ in range(3):
            server.process.send_signal(signal.SIGTTOU)
            time.sleep(0.1)
        until(lambda: server.stderr.count("ended") == 2, "two go")
        load.goes_on()
    assert pid(server.port), "the last one stays"


def test_everything_anew(server: Server) -> None:
    before = pids(server)
    with Load(server.port) as load:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not any(map(is_alive, before)), "the old ones go")
        load.goes_on()
    assert not pids(server) & before


def test_a_worker_that_hangs(tmp_path: Path) -> None:
    with crew(tmp_path, "--timeout-worker-healthcheck", "8") as server:
        with Http1(server.port) as blocked:
            blocked.socket.settimeout(40)
            blocked.send("POST", "/block?60")
            time.sleep(0.2)
            for _ in range(10):
                assert pid(server.port), "others are asked"
            line = server.line_with("app_blocked", 20)
            assert "programs/crew.py" in line
            assert "time.sleep(seconds)" in line
            assert blocked.receive().status == 502
        server.line_with("worker_hangs", 20)
        pids(server)


def test_what_is_in_flight_is_finished(server: Server) -> None:
    with Http1(server.port) as client:
        client.send("GET", "/sleep?1")
        time.sleep(0.3)
        server.terminate()
        assert client.receive().status == 200
    assert server.wait() == 0
    assert "worker_killed" not in server.stderr


def test_not_for_ever(tmp_path: Path) -> None:
    with crew(tmp_path, "--timeout-graceful-shutdown", "0.5") as server, Http1(server.port) as client:
        found = began(server)
        client.send("GET", "/sleep?30")
        time.sleep(0.3)
        begin = time.monotonic()
        server.terminate()
        assert server.wait() == 0
        assert time.monotonic() - begin < 6
        assert server.stderr.count("ended") == 2
        assert not any(map(is_alive, found))


def test_a_second_signal_ends_at_once(server: Server) -> None:
    found = began(server)
    with Http1(server.port) as client:
        client.send("GET", "/sleep?30")
        time.sleep(0.3)
        server.terminate()
        time.sleep(0.2)
        server.terminate()
        assert server.wait(5) == 128 + signal.SIGTERM
    until(lambda: not any(map(is_alive, found)), "they end too")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import json\n\nA = json.loads('no')\n", 'broken.py", line 3, in <module>'),
        ("other = 1\n", "there is no app in broken"),
        ("async def app(scope, receive, send):\n    raise SystemExit(1)\n", "startup of broken:app failed"),
        ("import os\n\nos._exit(4)\n", "exited with 4 before it was ready"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    done = velocity("serve", "broken:app", "--self-signed", "--workers", "2", "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert "velocity/server" not in done.stderr.decode()


def test_in_configuration_files(tmp_path: Path) -> None:
    (tmp_path / "serve.simple.yaml").write_text(
        BASE
        + f"""
content:
  routes:
    - {{path: /here, kind: python, app: 'raw:app', app_dir: {PROGRAMS}, root_path: true}}
    - {{path: /, kind: python, app: 'crew:app', app_dir: {PROGRAMS}, workers: 1}}
"""
    )
    with configured(tmp_path) as server:
        assert bytes(ask("h2", server.port, "/here").body) == b"hello"
        answer = ask("h3", server.port, "/")
        assert is_alive(int(bytes(answer.body)))
        assert int(bytes(answer.body)) != server.process.pid


def write_version(folder: Path, text: str) -> None:
    (folder / "changes.py").write_text(
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        f"    await send({{'type': 'http.response.body', 'body': {text}}})\n"
    )


def test_code_that_changes_under_load(tmp_path: Path) -> None:
    """Every connection is held all the time."""
    write_version(tmp_path, "b'one'")
    flags = ("changes:app", "--app-dir", str(tmp_path), "--reload", "--no-access-log")
    with Server(tmp_path, *flags, files=False) as server, Load(server.port) as load:
        for text in ("two", "three"):
            write_version(tmp_path, f"b'{text}'")
            load.hears(text.encode(), 20)
            load.goes_on()
        write_version(tmp_path, "'a lapse")
        line = server.line_with("changes:app cannot be imported: SyntaxError", 20)
        assert "changes.py" in line
        assert "line 4" in line
        assert "velocity/" not in line, "lines of ours are no help"
        server.line_with("the code that is running stays")
        load.goes_on()
        write_version(tmp_path, "b'four'")
        load.hears(b"four", 20)
        load.goes_on()


def test_code_of_the_same_size_within_a_second(tmp_path: Path) -> None:
    """Python's bytecode knows its source by size and whole seconds."""
    file = tmp_path / "changes.py"
    write_version(tmp_path, "b'0'")
    times = file.stat()
    flags = ("changes:app", "--app-dir", str(tmp_path), "--reload", "--no-access-log")
    with Server(tmp_path, *flags, files=False) as server, Load(server.port) as load:
        for text in ("1", "2", "3"):
            write_version(tmp_path, f"b'{text}'")
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            load.hears(text.encode(), 20)


def test_code_that_fails_at_first(tmp_path: Path) -> None:
    (tmp_path / "changes.py").write_text("open('tried', 'w').close()\nraise ValueError('not yet')\n")

    def put_right() -> None:
        until((tmp_path / "tried").exists, "it is tried", 60)
        time.sleep(1)
        write_version(tmp_path, "b'better'")

    thread = threading.Thread(target=put_right)
    thread.start()
    with Server(tmp_path, "changes:app", "--reload", files=False) as server:
        thread.join()
        assert "waiting for the next change" in server.stderr
        assert bytes(ask("h2", server.port, "/").body) == b"better"
