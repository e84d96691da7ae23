"""The rules of an application in the Plan of the server that has it.

They are compiled as `edge.yaml` is, for a server that has nothing else, and then put where the application is: its
filters inside those of the route that leads to it, its routes in front of that route.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from velocity.config.action import PythonRoute
from velocity.config.plan import Files, Filter, Match, Python, Route
from velocity.config.routing import compile_sites
from velocity.config.simple import SimpleConfig
from velocity.config.source import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from velocity.config.edge import EdgeConfig
    from velocity.config.plan import Plan, Site

__all__ = ["AppRules", "compile_rules", "embed", "homeless"]


class AppRules(BaseModel):
    """The rules of one application, as parts of a Plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filters: tuple[Filter, ...] = ()
    """What every request meets, in this order."""
    routes: tuple[Route, ...] = ()
    """What needs no application, the first that matches; paths are those that the application sees."""

    def __len__(self) -> int:
        return len(self.filters) + len(self.routes)


def compile_rules(edge: EdgeConfig) -> AppRules:
    """The rules of an application: an edge configuration without templates in files, and without sites.

    Raises:
        InvalidConfigError: they contradict each other.
    """
    rest = PythonRoute(path="/", kind="python", app="the:rest")  # type: ignore[arg-type] # parsed
    tree = Tree({})
    everything = edge.model_copy(update={"routes": (*edge.routes, rest)})
    routing = compile_sites(SimpleConfig(), tree, everything, tree)
    *routes, last = routing.sites[0].routes
    filters = tuple(routing.filters.filters[place] for place in last.filters)
    return AppRules(filters=filters, routes=tuple(replace(route, filters=()) for route in routes))


def homeless(plan: Plan) -> frozenset[str]:
    """Names of the applications whose rules have no place in a Plan.

    There is none where files come before the application, for these are not its own, or where requests may come without
    the root path, which the application then sees all the same.
    """
    return frozenset(
        route.handler.app
        for site in plan.sites
        for route in site.routes
        if isinstance(route.handler, Python)
        and (route.handler.files is not None or not _is_below(route.match.value, route.handler.root_path))
    )


def embed(plan: Plan, rules: Mapping[str, AppRules]) -> Plan:
    """The Plan with the rules of applications.

    A filter is there once for each application, however many routes lead to it: they share its state.

    Args:
        plan: without them.
        rules: by the name of the application, none of them `homeless`.
    """
    filters = list(plan.filters)
    places: dict[str, tuple[int, ...]] = {}
    for name, own in rules.items():
        places[name] = tuple(range(len(filters), len(filters) + len(own.filters)))
        filters += own.filters

    def embedded(site: Site) -> Site:
        routes: list[Route] = []
        for route in site.routes:
            handler = route.handler
            if isinstance(handler, Python) and handler.app in rules:
                inner = replace(route, filters=(*route.filters, *places[handler.app]))
                routes += (*_routes(rules[handler.app], inner, handler.root_path), inner)
            else:
                routes.append(route)
        return replace(site, routes=tuple(routes))

    return plan.model_copy(update={"sites": tuple(map(embedded, plan.sites)), "filters": tuple(filters)})


def _routes(rules: AppRules, mount: Route, root: str) -> Iterator[Route]:
    """What is answered in front of the route of an application."""
    if mount.match.kind != "prefix":
        return
    for number, rule in enumerate(rules.routes):
        methods = _both(mount.methods, rule.methods)
        if methods is None:
            continue
        for match in _matches(rule.match, root):
            if _is_below(match.value, mount.match.value):
                handler = rule.handler
                if isinstance(handler, Files):
                    handler = replace(handler, strip_prefix=root + handler.strip_prefix)
                name = f"{mount.name}.rules[{number}]"
                yield Route(name=name, match=match, methods=methods, filters=mount.filters, handler=handler)


def _matches(match: Match, root: str) -> list[Match]:
    """The same below a root path, by which alone the application sees `/`."""
    if match.value != "/" or not root:
        return [replace(match, value=root + match.value)]
    if match.kind == "prefix":
        return [replace(match, value=root)]
    return [replace(match, value=root), replace(match, value=f"{root}/")]


def _is_below(path: str, base: str) -> bool:
    """Whether a path, or every path of a pattern, is another one or below it."""
    base = base.removesuffix("/")
    return path == base or path.startswith(f"{base}/")


def _both(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """Methods that two routes have in common; none of a route are all. None where there is nothing in common."""
    if not some or not others:
        return some or others
    known = _all(some)
    return tuple(one for one in _all(others) if one in known) or None


def _all(methods: tuple[str, ...]) -> dict[str, None]:
    """With HEAD, which GET brings."""
    return dict.fromkeys((*methods, "HEAD") if "GET" in methods else methods)
