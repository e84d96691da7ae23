"""The command line: one file a verb. It prints; it never decides.

What becomes of every error is settled here, before anything heavy is imported, so that no way of
ending shows a traceback. Exit codes: 0 done, 1 a request or a probe failed, 2 wrong usage or
configuration, 3 the server could not start, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded", "main"]


def main() -> NoReturn:
    """Run `velocity` with the arguments of this process, and exit."""
    arguments = sys.argv[1:]
    sys.exit(guarded(lambda: _start(arguments)))


def guarded(run: Callable[[], int]) -> int:
    """The exit code of `run`, whatever it raises."""
    from velocity.cli import style
    from velocity.errors import VelocityError

    try:
        code = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except VelocityError as error:
        for line in getattr(error, "lines", ()):
            style.note(line)
        style.error(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read us has heard enough; nothing may be flushed to them at exit either.
        _discard_stdout()
        return 1
    except Exception as error:
        if os.environ.get("VELOCITY_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            style.error(f"cannot write: {error.strerror}", "is the disk full?")
            _discard_stdout()
            return 1
        style.error(
            f"internal error: {type(error).__name__}: {error}",
            "set VELOCITY_DEBUG=1 to see where it happened, and please report it",
        )
        return 1
    return code


def _start(arguments: list[str]) -> int:
    """Start the server as the last time, where that is possible; else read the arguments."""
    if arguments[:1] == ["serve"]:
        from velocity.cli import style, warm
        from velocity.server.launch import run

        launch = warm.recall(arguments)
        if launch is not None:
            return run(launch, style.note)
    from velocity.cli.app import dispatch

    return dispatch(arguments)


def _discard_stdout() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
