"""How the command line talks: data on stdout, everything else on stderr, colour only where it is wanted."""

from __future__ import annotations

import os
import sys

__all__ = ["bold", "dim", "error", "note", "plain", "terminal", "warning"]


def terminal(stream: int = 2) -> bool:
    """Whether a person is looking at stdout (1) or stderr (2)."""
    try:
        return os.isatty(stream)
    except OSError:
        return False


def _paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if terminal() and not os.environ.get("NO_COLOR") else text


def plain(text: str) -> str:
    """Text of a peer or a file name, fit for a terminal: what could move its cursor is spelled out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def bold(text: str) -> str:
    """For what matters most."""
    return _paint("1", text)


def dim(text: str) -> str:
    """For what can be skipped."""
    return _paint("2", text)


def note(text: str) -> None:
    """A line for the person at the keyboard."""
    print(text, file=sys.stderr)


def warning(message: str) -> None:
    """What may be wrong, in one line."""
    print(f"{_paint('33', 'warning:')} {plain(message)}", file=sys.stderr)


def error(message: str, hint: str = "") -> None:
    """What went wrong, in one line, and what to type next."""
    print(f"{_paint('31', 'error:')} {plain(' '.join(message.split()))}", file=sys.stderr)
    if hint:
        print(f"{_paint('36', 'hint:')} {plain(hint)}", file=sys.stderr)
