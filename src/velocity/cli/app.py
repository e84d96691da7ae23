"""The command `velocity`: its verbs.

Making a command of a function's signature takes milliseconds, so only the one that is asked for is made;
all of them are for help and for mistakes.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from velocity import __version__
from velocity.cli import guarded, style

__all__ = ["VERBS", "build", "dispatch", "run"]

VERBS = ("serve", "config", "client", "cert", "ca")


def build(verbs: tuple[str, ...] = VERBS) -> typer.Typer:
    """The command with some of its verbs; `version` is always there."""
    app = typer.Typer(
        name="velocity",
        help="A post-quantum web server and client: HTTP/1.1, HTTP/2, HTTP/3 and Velocity/1 on one port.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    for verb in verbs:
        module = importlib.import_module(f"velocity.cli.{verb}")
        if verb == "serve":
            app.command("serve", short_help="Serve a folder as a site.", epilog=module.EXAMPLES)(module.serve)
        else:
            app.add_typer(module.app, name=verb)
    app.command("version")(version)
    return app


def version() -> None:
    """Print the version."""
    print(f"velocity {__version__}")


def _version_flag(value: bool) -> None:
    if value:
        version()
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version_flag, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run one command line, whatever comes of it.

    Returns:
        The exit code.
    """
    return guarded(lambda: dispatch(arguments))


def dispatch(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code.

    Raises:
        VelocityError: what the command could not do.
    """
    first = arguments[0] if arguments else ""
    if first == "serve":
        from velocity.cli import uvicorn

        arguments, notes = uvicorn.translate(arguments)
        for note in notes:
            style.note(note)
    verbs = (first,) if first in VERBS else () if first in ("version", "--version") else VERBS
    try:
        result = build(verbs)(arguments, prog_name="velocity", standalone_mode=False, obj=arguments)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        return _usage(error, arguments)
    return result if isinstance(result, int) else 0


def _usage(error: typer.TyperException, arguments: list[str]) -> int:
    """Wrong usage: what typer found, in our form."""
    _name_the_variable(error)
    describe = getattr(error, "format_message", lambda: str(error))
    text = describe().rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without a verb: what it says is its help
        print(text, file=sys.stderr)
        return 2
    verb = _verb(arguments)
    style.error(text[:1].lower() + text[1:], f"velocity {verb + ' ' if verb else ''}--help shows what there is")
    return 2


def _verb(arguments: list[str]) -> str:
    """As much of a command line as names a verb or a group."""
    known: typer.Typer | None = build()
    words: list[str] = []
    for word in arguments[:2]:
        groups = {group.name: group.typer_instance for group in known.registered_groups} if known else {}
        if known is None or (word not in groups and word not in {one.name for one in known.registered_commands}):
            break
        words.append(word)
        known = groups.get(word)
    return " ".join(words)


def _name_the_variable(error: typer.TyperException) -> None:
    """Blame the environment variable, where the value came from one, and not a flag that nobody typed."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    if parameter is None or context is None or parameter.envvar is None:
        return
    source = context.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        error.param_hint = parameter.envvar  # type: ignore[attr-defined]
