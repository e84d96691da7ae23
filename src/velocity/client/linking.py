"""The field Link (RFC 8288 section 3)."""

from __future__ import annotations

import re

__all__ = ["parse_links"]

_LINK = re.compile(
    r"\s*<([^>]*)>((?:\s*;\s*[!#$&+\-.^_`|~\w]+\*?(?:\s*=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s\",;]*))?)*)\s*(?:,|$)",
    re.ASCII,
)
_PARAMETER = re.compile(r";\s*([!#$&+\-.^_`|~\w]+\*?)(?:\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;]*)))?", re.ASCII)
_LONGEST = 16_384
_ESCAPED = re.compile(r"\\(.)")


def parse_links(value: str) -> list[dict[str, str]]:
    """Each link as its `url` and its parameters, names in lower case; what is no link ends the list."""
    links: list[dict[str, str]] = []
    text = value[:_LONGEST]
    position = 0
    while position < len(text) and (found := _LINK.match(text, position)):
        link = {"url": found[1].strip()}
        for name, quoted, bare in _PARAMETER.findall(found[2]):
            link.setdefault(name.lower(), _ESCAPED.sub(r"\1", quoted) or bare)
        links.append(link)
        position = found.end()
    return links
