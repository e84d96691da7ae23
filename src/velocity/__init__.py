"""Velocity: a post-quantum web server and client.

Importing this package costs next to nothing; everything heavy is imported where it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from velocity.edge import EdgeApp, EdgeRequest, EdgeResponse

__all__ = ["EdgeApp", "EdgeRequest", "EdgeResponse", "__version__"]

__version__ = "0.1.0"

_HOMES = {"EdgeApp": "velocity.edge", "EdgeRequest": "velocity.edge", "EdgeResponse": "velocity.edge"}
"""Where a name lives that is imported when somebody asks for it."""

if not TYPE_CHECKING:  # or type checkers would believe that every name is there

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
