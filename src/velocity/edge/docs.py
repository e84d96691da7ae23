"""Pages about an application: its OpenAPI document, and one that shows it, with nothing from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment

from velocity.edge.openapi import describe
from velocity.edge.responses import EdgeResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity.edge.app import EdgeApp

__all__ = ["Documentation"]


class Documentation:
    """The pages, made when they are first asked for.

    Args:
        app: what they are about.
        openapi_path: of the document; None is nowhere.
        docs_path: of the page; None is nowhere.
    """

    def __init__(self, app: EdgeApp, openapi_path: str | None, docs_path: str | None) -> None:
        self._app = app
        self._made: tuple[int, dict[str, Any]] | None = None
        self._openapi_path = openapi_path
        self._docs_path = docs_path

    def page(self, path: str) -> Callable[[], EdgeResponse] | None:
        """What makes the page at a path; None if there is none."""
        if self._openapi_path is not None and path == self._openapi_path:
            return lambda: EdgeResponse.json(self.document())
        if self._docs_path is not None:
            if path == self._docs_path:
                return self._shown
            if path == f"{self._docs_path}/style.css":
                return lambda: EdgeResponse(_read("docs.css"), content_type="text/css; charset=utf-8")
        return None

    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        count = len(self._app.routes)
        if self._made is None or self._made[0] != count:
            self._made = (count, describe(self._app))
        return self._made[1]

    def _shown(self) -> EdgeResponse:
        template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_read("docs.html"))
        base = (self._docs_path or "").rpartition("/")[2]
        return EdgeResponse.html(
            template.render(document=self.document(), style=f"{base}/style.css", openapi=self._relative())
        )

    def _relative(self) -> str | None:
        """The address of the document as seen from the page, wherever the application is mounted."""
        if self._openapi_path is None or self._docs_path is None:
            return None
        up = "../" * (self._docs_path.count("/") - 1)
        return f"{up}{self._openapi_path.lstrip('/')}"


def _read(name: str) -> str:
    return resources.files("velocity.edge").joinpath(name).read_text("utf-8")
