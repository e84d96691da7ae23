"""Templates: what is escaped, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from velocity.edge import EdgeApp, EdgeResponse
from velocity.edge.testing import TestClient
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "expected", "kind"),
    [
        ("a.html", "&lt;b&gt; 1 \n", "text/html; charset=utf-8"),
        ("a.html.j2", "&lt;b&gt; 1 \n", "text/html; charset=utf-8"),
        ("a", "&lt;b&gt; 1 \n", "application/octet-stream"),
        ("a.svg", "&lt;b&gt; 1 \n", "image/svg+xml"),
        ("a.txt", "<b> 1 \n", "text/plain; charset=utf-8"),
        ("a.json", '"<b>" 1 \n', "application/json"),
        ("a.js.jinja", '"<b>" 1 \n', "text/javascript; charset=utf-8"),
    ],
)
def test_pages_are_escaped_by_their_names(tmp_path: Path, name: str, expected: str, kind: str) -> None:
    (tmp_path / name).write_text("{{ text }} {{ number }} {{ nothing }}\n")
    app = EdgeApp(templates_dir=tmp_path)

    @app.get("/")
    async def handler() -> EdgeResponse:
        return app.render(name, {"text": "<b>", "number": 1}, status=201, headers={"x-a": "b"})

    reply = TestClient(app).get("/")
    assert (reply.status, reply.text, reply.headers["content-type"], reply.headers["x-a"]) == (201, expected, kind, "b")


def test_templates_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("{% include 'b.html' %}")
    with pytest.raises(ConfigError, match=r"there is no template b\.html") as caught:
        EdgeApp(templates_dir=tmp_path).render("a.html")
    assert (caught.value.code, caught.value.hint) == ("TEMPLATE_MISSING", f"templates are looked for in {tmp_path}")
    with pytest.raises(ConfigError, match=r"there is no template a\.html"):
        EdgeApp().render("a.html")
    with pytest.raises(ConfigError, match="there is no template"):
        EdgeApp(templates_dir=tmp_path / "inner").render("../a.html")
