"""Templates: jinja2 in the dialect of the data plane, which escapes by the name of the page.

Pages are HTML unless their name says otherwise: text, Markdown, CSV and CSS are not escaped, and in JSON, JavaScript
and YAML every `{{ }}` is a JSON value.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, Template, TemplateNotFound, Undefined
from markupsafe import Markup

from velocity.edge.files import media_type
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SUFFIXES", "Templates", "page_type"]

SUFFIXES = (".j2", ".jinja", ".jinja2")
"""What says that a page is a template; not part of its type."""

_VALUES = (".json", ".js", ".mjs", ".yaml", ".yml")
_UNESCAPED = (".txt", ".md", ".csv", ".css", *_VALUES)


class Templates:
    """The templates of a folder, and those of rules.

    Args:
        folder: None where there are none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        loader = FileSystemLoader(folder) if folder else None
        self.environment = Environment(loader=loader, autoescape=_escapes, keep_trailing_newline=True)  # noqa: S701
        self._values = self.environment.overlay(finalize=_as_json)
        # JSON of rules and header fields are not HTML.
        self._plain = Environment(autoescape=False, keep_trailing_newline=True)  # noqa: S701
        self._inline: dict[str, Template] = {}

    def render(self, name: str, context: Mapping[str, Any]) -> str:
        """A page.

        Raises:
            ConfigError: TEMPLATE_MISSING.
        """
        if self.folder is None:
            raise ConfigError("TEMPLATE_MISSING", f"there is no template {name}", "EdgeApp(templates_dir=...)")
        environment = self._values if _page_name(name).endswith(_VALUES) else self.environment
        try:
            return environment.get_template(name).render(context)
        except TemplateNotFound as error:
            hint = f"templates are looked for in {self.folder}"
            raise ConfigError("TEMPLATE_MISSING", f"there is no template {error.name}", hint) from None

    def inline(self, text: str, context: Mapping[str, Any]) -> str:
        """Text of a rule with `{{ }}` in it, which stands where nothing needs escaping."""
        if not any(mark in text for mark in ("{{", "{%", "{#")):
            return text
        # There are as many as rules have, and no client adds any.
        template = self._inline.get(text)
        if template is None:
            template = self._inline[text] = self._plain.from_string(text)
        return template.render(context)


def page_type(name: str) -> str:
    """The media type of the page that a template is of."""
    return media_type(_page_name(name))


def _page_name(name: str) -> str:
    """The name of the page that a template is of: `login.html` of `login.html.j2`."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _escapes(name: str | None) -> bool:
    """Whether a template is HTML."""
    return name is None or not _page_name(name).endswith(_UNESCAPED)


def _as_json(value: Any) -> Any:
    return value if isinstance(value, (Markup, Undefined)) else json.dumps(value, ensure_ascii=False)
