"""Event loops for applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velocity.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from velocity.config.program import Loop

__all__ = ["loop_factory"]


def loop_factory(loop: Loop = "auto") -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes loops, and None for asyncio's own; `auto` is uvloop where it is installed.

    Raises:
        ConfigError: uvloop is wanted, and not installed (`LOOP_MISSING`).
    """
    if loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if loop == "auto":
            return None
        raise ConfigError("LOOP_MISSING", "uvloop is not installed", "pip install 'velocity-pq[uvloop]'") from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
