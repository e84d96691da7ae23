"""The command line: one file a verb. It prints; it never decides."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run `velocity` with the arguments of this process, and exit."""
    from velocity.cli.app import run

    sys.exit(run(sys.argv[1:]))
