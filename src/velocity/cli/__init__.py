"""The command line: one file a verb. It prints; it never decides."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run `velocity` with the arguments of this process, and exit."""
    arguments = sys.argv[1:]
    sys.exit(_repeat(arguments) if arguments[:1] == ["serve"] else _run(arguments))


def _run(arguments: list[str]) -> int:
    from velocity.cli.app import run

    return run(arguments)


def _repeat(arguments: list[str]) -> int:
    """Start the server as the last time, where that is possible."""
    from velocity.cli import warm

    launch = warm.recall(arguments)
    if launch is None:
        return _run(arguments)
    from velocity.cli import style
    from velocity.errors import VelocityError
    from velocity.server.launch import run

    try:
        return run(launch, style.note)
    except VelocityError as error:
        style.error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
