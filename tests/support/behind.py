"""Servers behind a proxy that nobody here wrote, and what each has understood: h11, Go's net/http, and nginx.

Each answers every request that it has read to its end with 200, a field `x-behind`, and `ok`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import h11

from support import golang, needs

if TYPE_CHECKING:
    from collections.abc import Iterator

GO = Path(__file__).parents[1] / "interop" / "gobehind"


class Seen(NamedTuple):
    """A request as a server has understood it."""

    connection: int
    """Which one brought it."""
    number: int
    """Which one it was there, from 1."""
    method: str
    target: str
    body: bytes | None = b""
    """`None` if it was not kept."""
    complete: bool = False
    """Whether the body came to its end."""


class Behind(Protocol):
    """A server."""

    @property
    def url(self) -> str:
        """As `--proxy` takes it."""

    @property
    def seen(self) -> list[Seen]:
        """All requests that have come."""

    @property
    def refused(self) -> list[str]:
        """What the server has said against what it would not read."""


class H11:
    """h11, with a thread for each connection."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.refused: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        connection = 0
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                connection += 1
                threading.Thread(target=self._serve, args=(stream, connection), daemon=True).start()

    def _serve(self, stream: socket.socket, connection: int) -> None:
        parser = h11.Connection(h11.SERVER)
        number, begun = 0, None
        with stream:
            try:
                while isinstance(request := _next(parser, stream), h11.Request):
                    number += 1
                    begun = Seen(connection, number, request.method.decode(), request.target.decode("latin-1"))
                    body = bytearray()
                    while isinstance(data := _next(parser, stream), h11.Data):
                        body += data.data
                    self.seen.append(begun._replace(body=bytes(body), complete=True))
                    begun = None
                    head = h11.Response(status_code=200, headers=[("x-behind", "h11"), ("content-length", "2")])
                    content = h11.Data(b"" if request.method == b"HEAD" else b"ok")
                    answer = [parser.send(event) or b"" for event in (head, content, h11.EndOfMessage())]
                    stream.sendall(b"".join(answer))
                    if parser.our_state is h11.MUST_CLOSE:
                        return
                    parser.start_next_cycle()
            except h11.RemoteProtocolError as error:
                if begun is not None:
                    self.seen.append(begun)
                # To break off is an error, too, but none that h11 finds in what it has read.
                if not parser.trailing_data[1]:
                    self.refused.append(str(error))
            except OSError:
                pass


def _next(parser: h11.Connection, stream: socket.socket) -> object:
    while (event := parser.next_event()) is h11.NEED_DATA:
        parser.receive_data(stream.recv(65536))
    return event


class Go:
    """Go's net/http."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.seen: list[Seen] = []
        self.refused: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self._reader.join(10)
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if refused := said.pop("refused"):
                self.refused.append(refused)
            else:
                self.seen.append(Seen(**said | {"body": base64.b64decode(said["body"] or "")}))


NGINX = """\
daemon off;
master_process off;
pid FOLDER/pid;
error_log FOLDER/errors info;
events {}
http {
    log_format seen escape=json
        '{"connection":$connection,"number":$connection_requests,"method":"$request_method","target":"$request_uri",'
        '"body":"$request_body","status":$status}';
    access_log FOLDER/seen seen;
    client_body_temp_path FOLDER/bodies;
    proxy_temp_path FOLDER/answers;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    client_body_buffer_size 1m;
    client_max_body_size 0;
    keepalive_requests 100000;
    underscores_in_headers on;
    server {
        listen unix:FOLDER/front;
        add_header x-behind nginx always;
        # Only what is passed on has its body read.
        location / { proxy_pass http://unix:FOLDER/back; }
    }
    server {
        listen unix:FOLDER/back;
        access_log off;
        return 200 ok;
    }
}
"""


class Nginx:
    """nginx, on a socket in a folder."""

    def __init__(self, folder: Path) -> None:
        program = needs.command("nginx", "nginx")
        self._folder = folder
        self.url = f"unix:{folder}/front"
        (folder / "nginx.conf").write_text(NGINX.replace("FOLDER", str(folder)))
        command: list[str | Path] = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "errors"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not (folder / "pid").exists():
            assert self.process.poll() is None, (folder / "errors").read_text()
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.02)

    @property
    def seen(self) -> list[Seen]:
        found = []
        for line in (self._folder / "seen").read_text("latin-1").splitlines():
            said = json.loads(line)
            status, body = said.pop("status"), said.pop("body").encode("latin-1")
            # It answers TRACE with 405, and throws away what came with it. What it has refused has no method.
            if said["method"]:
                found.append(Seen(**said, body=None if status == 405 else body, complete=status in (200, 405)))
        return found

    @property
    def refused(self) -> list[str]:
        return re.findall(
            "client sent (?!TRACE).*?(?=, client: |$)", (self._folder / "errors").read_text("latin-1"), re.MULTILINE
        )

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


@contextlib.contextmanager
def all_of_them(folder: Path) -> Iterator[dict[str, Behind]]:
    """Each of them, by name."""
    with contextlib.ExitStack() as stack:
        yield {
            "h11": stack.enter_context(contextlib.closing(H11())),
            "go": stack.enter_context(contextlib.closing(Go(golang.build(GO, folder)))),
            "nginx": stack.enter_context(contextlib.closing(Nginx(folder))),
        }
