"""The servers in front of another one: the same sockets and certificates, and a backend instead of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from suite.contestants.base import Contestant, find, output
from suite.contestants.caddy import Caddy
from suite.contestants.nginx import Nginx
from suite.contestants.velocity import Velocity

if TYPE_CHECKING:
    from suite.contestants.base import Setup

# Two processes would be two cores; everything else is what its manual begins with.
HAPROXY = """\
global
    nbthread 1
    maxconn 9000
    ssl-default-bind-curves X25519
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    option http-keep-alive
frontend public
    bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1
    default_backend behind
backend behind
    http-reuse safe
    server one 127.0.0.1:{backend}
"""


class Haproxy(Contestant):
    """One thread. It serves no files: without a backend it has nothing to do."""

    name = "haproxy"
    protocols = frozenset({"h2", "http/1.1"})
    backend = 0

    def version(self) -> str:
        return output([self._executable(), "-v"]).split()[2].split("-")[0]

    def command(self, port: int) -> list[str]:
        folder = self.setup.cache / "haproxy"
        folder.mkdir(parents=True, exist_ok=True)
        pem = folder / "localhost.pem"
        with open(pem, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(self.setup.certificate.read_text() + self.setup.key.read_text())
        file = folder / "haproxy.cfg"
        file.write_text(HAPROXY.format(port=port, pem=pem, backend=self.backend))
        return [self._executable(), "-db", "-q", "-f", str(file)]

    def _executable(self) -> str:
        return find("haproxy", "apt-get install haproxy, or leave it out with --contestants")


class VelocityInFront(Velocity):
    """`velocity serve --proxy`."""

    backend = 0

    def what(self) -> list[str]:
        return ["--proxy", f"http://127.0.0.1:{self.backend}"]


class NginxInFront(Nginx):
    """`proxy_pass` with connections that are kept, as its documentation has it."""

    backend = 0

    def what(self) -> tuple[str, str]:
        return (
            f"upstream behind {{ server 127.0.0.1:{self.backend}; keepalive 64; keepalive_requests 1000000000; }}",
            'location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }',
        )


class CaddyInFront(Caddy):
    """`reverse_proxy`."""

    backend = 0

    def what(self) -> str:
        return f"reverse_proxy 127.0.0.1:{self.backend}"


InFront = VelocityInFront | NginxInFront | Haproxy | CaddyInFront
_KINDS: tuple[type[InFront], ...] = (VelocityInFront, NginxInFront, Haproxy, CaddyInFront)
IN_FRONT: dict[str, type[InFront]] = {kind.name: kind for kind in _KINDS}


def in_front(name: str, setup: Setup, backend: int) -> Contestant:
    """The contestant of this name as a proxy.

    Args:
        name: of the contestant.
        setup: as for every contestant.
        backend: port on 127.0.0.1.
    """
    proxy = IN_FRONT[name](setup)
    proxy.backend = backend
    return proxy
