"""Lists whose items were indented by hand: the first key two columns after the dash, the others three or more.

    sites:
       - hostname: example.com
          root: /srv/www

YAML wants the keys of an item in one column. People see what is meant here, and so do we: the first key is moved
to where the others stand. It is tried only on a text that is not YAML as it is.
"""

from __future__ import annotations

import re

__all__ = ["straighten"]

_ITEM = re.compile(r"( *)- ( *)(?=\S)")
_INLINE = re.compile(r"[^#\"'\[{]*?:[ ]+(?![|>#]|$)")
_BLOCK = re.compile(r".*(?::|-)[ ]+[|>][-+0-9]*[ ]*(?:#.*)?$")


def straighten(text: str) -> tuple[str, dict[int, tuple[int, int]]]:
    """The text with items in one column.

    Returns:
        The text, and by line (from 1) after which column how many spaces were put in; empty where nothing was.
    """
    lines = text.split("\n")
    shift: dict[int, tuple[int, int]] = {}
    block_within: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip(" "))
        if not line.strip():
            continue
        if block_within is not None:
            if indent > block_within:
                continue
            block_within = None
        if _BLOCK.match(line):
            block_within = indent
        item = _ITEM.match(line)
        if item is None:
            continue
        wanted = _column(lines, number, indent, item.end(), bool(_INLINE.match(line, item.end())))
        if wanted > item.end():
            by = wanted - item.end()
            lines[number] = f"{line[: item.end()]}{' ' * by}{line[item.end() :]}"
            shift[number + 1] = (item.end(), by)
    return "\n".join(lines), shift


def _column(lines: list[str], number: int, dash: int, key: int, inline: bool) -> int:
    """The column of the further keys of an item; that of the first where they agree, or where there are none."""
    first: int | None = None
    least: int | None = None
    for line in lines[number + 1 :]:
        words = line.lstrip(" ")
        if not words or words.startswith("#"):
            continue
        indent = len(line) - len(words)
        if indent <= dash:
            break
        first = indent if first is None else first
        least = indent if least is None else min(least, indent)
    if least is None or least <= key:
        return key
    # The only deeper lines of `- match:` may be what belongs to match.
    return least if inline or least != first else key
