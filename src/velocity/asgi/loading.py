"""From `module:attribute` to an application; what goes wrong on the way is told in the user's own lines."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velocity.errors import ApplicationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, TracebackType

    from velocity.config.program import Program

__all__ = ["describe", "load", "own_lines", "own_stack"]

_OURS = str(Path(__file__).resolve().parents[1])
_LOOP = str(Path(asyncio.__file__).parent)
_MAX_FRAMES = 20


def load(program: Program) -> Any:
    """Import an application, or have its factory make it.

    Raises:
        ApplicationError: there is no such module or attribute, or its own code fails.
        ConfigError: the file of variables cannot be used.
    """
    if program.env_file is not None:
        _read_variables(program.env_file)
    folder = str(Path(program.app_dir).absolute())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if program.log_config is not None:
        _configure_logging(Path(program.log_config))
    module_name, _, attribute = program.target.partition(":")
    found: Any = _import(program, module_name, folder)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            offers = _offers(found)
            hint = f"{module_name} has {offers}" if offers else "name the variable that holds it"
            what = f"there is no {attribute} in {module_name}"
            raise ApplicationError("APPLICATION_MISSING", what, hint) from None
    if program.factory:
        if not callable(found):
            raise ApplicationError("APPLICATION_INVALID", f"{program.target} is no factory: it cannot be called")
        try:
            found = found()
        except BaseException as error:
            raise _failure(error, f"the factory {program.target} failed") from None
    if not callable(found):
        raise ApplicationError(
            "APPLICATION_INVALID",
            f"{program.target} is no application: {type(found).__name__} cannot be called",
            "an application takes scope, receive and send, or environ and start_response",
        )
    return found


def _import(program: Program, name: str, folder: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself, or what it is in; not one that it imports.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ApplicationError(
                "APPLICATION_MISSING",
                f"there is no module {error.name} in {folder}",
                "run this where the module is, or name its folder with --app-dir",
            ) from None
        raise _failure(error, f"{program.target} cannot be imported") from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failure(error, f"{program.target} cannot be imported") from None


def _failure(error: BaseException, what: str) -> ApplicationError:
    lines = own_lines(error)
    return ApplicationError("APPLICATION_FAILED", f"{what}: {describe(error)}", lines=lines)


def describe(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def own_lines(error: BaseException) -> tuple[str, ...]:
    """Where an exception comes from, without what is ours and without the import machinery: the last call last."""
    lines: list[str] = []
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain and len(chain) < 5:
        chain.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    for place, part in enumerate(reversed(chain)):
        if place:
            lines.append(f"then {describe(part)}")
        elif len(chain) > 1:
            lines.append(f"first {describe(part)}")
        lines += _frames(part, part.__traceback__)
    return tuple(lines)


def own_stack(frame: FrameType) -> tuple[str, ...]:
    """Where a thread is, without what is ours and without the event loop: the last call last."""
    frames = traceback.extract_stack(frame)
    return tuple(_told(one for one in frames if not one.filename.startswith((_LOOP, "<frozen"))))


def _told(frames: Iterable[traceback.FrameSummary]) -> list[str]:
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith((_OURS, "<frozen importlib")) and "importlib" not in frame.filename
    ]
    lines: list[str] = []
    for frame in own[-_MAX_FRAMES:]:
        lines.append(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            lines.append(f"    {frame.line}")
    return lines


def _frames(error: BaseException, trace: TracebackType | None) -> list[str]:
    lines = _told(traceback.extract_tb(trace))
    if isinstance(error, SyntaxError) and error.filename:
        lines.append(f'  File "{error.filename}", line {error.lineno}')
        if error.text:
            lines.append(f"    {error.text.strip()}")
    return lines


def _offers(module: Any) -> str:
    """Names in a module that may be what was meant."""
    named = vars(module).items() if hasattr(module, "__dict__") else ()
    names = [
        name for name, value in named if not name.startswith("_") and callable(value) and not isinstance(value, type)
    ]
    return ", ".join(names[:5])


def _configure_logging(file: Path) -> None:
    """Have `logging` do what a file says: JSON or YAML for `dictConfig`, else what `fileConfig` reads.

    Raises:
        ConfigError: it cannot.
    """
    import logging.config

    try:
        if file.suffix in (".json", ".yaml", ".yml"):
            import yaml  # of which JSON is a part

            logging.config.dictConfig(yaml.safe_load(file.read_text("utf-8")))
        else:
            file.read_text("utf-8")  # fileConfig says of every file that it has no sections
            logging.config.fileConfig(file, disable_existing_loggers=False)
    except Exception as error:  # whatever the handlers that it names may raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        first = " ".join(reason.split())[:200]
        hint = "see logging.config in Python's documentation: JSON and YAML are for dictConfig, others for fileConfig"
        raise ConfigError("LOG_CONFIG_INVALID", f"--log-config: {file}: {first}", hint) from None


def _read_variables(name: str) -> None:
    """Put the variables of a file into the environment; those that are there stay."""
    from dotenv import dotenv_values

    path = Path(name)
    if not path.is_file():
        raise ConfigError("ENV_FILE_MISSING", f"--env-file: there is no file {path}")
    try:
        values = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("ENV_FILE_INVALID", f"--env-file: {path} cannot be read: {error}") from None
    for key, value in values.items():
        if value is not None:
            os.environ.setdefault(key, value)
