"""Chromium before an edge configuration: a site, a template, an attack that is stopped, a limit that is hit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.chromium import Page, chromium
from support.configured import BASE, Configured, serving, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EDGE = """\
templates_dir: templates
waf: true
routes:
  - {path: "/hello/{name}", template: hello.html}
  - {path: /limited, file: public/limited.html, rate_limit: {limit: 2, window: 1h}}
"""
SITE = "content: {sites: [{root: public, error_pages: {403: 403.html, 429: 429.html}}]}\n"
PAGE = '<!doctype html>\n<html lang="en"><title>%s</title><h1>%s</h1><p>%s</p></html>\n'
FILES = {
    "public/index.html": PAGE % ("Site", "A site", "from a folder"),
    "public/limited.html": PAGE % ("Limited", "Twice an hour", "no more"),
    "public/403.html": PAGE % ("Stopped", "Stopped", "this request looks like an attack"),
    "public/429.html": PAGE % ("Later", "Later", "too many requests"),
    "templates/hello.html": PAGE % ("Hello", "Hello, {{ name }}!", "{{ query.q }}"),
}

STATUS = "performance.getEntriesByType('navigation')[0].responseStatus"
LOADED = "document.readyState === 'complete'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    folder = tmp_path_factory.mktemp("edge")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    write(folder, f"{BASE}{SITE}")
    write(folder, EDGE, "edge.yaml")
    with serving(folder, "--edge-config", "edge.yaml") as running:
        yield running


@pytest.fixture(params=["h3", "h2"])
def page(request: pytest.FixtureRequest, server: Configured, tmp_path: Path) -> Iterator[Page]:
    quic = f"--origin-to-force-quic-on=localhost:{server.port}" if request.param == "h3" else "--disable-quic"
    certificate = next(server.folder.rglob("cert.classical.pem"))
    with chromium(tmp_path / "profile", certificate, quic) as tab:
        yield tab


def shown(page: Page, url: str, picture: Path) -> tuple[int, str, str]:
    """The status, heading and text of a page, of which there is a picture then."""
    page.open(url, LOADED)
    page.screenshot(picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") >= 1000, "the width of the window"
    assert len(content) > 4000, "more than an empty page"
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
    heading, text = page.evaluate("[document.querySelector('h1').innerText, document.querySelector('p').innerText]")
    return page.evaluate(STATUS), heading, text


def test_a_site_and_a_template(server: Configured, page: Page, tmp_path: Path) -> None:
    assert shown(page, f"{server.url}/", tmp_path / "site.png") == (200, "A site", "from a folder")
    hello = shown(page, f"{server.url}/hello/ada%20%3Cb%3E?q=1%20%26%202", tmp_path / "template.png")
    assert hello == (200, "Hello, ada <b>!", "1 & 2")
    assert page.evaluate("document.querySelectorAll('b').length") == 0
    assert (tmp_path / "site.png").read_bytes() != (tmp_path / "template.png").read_bytes()


def test_an_attack_is_stopped(server: Configured, page: Page, tmp_path: Path) -> None:
    attack = f"{server.url}/hello/ada?q=%3Cscript%3Ealert(1)%3C/script%3E"
    assert shown(page, attack, tmp_path / "403.png") == (403, "Stopped", "this request looks like an attack")


def test_a_limit_is_hit(server: Configured, page: Page, tmp_path: Path) -> None:
    """The window is long, and shared by all browsers here."""
    statuses = [shown(page, f"{server.url}/limited?{visit}", tmp_path / f"{visit}.png") for visit in range(3)]
    assert statuses[-1] == (429, "Later", "too many requests")
    assert all(status in ((200, "Twice an hour", "no more"), statuses[-1]) for status in statuses)
