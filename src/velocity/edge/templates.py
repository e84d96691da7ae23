"""Templates: jinja2 with automatic escaping, in the dialect of the data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, Template, TemplateNotFound

from velocity.edge.files import media_type
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SUFFIXES", "Templates", "page_type"]

SUFFIXES = (".j2", ".jinja", ".jinja2")
"""What says that a page is a template; not part of its type."""

_ESCAPED = (".html", ".htm", ".xml", ".xhtml", ".svg")


class Templates:
    """The templates of a folder, and those of rules.

    Args:
        folder: None where there are none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        loader = FileSystemLoader(folder) if folder else None
        self.environment = Environment(loader=loader, autoescape=_escapes, keep_trailing_newline=True)  # noqa: S701
        # JSON and header fields are not HTML.
        self._plain = Environment(autoescape=False, keep_trailing_newline=True)  # noqa: S701
        self._inline: dict[str, Template] = {}

    def render(self, name: str, context: Mapping[str, Any]) -> str:
        """A page.

        Raises:
            ConfigError: TEMPLATE_MISSING.
        """
        if self.folder is None:
            raise ConfigError("TEMPLATE_MISSING", f"there is no template {name}", "EdgeApp(templates_dir=...)")
        try:
            return self.environment.get_template(name).render(context)
        except TemplateNotFound as error:
            hint = f"templates are looked for in {self.folder}"
            raise ConfigError("TEMPLATE_MISSING", f"there is no template {error.name}", hint) from None

    def inline(self, text: str, context: Mapping[str, Any]) -> str:
        """Text of a rule with `{{ }}` in it, which stands where nothing needs escaping."""
        if "{" not in text:
            return text
        # There are as many as rules have, and no client adds any.
        template = self._inline.get(text)
        if template is None:
            template = self._inline[text] = self._plain.from_string(text)
        return template.render(context)


def _escapes(name: str | None) -> bool:
    """Whether a template is HTML or XML; one without a name is taken to be."""
    return name is None or page_name(name).endswith(_ESCAPED)


def page_name(name: str) -> str:
    """The name of the page that a template is of: `login.html` of `login.html.j2`."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def page_type(name: str) -> str:
    """The media type of the page that a template is of."""
    return media_type(page_name(name))
