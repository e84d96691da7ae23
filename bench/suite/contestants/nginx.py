"""nginx, as Debian packages it."""

from __future__ import annotations

import os

from suite.contestants.base import Contestant, find, output

# Defaults wherever possible. `sendfile`, `tcp_nopush` and `http2` are what Debian's own configuration
# and every guide switch on; the limits only keep it from closing the connections of a bench.
CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{
    worker_connections 19000;
}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {outside}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096;
        server_name localhost;
        ssl_protocols TLSv1.3;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {inside}
    }}
}}
"""


class Nginx(Contestant):
    """One worker. Debian 12's nginx has no HTTP/3."""

    name = "nginx"
    protocols = frozenset({"h2", "http/1.1"})

    def version(self) -> str:
        return output([self._executable(), "-v"]).rsplit("/", 1)[-1]

    def command(self, port: int) -> list[str]:
        folder = self.setup.cache / "nginx"
        folder.mkdir(parents=True, exist_ok=True)
        outside, inside = self.what()
        file = folder / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(
                # A worker started by root would change to a user who may not read the cache.
                user="user root;" if os.geteuid() == 0 else "",
                folder=folder,
                port=port,
                certificate=self.setup.certificate,
                key=self.setup.key,
                outside=outside,
                inside=inside,
            )
        )
        return [self._executable(), "-c", str(file), "-e", str(folder / "error.log")]

    def what(self) -> tuple[str, str]:
        """What is served: lines beside the server, and in it."""
        return "", f"root {self.setup.root};"

    def _executable(self) -> str:
        return find("nginx", "apt-get install nginx, or leave it out with --contestants")
