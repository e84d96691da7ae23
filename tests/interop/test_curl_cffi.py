"""curl with BoringSSL, ngtcp2 and nghttp3, by curl_cffi: one more HTTP/3 stack, which browsers' servers meet."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from curl_cffi import CurlHttpVersion, Session

from support import needs, site
from support.server import Server
from support.site import INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIB = 1 << 30
HTTP3 = CurlHttpVersion.V3


@pytest.fixture
def session() -> Iterator[Session[Any]]:
    with Session(verify=False, http_version=CurlHttpVersion.V3ONLY, timeout=60) as opened:
        yield opened


def test_fetch(server: Server, session: Session[Any]) -> None:
    answer = session.get(server.url())
    assert (answer.status_code, answer.content, answer.http_version) == (200, INDEX, HTTP3)
    assert session.get(server.url("/nothing-here")).status_code == 404


def test_a_gibibyte(tmp_path: Path, session: Session[Any]) -> None:
    needs.free_space(tmp_path, 2 * GIB)
    root = tmp_path / "root"
    root.mkdir()
    wanted = site.large_file(root / "gibibyte.bin", GIB)
    with Server(root) as running:
        digest = hashlib.sha256()
        answer = session.get(running.url("/gibibyte.bin"), stream=True)
        for chunk in answer.iter_content():
            digest.update(chunk)
        assert digest.hexdigest() == wanted
        assert running.memory() < 100 << 20


def test_an_upload_that_is_answered_early(server: Server, session: Session[Any]) -> None:
    answer = session.post(server.url("/hello.txt"), data=bytes(64 << 20))
    assert answer.status_code == 405
    assert session.get(server.url("/hello.txt")).content == b"hello\n"


def test_downloads_that_are_given_up(server: Server, session: Session[Any]) -> None:
    for _ in range(20):
        answer = session.get(server.url("/data.bin"), stream=True)
        next(answer.iter_content())
        answer.close()
    assert session.get(server.url("/hello.txt")).content == b"hello\n"
