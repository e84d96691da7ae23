"""A changed configuration takes effect: compiled anew, swapped in whole, or refused while the running one stays."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from velocity.config.problems import InvalidConfigError, dotted
from velocity.errors import VelocityError
from velocity.server import configured, judge, watch
from velocity.telemetry import logs

if TYPE_CHECKING:
    from velocity.config.configuration import Configuration
    from velocity.config.problems import KeyPath
    from velocity.config.source import Tree

__all__ = ["Reloader", "warn"]

_MAX_LOGGED = 20


def warn(configuration: Configuration) -> None:
    """A line for each thing that is understood and has no effect, or looks like a mistake."""
    for problem in configuration.warnings[:_MAX_LOGGED]:
        logs.log("warn", "config_warning", str(problem), key=problem.key, hint=problem.hint)


class Reloads(Protocol):
    """The engine, or what stands before it."""

    def reload(self, plan: str) -> None:
        """Take another Plan."""


class Reloader:
    """Follows the files of a configuration, from `start` to `stop`.

    A reload is whole or not at all: whatever is wrong with the new configuration, the running one goes on.
    """

    def __init__(self, request: configured.Request, prepared: configured.Prepared) -> None:
        self._request = request
        self._plan = prepared.launch.plan
        self._listeners = prepared.plan.listeners
        """Those that are bound: they stay."""
        self._certificates = watch.stamps(map(Path, prepared.launch.certificate_files))
        self._pinned = dict(prepared.configuration.tree.pinned)
        self._engine: Reloads | None = None
        self._lock = threading.Lock()
        self._watcher = watch.Watcher(files_of(prepared), self._changed)

    def start(self, engine: Reloads) -> None:
        """Begin to watch."""
        self._engine = engine
        self._watcher.start()

    def stop(self) -> None:
        """End watching; no reload begins after this."""
        with self._lock:
            self._engine = None
        self._watcher.stop()

    def hangup(self) -> None:
        """SIGHUP: look at everything again, changed or not."""
        self._reload("SIGHUP", forced=True)

    def _changed(self) -> None:
        self._reload("the files changed", forced=False)

    def _reload(self, why: str, *, forced: bool) -> None:
        with self._lock:
            if self._engine is None:
                return
            try:
                prepared = configured.prepare(self._request)
                self._swap(self._engine, prepared, why, forced=forced)
            except InvalidConfigError as error:
                for problem in error.problems[:_MAX_LOGGED]:
                    logs.log("error", "reload_failed", str(problem), key=problem.key, hint=problem.hint)
                logs.log("warn", "reload_kept", "the configuration that is running stays", problems=len(error.problems))
                # What is wrong may be put right in a file that the running configuration does not know.
                named = {Path(problem.place.name) for problem in error.problems if problem.place and problem.place.line}
                self._watcher.follow(self._watcher.files | named)
            except VelocityError as error:
                logs.log("error", "reload_failed", error.message, code=error.code, hint=error.hint)
                logs.log("warn", "reload_kept", "the configuration that is running stays", problems=1)
            except Exception as error:  # a thread that dies would follow nothing more
                logs.log("error", "reload_failed", f"internal error: {type(error).__name__}: {error}")

    def _swap(self, engine: Reloads, prepared: configured.Prepared, why: str, *, forced: bool) -> None:
        plan = prepared.launch.plan
        certificates = watch.stamps(map(Path, prepared.launch.certificate_files))
        self._watcher.follow(files_of(prepared))
        self._warn_of_pinned(prepared.configuration.tree)
        templates_too = prepared.configuration.templates is not None
        if plan == self._plan and certificates == self._certificates and not forced and not templates_too:
            logs.log("debug", "reload_unchanged", "nothing that matters has changed")
            return
        moved = ""
        if prepared.plan.listeners != self._listeners:
            moved = ", ".join(f"{one.address} ({', '.join(one.alpn)})" for one in prepared.plan.listeners)
            plan = prepared.plan.model_copy(update={"listeners": self._listeners}).to_json()
        try:
            engine.reload(plan)
        except VelocityError as error:
            raise judge.located(prepared.configuration, error) from None
        self._plan, self._certificates = prepared.launch.plan, certificates
        warn(prepared.configuration)
        if moved:
            logs.log("warn", "listeners_kept", "addresses and protocols change with a restart only", wanted=moved)
        logs.log("info", "reloaded", f"the new configuration is in effect: {why}")

    def _warn_of_pinned(self, tree: Tree) -> None:
        """Say which changes of files a flag or variable keeps from having an effect."""
        before, self._pinned = self._pinned, dict(tree.pinned)
        for path, value in tree.pinned.items():
            if before.get(path) == value:
                continue
            name = _given_name(tree, path)
            logs.log("warn", "config_pinned", f"{dotted(path)} changed and has no effect: {name} says otherwise")


def _given_name(tree: Tree, path: KeyPath) -> str:
    given = tree.given.get(path)
    return given.name if given else "a flag"


def files_of(prepared: configured.Prepared) -> set[Path]:
    """Everything that a change of is a change of the configuration."""
    launch, configuration = prepared.launch, prepared.configuration
    found = {*configuration.files(), *map(Path, launch.certificate_files), *configuration.secrets()}
    if configuration.templates is not None:
        found |= watch.below(configuration.templates)
    return found
