"""The PROXY protocol between us and those who had it first: HAProxy in front, HAProxy and nginx behind."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import needs
from support.backend import Backend
from support.engine import Engine, plan, route
from support.front import closed_port, proxy, quic, serve
from support.http1 import TIMEOUT, Http1, tls_context
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Pair

WHO = {"kind": "json", "status": 200, "body": "{{ client }}"}
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
FROM_7 = V2 + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 187])


class Announced(Http1):
    """A connection over HTTP/1.1 that begins with something before TLS."""

    def __init__(self, port: int, header: bytes = b"", source: str = "127.0.0.1") -> None:
        raw = socket.create_connection(("127.0.0.1", port), TIMEOUT, source_address=(source, 0))
        try:
            announce(raw, header)
            self.socket = tls_context().wrap_socket(raw, server_hostname="localhost")
        except BaseException:
            raw.close()
            raise


def announce(raw: socket.socket, header: bytes) -> None:
    """Send it in pieces, as a network may bring it."""
    for start in range(0, len(header), 7):
        raw.sendall(header[start : start + 7])


def who(port: int, header: bytes = b"", source: str = "127.0.0.1") -> Any:
    """Whom the server takes for the client."""
    with Announced(port, header, source) as connection:
        return json.loads(connection.ask("/").body)


def is_refused(port: int, beginning: bytes, source: str = "127.0.0.1") -> bool:
    """Whether the server closes the connection, and says no more than an alert, when TLS follows on `beginning`."""
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        tls_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT, source_address=(source, 0)) as raw:
        try:
            announce(raw, beginning)
            raw.sendall(hello.read())
            # A fatal alert is a goodbye as well (RFC 8446 section 6).
            return raw.recv(1) in (b"", b"\x15")
        except ConnectionError:
            return True


def listening(pair: Pair, **more: Any) -> Engine:
    rule = {"trusted": ["127.0.0.1"], **more}
    return Engine(plan(pair, [route(WHO)], proxy_protocol=rule))


@contextlib.contextmanager
def haproxy(folder: Path, rest: str) -> Iterator[None]:
    """HAProxy, ready to serve."""
    program = needs.command("haproxy", "haproxy")
    head = "global\n  maxconn 200\ndefaults\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n"
    (folder / "haproxy.cfg").write_text(head + rest)
    process = subprocess.Popen([program, "-q", "-db", "-f", folder / "haproxy.cfg"], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def until_listening(port: int) -> int:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {port}"
            time.sleep(0.05)
        else:
            return port


def test_the_header_says_who_the_client_is(pair: Pair) -> None:
    with listening(pair) as engine:
        for header, client in (
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (FROM_7, "192.0.2.7"),
            (FROM_7[:15] + b"\x12" + FROM_7[16:] + b"\x04\x00\x03abc", "192.0.2.7"),
            (V2 + b"\x20\x00\x00\x00", "127.0.0.1"),
        ):
            assert who(engine.port, header) == client, header
        # Whoever is not trusted is a client, and what it says of others is no TLS.
        assert who(engine.port, source="127.0.0.2") == "127.0.0.2"
        assert is_refused(engine.port, FROM_7, source="127.0.0.2")
        # QUIC has nothing of the kind.
        connection = quic(engine.port, "h3")
        response = connection.request("GET", "/", [], None, TIMEOUT)
        assert json.loads(b"".join(iter(response.read, None))) == "127.0.0.1"
        connection.close()


@pytest.mark.parametrize(
    "beginning",
    [b"", b"PROXY TCP4 192.0.2.7\r\n", b"PROXY " + b"x" * 200, V2 + b"\x31\x11\x00\x00", V2 + b"\x21\x11\xff\xff"],
)
def test_what_is_none_closes_the_connection(pair: Pair, beginning: bytes) -> None:
    with listening(pair) as engine:
        assert is_refused(engine.port, beginning)
        assert " warn " in engine.line_with("proxy_header_refused", "client=127.0.0.1:")
        assert who(engine.port, FROM_7) == "192.0.2.7"
        assert engine.end().count("proxy_header_refused") == 1


def test_it_has_to_come_in_time(pair: Pair) -> None:
    rule = {"trusted": ["127.0.0.0/8"]}
    with (
        Engine(plan(pair, [route(WHO)], proxy_protocol=rule, limits={"handshake_timeout_ms": 300})) as engine,
        socket.create_connection(("127.0.0.1", engine.port), TIMEOUT) as raw,
    ):
        raw.sendall(FROM_7[:14])
        begun = time.monotonic()
        assert raw.recv(1) == b""
        assert 0.2 < time.monotonic() - begun < 3
        engine.line_with("proxy_header_refused", "too long")


def test_where_it_is_not_required_both_are_read(pair: Pair) -> None:
    with listening(pair, required=False) as engine:
        assert who(engine.port, FROM_7) == "192.0.2.7"
        assert who(engine.port) == "127.0.0.1"


def test_a_reload_says_whom_to_believe_from_then_on(pair: Pair) -> None:
    with Engine(plan(pair, [route(WHO)])) as engine:
        assert who(engine.port) == "127.0.0.1"
        rule = {"trusted": ["127.0.0.1"]}
        assert engine.reload(plan(pair, [route(WHO)], proxy_protocol=rule)) == {}
        assert who(engine.port, FROM_7) == "192.0.2.7"
        assert (
            engine.reload(plan(pair, [route(WHO)], proxy_protocol={"trusted": ["nowhere"]}))["code"]
            == "NETWORK_INVALID"
        )


def test_logs_and_limits_know_the_client(tmp_path: Path) -> None:
    with Server(tmp_path, "--proxy-protocol", "127.0.0.0/8") as server:
        with Announced(server.port, FROM_7) as connection:
            connection.ask("/logged")
        assert json.loads(server.line_with('"/logged"'))["client"].startswith("192.0.2.7")


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"])
def test_haproxy_in_front(pair: Pair, tmp_path: Path, version: str) -> None:
    with listening(pair) as engine:
        port = closed_port()
        rest = f"listen front\n  mode tcp\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{engine.port} {version}\n"
        with haproxy(tmp_path, rest):
            until_listening(port)
            for source in ("127.0.0.2", "127.0.0.3"):
                assert who(port, source=source) == source


NGINX = """\
daemon off;
master_process off;
pid FOLDER/pid;
error_log FOLDER/errors info;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/bodies;
    proxy_temp_path FOLDER/answers;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    server {
        listen 127.0.0.1:PORT proxy_protocol;
        return 200 "$proxy_protocol_addr $proxy_protocol_port $connection_requests $proxy_protocol_server_addr";
    }
}
"""


STREAM = """\
load_module MODULE;
daemon off;
master_process off;
pid FOLDER/pid;
error_log FOLDER/errors info;
events {}
stream { server { listen 127.0.0.1:PORT; proxy_pass 127.0.0.1:BEHIND; proxy_protocol on; } }
"""


@contextlib.contextmanager
def nginx(folder: Path, configuration: str, port: int, behind: int = 0) -> Iterator[None]:
    program = needs.command("nginx", "nginx")
    for name, value in (("FOLDER", folder), ("PORT", port), ("BEHIND", behind)):
        configuration = configuration.replace(name, str(value))
    (folder / "nginx.conf").write_text(configuration)
    command: list[str | Path] = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "errors"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_nginx_in_front(pair: Pair, tmp_path: Path) -> None:
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if not module.exists():
        needs.skip("no stream module of nginx on this machine: install libnginx-mod-stream")
    port = closed_port()
    with listening(pair) as engine, nginx(tmp_path, STREAM.replace("MODULE", str(module)), port, engine.port):
        until_listening(port)
        for source in ("127.0.0.2", "127.0.0.3"):
            assert who(port, source=source) == source


@contextlib.contextmanager
def behind(kind: str, folder: Path, port: int) -> Iterator[None]:
    """A server that says who the client is, which request on its connection that is, and where it came to."""
    rest = (
        f"frontend behind\n  mode http\n  bind 127.0.0.1:{port} accept-proxy\n"
        '  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] 0 %[dst]"\n'
    )
    with nginx(folder, NGINX, port) if kind == "nginx" else haproxy(folder, rest):
        until_listening(port)
        yield


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_upstreams_are_told_whose_a_connection_is(pair: Pair, tmp_path: Path, kind: str, version: str) -> None:
    port = closed_port()
    upstream = {"url": f"http://127.0.0.1:{port}", "proxy_protocol": version}
    everywhere = [{"address": "0.0.0.0:0", "alpn": ["http/1.1"]}]
    handlers = {"/": proxy(upstream, retries={"attempts": 0})}
    with behind(kind, tmp_path, port), serve(pair, handlers, listeners=everywhere) as engine:
        clients = [Announced(engine.port, source=source) for source in ("127.0.0.2", "127.0.0.3", "127.0.0.3")]
        for number in (1, 2, 3):
            for client in clients:
                address, source, at, destination = client.ask("/").body.decode().split()
                assert destination == "127.0.0.1"
                assert (address, int(source)) == client.socket.getsockname()
                if kind == "nginx":
                    assert int(at) == number, "a client's next request goes over its own connection"
        for client in clients:
            client.close()


def test_who_the_client_is_comes_from_trusted_proxies(pair: Pair, tmp_path: Path) -> None:
    port = closed_port()
    upstream = {"url": f"http://127.0.0.1:{port}", "proxy_protocol": "v2"}
    with (
        behind("haproxy", tmp_path, port),
        serve(pair, {"/": proxy(upstream)}, trusted_proxies=["127.0.0.1"]) as engine,
        Http1(engine.port) as client,
    ):
        # Of an address of the other family nothing is said.
        for address, destination in (("192.0.2.7", "127.0.0.1"), ("2001:db8::7", "::")):
            told = client.ask("/", fields=[("x-forwarded-for", address)]).body
            assert told == f"{address}  0 {destination}".encode(), "from no port"


@pytest.mark.parametrize("scheme", ["https", "h2"])
def test_from_one_of_ours_to_another(pair: Pair, scheme: str) -> None:
    """In front of TLS, and over HTTP/2, where the connection of one client is not another one's either."""
    alpn = ["h2"] if scheme == "h2" else ["http/1.1"]
    listener = [{"address": "127.0.0.1:0", "alpn": alpn}]
    rule = {"trusted": ["127.0.0.1"]}
    with Engine(plan(pair, [route(WHO)], proxy_protocol=rule, listeners=listener)) as back:
        upstream = {"url": f"https://127.0.0.1:{back.port}", "proxy_protocol": "v2"}
        with serve(pair, {"/": proxy(upstream, tls={"insecure": True})}) as front:
            for source in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
                assert who(front.port, source=source) == source


def test_checks_are_nobodys(pair: Pair) -> None:
    with Backend() as backend:
        upstream = {"url": backend.url, "proxy_protocol": "v1"}
        health = {"path": "/healthz", "interval_ms": 50, "timeout_ms": 1000, "rise": 1, "fall": 1, "status": None}
        with serve(pair, {"/": proxy(upstream, health=health)}) as engine, Http1(engine.port) as client:
            client.ask("/")
            deadline = time.monotonic() + 5
            while "request line b'PROXY UNKNOWN\\r\\n'" not in backend.nonsense:
                assert time.monotonic() < deadline, backend.nonsense
                time.sleep(0.05)


def test_a_protocol_of_tcp_is_for_tcp(pair: Pair) -> None:
    for url in ("h3://127.0.0.1:1", "velocity://127.0.0.1:1"):
        with pytest.raises(AssertionError, match="UPSTREAM_INVALID"):
            serve(pair, {"/": proxy({"url": url, "proxy_protocol": "v2"})})
