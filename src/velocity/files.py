"""Files that belong together by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sibling"]


def sibling(path: Path, kind: Literal["mldsa", "classical"]) -> Path:
    """The file beside `path`: `key.pem` has `key.mldsa.pem`, `fullchain.pem` has `fullchain.classical.pem`."""
    return path.with_name(f"{path.stem}.{kind}{path.suffix}")
