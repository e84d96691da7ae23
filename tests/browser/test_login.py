"""A person logs in with Debian's Chromium, through the pages of a real provider."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from support import oidc
from support.chromium import Page, chromium
from support.oidc import SECRET, Provider
from support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

EDGE = """
templates_dir: templates
middlewares:
  - kind: oidc
    issuer: http://localhost:PORT
    client_id: velocity
    client_secret: {file: oidc.secret}
    scopes: [profile, email, groups]
    claims: [name]
    require: {groups: [ops]}
routes:
  - {path: /, template: hello.html}
"""
HELLO = "<!doctype html><title>Hello</title><h1>Hello, {{ claims.name }}</h1><p>You are {{ claims.sub }}.</p>\n"

# The provider's pages want a font of the internet, where nobody goes from here.
ALONE = "--host-resolver-rules=MAP localhost 127.0.0.1,MAP * ~NOTFOUND"
LOGIN = "document.querySelector('input[name=login]')"
CONSENT = "document.querySelector('input[name=prompt][value=consent]')"


def log_in(page: Page, name: str) -> None:
    """Fill in the provider's form, and agree to what it asks."""
    page.until(LOGIN)
    page.evaluate(f"{LOGIN}.value = '{name}', document.querySelector('input[name=password]').value = 'any'")
    page.evaluate("document.querySelector('button[type=submit]').click()")
    page.until(CONSENT)
    page.evaluate("document.querySelector('button[type=submit]').click()")


def picture(page: Page, file: Path) -> bytes:
    """A screenshot with something on it."""
    page.screenshot(file)
    content = file.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG")
    assert (width, height) >= (800, 600)
    assert len(content) > 5000, "it is blank"
    return content


def test_a_person_logs_in_and_out(tmp_path: Path) -> None:
    port = oidc.free_port()
    for folder in ("root", "templates"):
        (tmp_path / folder).mkdir()
    (tmp_path / "templates" / "hello.html").write_text(HELLO)
    (tmp_path / "oidc.secret").write_text(SECRET)
    (tmp_path / "edge.yaml").write_text(EDGE.replace("PORT", str(port)))
    with (
        Server(tmp_path / "root", "--edge-config", tmp_path / "edge.yaml") as server,
        Provider(port, f"https://localhost:{server.port}") as provider,
        chromium(tmp_path / "profile", server.certificate, "--disable-quic", ALONE) as page,
    ):
        page.visit(server.url("/?from=here"), LOGIN)
        assert page.evaluate("location.origin") == provider.issuer
        asked = picture(page, tmp_path / "login.png")
        log_in(page, "ann")
        page.until(f"location.origin === 'https://{server.address}'")
        assert page.evaluate("location.pathname + location.search") == "/?from=here"
        assert page.evaluate("document.querySelector('h1').textContent") == "Hello, Ann Ü"
        assert page.evaluate("document.cookie") == "", "a script sees the session"
        assert picture(page, tmp_path / "hello.png") != asked
        # A script of the page has the session, and is told when there is none.
        status = "fetch('/').then(answer => answer.status)"
        assert page.evaluate(status) == 200
        assert page.evaluate(status.replace("'/'", "'/', {credentials: 'omit'}")) == 401

        page.visit(server.url("/.velocity/oidc/logout"), "document.querySelector('button[value=yes]')")
        picture(page, tmp_path / "logout.png")
        page.evaluate("document.querySelector('button[value=yes]').click()")
        page.until("!document.querySelector('button')")
        page.visit(server.url(), LOGIN)
        log_in(page, "bob")
        page.until(f"location.origin === 'https://{server.address}'")
        assert "this is not for you" in page.evaluate("document.body.textContent")
        picture(page, tmp_path / "refused.png")
