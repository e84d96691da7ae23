"""Rules of applications that the data plane carries out.

They are taken from an `EdgeApp` when it has started, and are in the Plan for as long as it runs, whatever else of the
Plan changes. An application whose rules are in the Plan is told so with every request, and does nothing about them
itself. All others carry out their own: there is nothing in between.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from velocity.errors import ConfigError
from velocity.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from velocity import _core
    from velocity.config.embedding import AppRules
    from velocity.edge import EdgeApp

__all__ = ["RuleBook", "Taken", "take"]


class Taken(NamedTuple):
    """An application, and what the data plane does for it."""

    application: Any
    rules: AppRules | None
    """None where it does everything itself."""


def take(application: Any, name: str, *, accepted: bool) -> Taken:
    """Take the rules of an application that has started, if it is one that has any. They are fixed from now on.

    Args:
        application: speaks ASGI.
        name: for messages.
        accepted: whether the Plan has a place for them.

    Raises:
        ConfigError: they contradict each other.
    """
    edge = _edge_app(application)
    if edge is None:
        return Taken(application, None)
    reason = edge.rules.only_in_python if accepted else "files or a root path come before it"
    if reason:
        logs.log("info", "rules_in_python", f"the rules of {name} run in Python: {reason}")
        return Taken(application, None)
    from velocity.config.embedding import compile_rules
    from velocity.edge.guard import enforced

    rules = compile_rules(edge.plan_rules())
    edge.rules.fix()
    return Taken(enforced(edge), rules)


def _edge_app(application: Any) -> EdgeApp | None:
    """An `EdgeApp`, without loading its module for others. One that is called in its own way knows best."""
    module = sys.modules.get("velocity.edge.app")
    if module is None or not isinstance(application, module.EdgeApp):
        return None
    return application if type(application).__call__ is module.EdgeApp.__call__ else None


class RuleBook:
    """The Plan of a server, and the rules that are put into it.

    Args:
        plan: canonical JSON, without them.
    """

    def __init__(self, plan: str) -> None:
        from velocity.config.embedding import homeless

        self._plan = plan
        self._rules: dict[str, AppRules] = {}
        self._engine: _core.Engine | None = None
        self._lock = threading.Lock()
        self._homeless = homeless(_read(plan))

    @property
    def plan(self) -> str:
        """The Plan with all rules, as JSON."""
        return self._with(self._plan, self._rules)

    def accepts(self, name: str) -> bool:
        """Whether the rules of an application have a place in the Plan."""
        return name not in self._homeless

    def start(self, begin: Callable[[str], _core.Engine]) -> _core.Engine:
        """Begin with the Plan as it is now; what changes from then on takes effect in that engine."""
        with self._lock:
            self._engine = begin(self.plan)
        return self._engine

    def put(self, name: str, rules: AppRules | None) -> None:
        """Change the rules of an application, None for those that it carries out itself. Blocking.

        Raises:
            ConfigError: the engine refuses them; nothing has changed.
        """
        with self._lock:
            if self._rules.get(name) == rules:
                return
            changed = {known: one for known, one in self._rules.items() if known != name}
            if rules is not None:
                changed[name] = rules
            if self._engine is not None:
                self._engine.reload(self._with(self._plan, changed))
            self._rules = changed
        logs.log("info", "rules_in_plan", f"the data plane carries out {len(rules or ())} rules of {name}")

    def reload(self, plan: str) -> None:
        """Change the Plan. Blocking.

        Raises:
            ConfigError: the engine refuses it, or it leaves no place for rules that it has now; nothing has changed.
        """
        assert self._engine is not None  # noqa: S101 - for the type checker
        with self._lock:
            if self._rules:
                from velocity.config.embedding import homeless

                left = self._rules.keys() & homeless(_read(plan))
                if left:
                    raise ConfigError(
                        "RULES_MOVED",
                        f"the rules of {min(left)} have no place in this configuration: a root path comes before it",
                        "restart the server",
                    )
            self._engine.reload(self._with(plan, self._rules))
            self._plan = plan

    @staticmethod
    def _with(plan: str, rules: dict[str, AppRules]) -> str:
        if not rules:
            return plan
        from velocity.config.embedding import embed

        return embed(_read(plan), rules).to_json()


def _read(plan: str) -> Any:
    from velocity.config.plan import Plan

    return Plan.model_validate_json(plan)
