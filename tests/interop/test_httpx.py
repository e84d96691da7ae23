"""httpx2: the client most Python programs use, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx2
import pytest

from support.site import INDEX, TEXT, Site

if TYPE_CHECKING:
    from support.server import Server


@pytest.mark.parametrize(("http2", "version"), [(False, "HTTP/1.1"), (True, "HTTP/2")])
def test_session(server: Server, site: Site, http2: bool, version: str) -> None:
    trust = ssl.create_default_context(cafile=str(server.certificate))
    with httpx2.Client(http1=not http2, http2=http2, verify=trust, base_url=server.url()) as client:
        first = client.get("/")
        assert (first.http_version, first.status_code, first.content) == (version, 200, INDEX)
        assert client.get("/data.bin").content == site.binary
        assert client.get("/long.txt").text == TEXT.decode()
        assert (
            client.get("/hello.txt", headers={"if-none-match": client.head("/hello.txt").headers["etag"]}).status_code
            == 304
        )
        redirected = client.get("/sub", follow_redirects=True)
        assert redirected.status_code == 200
        assert redirected.url.path == "/sub/"
        assert client.get("/nothing-here").status_code == 404
