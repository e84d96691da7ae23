"""Every value of a configuration, and who said it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from velocity.config.problems import KeyPath, dotted
from velocity.config.values import DEFAULT_ALPN, DEFAULT_LISTEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from velocity.config.configuration import Configuration
    from velocity.config.source import Tree

__all__ = ["Value", "values"]

_DURATIONS = {
    "connect", "response", "idle", "window", "session", "max_age", "rotate_after", "grace_period",
    "handshake_timeout", "idle_timeout", "header_timeout",
}  # fmt: skip
_DEFAULTS: dict[KeyPath, Any] = {("server", "listen"): [DEFAULT_LISTEN], ("server", "alpn"): list(DEFAULT_ALPN)}
_HIDDEN = {"users", "client_secret"}


class Value(NamedTuple):
    """One value."""

    key: str
    value: Any
    origin: str
    """`serve.simple.yaml:3:11`, `--listen`, `VELOCITY_LISTEN`, or `default`."""


def values(configuration: Configuration, *, effective: bool) -> list[Value]:
    """What was said, and with `effective` also what nobody said and holds by default."""
    found = list(_said(configuration.tree, ""))
    if configuration.edge is not None:
        found += _said(configuration.edge_tree, "edge.")
    if effective:
        known = {one.key for one in found}
        found += _silent(configuration.simple, configuration.tree, (), "", known)
        if configuration.edge is not None:
            found += _silent(configuration.edge, configuration.edge_tree, (), "edge.", known)
    return sorted(found, key=lambda one: one.key)


def _said(tree: Tree, prefix: str) -> Iterator[Value]:
    for path, value in _leaves((), tree.data):
        shown = "(hidden)" if _HIDDEN & set(path) else value
        yield Value(f"{prefix}{dotted(path)}", shown, str(tree.place(path) or "default"))


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves((*path, key), item)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _leaves((*path, index), item)
    else:
        yield path, value


def _silent(model: BaseModel, tree: Tree, path: KeyPath, prefix: str, known: set[str]) -> Iterator[Value]:
    """Defaults: what the model has and the tree has not."""
    for name, field in type(model).model_fields.items():
        at = (*path, field.alias or name)
        value = getattr(model, name)
        if hasattr(value, "model_fields_set"):
            yield from _silent(value, tree, at, prefix, known)
        elif isinstance(value, tuple) and value and hasattr(value[0], "model_fields_set"):
            for index, item in enumerate(value):
                yield from _silent(item, tree, (*at, index), prefix, known)
        elif tree.get(at) is None and f"{prefix}{dotted(at)}" not in known:
            shown = _DEFAULTS.get(at, value) if value is None else value
            yield Value(f"{prefix}{dotted(at)}", _plain(name, shown), "default")


def _plain(name: str, value: Any) -> Any:
    """A default as a file would have it."""
    if name in _DURATIONS and isinstance(value, int):
        return f"{value // 1000}s" if value % 1000 == 0 else f"{value}ms"
    if isinstance(value, tuple):
        return [_plain("", item) for item in value]
    return value
