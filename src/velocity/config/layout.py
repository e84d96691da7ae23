"""One way to write a configuration: two spaces a level, comments and quotes kept."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from velocity.config.indentation import straighten
from velocity.config.problems import InvalidConfigError, Problem
from velocity.config.syntax import NotReadableError, parse

if TYPE_CHECKING:
    from velocity.config.source import Source

__all__ = ["canonical"]


def canonical(source: Source) -> str:
    """The text of a file as it should be.

    Raises:
        InvalidConfigError: it cannot be read, is TOML, or would not mean the same afterwards.
    """
    try:
        data = parse(source.text, source.kind)
    except NotReadableError as error:
        raise InvalidConfigError([Problem(str(error), error.hint, source.at(error.line, error.column))]) from None
    if source.kind == "toml":
        raise InvalidConfigError([Problem(f"{source.name}: TOML is left as it is", "fmt is for YAML and JSON")])
    if source.kind == "json":
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    text = _yaml(source.text)
    if text is None:
        straight, _ = straighten(source.text)
        text = _yaml(straight)
    try:
        same = text is not None and parse(text, "yaml") == data
    except NotReadableError:
        same = False
    if text is None or not same:
        problem = Problem(
            "this cannot be put in order without changing what it says", "format it by hand", source.at(1, 1)
        )
        raise InvalidConfigError([problem])
    return text


def _yaml(text: str) -> str | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    try:
        data = yaml.load(text)
        if data is None:
            return text
        yaml.dump(data, out)
    except (YAMLError, ValueError, RecursionError):
        return None
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))
