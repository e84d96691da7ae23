"""Logins with OpenID Connect: the routes by which browsers come back and leave, and the sessions that filters share.

Filters with the same provider, client and cookie are one login: whoever comes in by one of them passes the others too,
if the claims suffice. So a session holds what any of them wants to know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from velocity.config.plan import Match, Oidc, Respond, Route
from velocity.config.problems import InvalidConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from velocity.config.plan import Filter, Site

__all__ = ["with_logins"]

_LOGIN = set(Oidc.model_fields) - {"audiences", "require", "claim_headers", "claims"}
_NEVER = Respond(status=404, content_type="text/plain; charset=utf-8", body="")


def with_logins(sites: tuple[Site, ...], filters: list[Filter]) -> tuple[Site, ...]:
    """The sites with a route for each path that belongs to a login.

    Args:
        sites: as they are without.
        filters: those of the Plan; sessions of theirs learn here what they have to hold.

    Raises:
        InvalidConfigError: two logins of a site that would take each other's cookies or paths.
    """
    logins = {place: one for place, one in enumerate(filters) if isinstance(one, Oidc)}
    if not logins:
        return sites
    for places in _grouped(logins, {"issuer", "client_id", "cookie"}):
        if len(places) > 1:
            claims = tuple(sorted({name for place in places for name in _wanted(logins[place])}))
            for place in places:
                filters[place] = logins[place].model_copy(update={"claims": claims})
    first = {place: places[0] for places in _grouped(logins, _LOGIN) for place in places}
    return tuple(replace(site, routes=(*_routes(site, logins, first), *site.routes)) for site in sites)


def _grouped(logins: dict[int, Oidc], keys: set[str]) -> list[list[int]]:
    """The places of filters that have all of these in common."""
    groups: dict[str, list[int]] = {}
    for place, one in logins.items():
        groups.setdefault(one.model_dump_json(include=keys), []).append(place)
    return list(groups.values())


def _wanted(one: Oidc) -> Iterable[str]:
    return (*one.claims, *(name for name, _ in one.require), *(name for name, _ in one.claim_headers))


def _routes(site: Site, logins: dict[int, Oidc], first: dict[int, int]) -> list[Route]:
    """The routes of the logins that a site has; `first` is the first filter of the login of each."""
    common: dict[int, tuple[int, ...]] = {}
    for route in site.routes:
        for place in route.filters:
            if place in logins:
                login = first[place]
                before = common.get(login, tuple(login if one == place else one for one in route.filters))
                # Who may not open one of the pages may still log in for another.
                common[login] = tuple(one for one in before if one == login or one in route.filters)
    _check([logins[place] for place in common])
    return [
        Route(
            name=f"oidc[{place}].{name}",
            match=Match(kind="exact", value=path),
            methods=methods,
            filters=tuple(dict.fromkeys(common[place])),
            handler=_NEVER,
        )
        for place in sorted(common)
        for name, path, methods in (
            ("callback", logins[place].callback_path, ("GET",)),
            ("logout", logins[place].logout_path, ("GET", "POST")),
        )
    ]


def _check(logins: list[Oidc]) -> None:
    """Two logins of one site share neither cookies nor paths."""
    for number, one in enumerate(logins):
        for other in logins[:number]:
            paths = {one.callback_path, one.logout_path} & {other.callback_path, other.logout_path}
            shared = [*sorted(paths), *([one.cookie] if one.cookie == other.cookie else [])]
            if shared:
                problem = Problem(
                    f"two logins of one site share {', '.join(shared)}: {other.client_id} at {other.issuer} "
                    f"and {one.client_id} at {one.issuer}",
                    "give each its own callback_path, logout_path and cookie",
                )
                raise InvalidConfigError([problem])
