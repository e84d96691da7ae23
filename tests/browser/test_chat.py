"""Chromium in the FastAPI example over HTTP/3: a database, and two pages that talk by WebSocket."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from support.chromium import Page, another_tab, chromium
from support.examples import serving

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
READY = "document.documentElement.dataset.ready"
SHOWN = "[...document.querySelectorAll('#messages li')].map(item => item.innerText.replace('\\n', ': '))"


def say(page: Page, text: str) -> None:
    """As a person does it: into the field, and the button."""
    page.evaluate(f"document.querySelector('#text').value = {json.dumps(text)}")
    page.evaluate("document.querySelector('#say button').click()")


def test_two_pages_talk(tmp_path: Path) -> None:
    database, profile = tmp_path / "chat.sqlite3", tmp_path / "profile"
    with serving(tmp_path, "fastapi_chat", "app:app", {"CHAT_DATABASE": str(database)}) as server:
        forced = f"--origin-to-force-quic-on={server.address}"
        with chromium(profile, server.certificate, forced) as ada, another_tab(profile) as grace:
            ada.open(server.url("/?name=Ada"), READY)
            say(ada, "is anybody there?")
            ada.until("document.querySelectorAll('#messages li').length === 1")
            grace.open(server.url("/?name=Grace"), READY)
            assert grace.evaluate(SHOWN) == ["Ada: is anybody there?"], "from the database"
            say(grace, "<i>yes</i>, over HTTP/3")
            said = ["Ada: is anybody there?", "Grace: <i>yes</i>, over HTTP/3"]
            for name, page in (("ada", ada), ("grace", grace)):
                page.until("document.querySelectorAll('#messages li').length === 2")
                assert page.evaluate(SHOWN) == said
                assert page.evaluate(PROTOCOL) == "h3"
                fetched = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)")
                assert set(fetched) == {"h3"}
                assert page.evaluate("document.querySelector('#protocol').textContent") == "h3, X25519MLKEM768"
                picture = tmp_path / f"{name}.png"
                page.call("Page.bringToFront")  # nothing is drawn of a tab behind
                page.screenshot(picture)
                content = picture.read_bytes()
                assert content.startswith(b"\x89PNG")
                assert len(content) > 10_000, "more than an empty page"
                assert page.problems == []
        server.terminate()
        assert server.wait() == 0
    assert sqlite3.connect(database).execute("SELECT count(*) FROM message").fetchone() == (2,)
