"""What a new configuration would change, and for whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from velocity.config.configuration import Configuration

__all__ = ["Change", "compare", "effects"]

_EFFECTS = {
    "listeners": "a restart: addresses and protocols stay until then",
    "workers": "a restart: threads stay until then",
    "tls": "connections that are made from then on",
    "limits": "connections that are made from then on",
    "sites": "requests from then on, on open connections too",
    "templates": "requests from then on, on open connections too",
    "trusted_proxies": "requests from then on, on open connections too",
    "proxy_protocol": "connections that are made from then on",
    "log": "requests from then on, on open connections too",
}


class Change(NamedTuple):
    """One value that would be another."""

    key: str
    """`sites.example.com.content.sites[0].handler.listings`."""
    old: Any
    """None where it is new."""
    new: Any
    """None where it is gone."""


def compare(old: Configuration, new: Configuration) -> list[Change]:
    """Every value of the Plan that differs, in the order of their keys."""
    before, after = (dict(_flat("", _readable(one))) for one in (old, new))
    return [
        Change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def effects(changes: list[Change]) -> list[str]:
    """Which connections and requests the changes touch; nothing ends one that is open."""
    found = [_EFFECTS.get(change.key.split(".")[0].split("[")[0], "") for change in changes]
    return [one for one in dict.fromkeys(_EFFECTS.values()) if one in found]


def _readable(one: Configuration) -> dict[str, Any]:
    """The Plan with sites by host, routes by name, and filters where they hold."""
    plan: dict[str, Any] = json.loads(one.draft().to_json())
    filters = plan.pop("filters")
    sites: dict[str, Any] = {}
    for site in plan["sites"]:
        routes: dict[str, Any] = {}
        for place, route in enumerate(site["routes"]):
            within = [filters[index] for index in route.pop("filters")]
            routes[route.pop("name")] = {**route, "place": place, "filters": within}
        kept = {"profiles": site["profiles"], "error_pages": site["error_pages"], **routes}
        for host in site["hosts"] or ["*"]:
            sites[host] = kept
    plan["sites"] = sites
    return plan


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(f"{key}.{name}" if key else name, item)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(f"{key}[{index}]", item)
    elif value is not None:
        yield key, value
