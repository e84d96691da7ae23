"""The command `velocity`: its verbs, and what becomes of every error.

Exit codes: 0 done, 1 a request or a probe failed, 2 wrong usage or configuration, 3 the server could
not start, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from velocity import __version__
from velocity.cli import client, serve, style
from velocity.errors import VelocityError

__all__ = ["app", "run"]

app = typer.Typer(
    name="velocity",
    help="A post-quantum web server and client: HTTP/1.1, HTTP/2, HTTP/3 and Velocity/1 on one port.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.add_typer(client.app, name="client")


@app.command("version")
def version() -> None:
    """Print the version."""
    print(f"velocity {__version__}")  # noqa: T201


def _version_flag(value: bool) -> None:
    if value:
        version()
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version_flag, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code.
    """
    try:
        result = app(arguments, prog_name="velocity", standalone_mode=False, obj=arguments)
    except VelocityError as error:
        style.error(error.message, error.hint)
        return error.exit_code
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except typer.TyperException as error:
        return _usage(error, arguments)
    except BrokenPipeError:
        # Whoever read us has heard enough; nothing may be flushed to them at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last resort: a defect of ours
        if os.environ.get("VELOCITY_DEBUG"):
            raise
        style.error(
            f"internal error: {type(error).__name__}: {error}",
            "set VELOCITY_DEBUG=1 to see where it happened, and please report it",
        )
        return 1
    return result if isinstance(result, int) else 0


def _usage(error: typer.TyperException, arguments: list[str]) -> int:
    """Wrong usage: what typer found, in our form."""
    describe = getattr(error, "format_message", lambda: str(error))
    text = describe().rstrip(".")
    if not text:  # a group without a verb has printed its help
        return 2
    verb = " ".join(word for word in arguments[:2] if word in {"serve", "client", "get", "probe", "version"})
    style.error(text[:1].lower() + text[1:], f"velocity {verb + ' ' if verb else ''}--help shows what there is")
    return 2
