"""Sites, proxies and routes of configuration files, put in the order in which the engine tries them.

A request is for the site of its host: the exact name, else the longest wildcard, else the site without a name. There,
routes of the edge configuration come first, in their order; then those of the content, the longest path first, then
in their order. Routes without a host name hold for every site.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from velocity.config import action as actions
from velocity.config.filters import Applied, FilterTable
from velocity.config.login import with_logins
from velocity.config.middleware import WafRules
from velocity.config.plan import (
    ErrorPage,
    File,
    Files,
    Json,
    Match,
    Profiles,
    Proxy,
    Python,
    Redirect,
    Respond,
    Route,
    Site,
    Template,
)
from velocity.config.problems import InvalidConfigError, KeyPath, Place, Problem, dotted
from velocity.config.program import Program
from velocity.config.proxying import plan_proxy
from velocity.config.quantities import pattern_key
from velocity.config.source import within

if TYPE_CHECKING:
    from pathlib import Path

    from velocity.config.edge import EdgeConfig, EdgeSite
    from velocity.config.middleware import Middleware
    from velocity.config.plan import Handler
    from velocity.config.proxying import UpstreamOptions
    from velocity.config.quantities import MatchKind
    from velocity.config.simple import SimpleConfig, SiteEntry
    from velocity.config.source import Tree

__all__ = ["MAX_ROUTES", "Routing", "compile_sites"]

MAX_ROUTES = 1_000_000
"""Routes of a Plan, counted at every site that has them."""

_DEFAULT = "*"


class Routing(NamedTuple):
    """Everything about requests."""

    sites: tuple[Site, ...]
    filters: FilterTable
    warnings: tuple[Problem, ...]
    programs: tuple[Program, ...]


class _Entry(NamedTuple):
    """A route before it is known which sites have it."""

    at: KeyPath
    tree: Tree
    name: str
    match: Match
    methods: tuple[str, ...]
    handler: Handler
    policies: tuple[tuple[actions.Policies, KeyPath], ...]
    """What has something to say about filters, and where, from the outermost in."""
    extra: tuple[Applied, ...] = ()


@functools.lru_cache(maxsize=4096)
def _match(kind: MatchKind, value: str) -> Match:
    """A match; most routes of many hosts have one of a few."""
    return Match(kind=kind, value=value)


@functools.lru_cache(maxsize=4096)
def _respond(status: int, content_type: str, body: str) -> Respond:
    return Respond(status=status, content_type=content_type, body=body)


def compile_sites(simple: SimpleConfig, tree: Tree, edge: EdgeConfig | None, edge_tree: Tree) -> Routing:
    """Everything that is served, by host.

    Raises:
        InvalidConfigError: hosts or routes that are there twice, or can never be reached.
    """
    return _Compiler(simple, tree, edge, edge_tree).compile()


class _Compiler:
    def __init__(self, simple: SimpleConfig, tree: Tree, edge: EdgeConfig | None, edge_tree: Tree) -> None:
        self._simple = simple
        self._tree = tree
        self._edge = edge
        self._edge_tree = edge_tree
        self._table = FilterTable()
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._server: list[Applied] = []
        self._named: dict[str, list[Applied]] = {}
        self._own: dict[KeyPath, tuple[list[Applied], bool]] = {}
        self._built: dict[tuple[str, int | None], Route] = {}
        self._programs: dict[str, Program] = {}

    def compile(self) -> Routing:
        self._compile_server_filters()
        content: dict[str, list[_Entry]] = {}
        pages: dict[str, dict[str, tuple[Path, KeyPath]]] = {}
        profiles: dict[str, tuple[Profiles, KeyPath]] = {}
        everywhere: list[_Entry] = []
        for index, site in enumerate(self._simple.content.sites):
            at: KeyPath = ("content", "sites", index)
            entries = self._site(site, at)
            for host in self._hosts(site.hostname):
                content.setdefault(host, []).extend(entries)
                self._pages(pages.setdefault(host, {}), site, at, host)
                if site.profiles is not None:
                    self._profiles(profiles, site, at, host)
        for index, proxy in enumerate(self._simple.content.proxies):
            at = ("content", "proxies", index)
            entry = self._proxy(proxy, at)
            for host in self._hosts(proxy.hostname):
                content.setdefault(host, []).append(entry)
        scoped: dict[str, list[_Entry]] = {}
        for index, route in enumerate(self._simple.content.routes):
            entry = self._route(route, self._tree, ("content", "routes", index), f"content.routes[{index}]")
            self._spread(entry, route.hostname, everywhere, scoped)
        edge_everywhere: list[_Entry] = []
        edge_scoped: dict[str, list[_Entry]] = {}
        edge_sites: dict[str, int] = {}
        if self._edge is not None:
            for index, route in enumerate(self._edge.routes):
                entry = self._route(route, self._edge_tree, ("routes", index), f"edge.routes[{index}]")
                self._spread(entry, route.hostname, edge_everywhere, edge_scoped)
            for index, edge_site in enumerate(self._edge.sites):
                self._edge_site(edge_site, index, edge_scoped, edge_sites)
        hosts = list(dict.fromkeys([*content, *scoped, *edge_scoped, *edge_sites]))
        if (everywhere or edge_everywhere) and _DEFAULT not in hosts:
            hosts.append(_DEFAULT)
        general = {id(entry) for entry in edge_everywhere}
        self._check_twice(everywhere, _DEFAULT)
        sites: list[Site] = []
        total = 0
        for host in hosts:
            own = content.get(host) or self._base(host, content)
            first = edge_everywhere
            if host in edge_scoped:
                first = sorted([*edge_everywhere, *edge_scoped[host]], key=_edge_order)
            particular = [*scoped.get(host, ()), *own]
            ordered = [*first, *sorted([*particular, *everywhere], key=_specific)]
            total += len(ordered)
            if total > MAX_ROUTES:
                problem = Problem(
                    f"more than {MAX_ROUTES:,} routes, counted at every site", "give routes a hostname, or fewer sites"
                )
                raise InvalidConfigError([problem])
            if host in edge_scoped or host == hosts[0]:
                self._check_order(first, general)
            self._check_twice(particular, host)
            found = profiles.get(host)
            sites.append(
                Site(
                    hosts=() if host == _DEFAULT else (host,),
                    profiles=found[0] if found else None,
                    routes=tuple(self._finish(entry, edge_sites.get(host)) for entry in ordered),
                    error_pages=tuple(
                        ErrorPage(status=status, file=file) for status, (file, _) in sorted(pages.get(host, {}).items())
                    ),
                )
            )
        if self._problems:
            unique = list(dict.fromkeys(self._problems))
            raise InvalidConfigError(unique[:200])
        joined = with_logins(_joined(sites), self._table.filters)
        return Routing(joined, self._table, tuple(dict.fromkeys(self._warnings)), tuple(self._programs.values()))

    # --- what holds for the whole server ---

    def _compile_server_filters(self) -> None:
        edge, tree = self._edge, self._edge_tree
        security = self._simple.server.security_headers
        if edge is not None:
            if security is None or "security_headers" in edge.model_fields_set:
                security = edge.security_headers
            if edge.rate_limit is not None:
                self._server.append(self._table.rate_limit(edge.rate_limit))
            waf = WafRules() if edge.waf is True else edge.waf
            if waf and waf.enabled:
                self._server.append(self._table.waf(waf, tree, ("waf",)))
            for index, rule in enumerate(edge.middlewares):
                self._define(rule, tree, ("middlewares", index))
        self._server += self._table.security_headers(security or False)

    def _define(self, rule: Middleware, tree: Tree, at: KeyPath) -> None:
        if rule.name is not None and rule.name in self._named:
            self._problems.append(tree.problem(at, f"two middlewares are called {rule.name}", "give each its own name"))
            return
        made = self._table.middleware(rule, tree, at)
        if rule.name is not None:
            self._named[rule.name] = made
        if rule.apply == "all":
            self._server += made

    # --- entries ---

    @staticmethod
    def _hosts(named: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(named)) or (_DEFAULT,)

    @staticmethod
    def _spread(
        entry: _Entry, hosts: tuple[str, ...], everywhere: list[_Entry], scoped: dict[str, list[_Entry]]
    ) -> None:
        if not hosts:
            everywhere.append(entry)
        for host in dict.fromkeys(hosts):
            scoped.setdefault(host, []).append(entry)

    def _site(self, site: SiteEntry, at: KeyPath) -> list[_Entry]:
        name = dotted(at)
        own = _saying(site, at)
        entries = [
            self._route(route, self._tree, (*at, "routes", index), f"{name}.routes[{index}]", own)
            for index, route in enumerate(site.routes)
        ]
        for index, moved in enumerate(site.redirects):
            kind, path = moved.source
            match = _match(kind or "exact", path)
            if kind == "prefix":
                match = _match("pattern", f"{path.removesuffix('/')}/{{*rest}}")
            handler = Redirect(location=moved.to, status=moved.status)
            place = (*at, "redirects", index)
            entries.append(_Entry(place, self._tree, dotted(place), match, (), handler, own))
        match = _match("prefix", _trimmed(site.path))
        if site.redirect is not None:
            redirect = Redirect(location=site.redirect)
            entries.append(_Entry(at, self._tree, name, match, (), redirect, own))
        elif site.root is not None:
            index_files = site.index or ("index.html",)
            spa = site.spa if isinstance(site.spa, str) else index_files[0] if site.spa else None
            files = Files(
                root=within(self._tree.folder((*at, "root")), site.root),
                index=site.index,
                listings=site.listings,
                cache_control=site.cache_control,
                dotfiles=site.dotfiles,
                compress=site.compress,
                hot_cache_bytes=site.hot_cache,
                strip_prefix=_stripped(site.strip_prefix, match.value),
                fallback_file=spa,
            )
            entries.append(_Entry(at, self._tree, name, match, (), files, own))
        return entries

    def _proxy(self, proxy: actions.Policies, at: KeyPath) -> _Entry:
        from velocity.config.simple import SiteProxy

        assert isinstance(proxy, SiteProxy)  # noqa: S101 - for the type checker
        match = _match("prefix", _trimmed(proxy.path))
        extra = (*self._table.header_rules(proxy.headers.request, "request"),
                 *self._table.header_rules(proxy.headers.response, "response"))  # fmt: skip
        handler = _upstream(proxy, match, self._tree.folder(at))
        return _Entry(at, self._tree, dotted(at), match, (), handler, _saying(proxy, at), extra)

    def _route(
        self,
        route: actions.Route,
        tree: Tree,
        at: KeyPath,
        name: str,
        outer: tuple[tuple[actions.Policies, KeyPath], ...] = (),
    ) -> _Entry:
        kind, path = route.path
        spans = route.kind in ("proxy", "files", "python")
        match = _match(kind or ("prefix" if spans else "exact"), _trimmed(path) if spans else path)
        handler: Handler
        extra: tuple[Applied, ...] = ()
        if isinstance(route, actions.JsonRoute):
            handler = Json(status=route.status, body=route.body)
        elif isinstance(route, (actions.TextRoute, actions.StaticRoute)):
            if "{{" in route.body:
                self._warnings.append(
                    tree.warning(at, "{{ }} is sent as it is here", "templates are kind json and kind template")
                )
            handler = _respond(route.status, route.content_type, route.body)
        elif isinstance(route, actions.TemplateRoute):
            handler = Template(name=route.name, status=route.status, content_type=route.content_type)
        elif isinstance(route, actions.StaticFileRoute):
            file = within(tree.folder(at), route.file)
            handler = File(path=file, status=route.status, content_type=route.content_type)
        elif isinstance(route, actions.FilesRoute):
            handler = Files(
                root=within(tree.folder(at), route.root),
                index=route.index,
                listings=route.listings,
                cache_control=route.cache_control,
                dotfiles=route.dotfiles,
                compress=route.compress,
                hot_cache_bytes=route.hot_cache,
                strip_prefix=_stripped(route.strip_prefix, match.value if match.kind == "prefix" else "/"),
            )
        elif isinstance(route, actions.RedirectRoute):
            handler = Redirect(location=route.to, status=route.status)
        elif isinstance(route, actions.PythonRoute):
            program = program_of(route, tree.folder(at))
            self._programs[program.name] = program
            handler = Python(
                app=program.name,
                root_path=_stripped(route.root_path, match.value if match.kind == "prefix" else "/"),
                limit_concurrency=route.limit_concurrency,
                ws_per_message_deflate=route.ws_per_message_deflate,
                ws_max_message_bytes=route.ws_max_size,
                ws_ping_ms=route.ws_ping_interval or None,
                timeout_ms=route.timeout or None,
            )
        else:
            handler = _upstream(route, match, tree.folder(at))
            extra = (*self._table.header_rules(route.headers.request, "request"),
                     *self._table.header_rules(route.headers.response, "response"))  # fmt: skip
        if isinstance(handler, Template) and (self._edge is None or self._edge.templates_dir is None):
            self._problems.append(
                tree.problem(at, "a template, and no templates_dir", "name their folder in the edge configuration")
            )
        return _Entry(at, tree, name, match, route.methods, handler, outer + _saying(route, at), extra)

    def _edge_site(
        self, site: EdgeSite, index: int, scoped: dict[str, list[_Entry]], edge_sites: dict[str, int]
    ) -> None:
        at: KeyPath = ("sites", index)
        entries = [
            self._route(route, self._edge_tree, (*at, "routes", number), f"edge.sites[{index}].routes[{number}]")
            for number, route in enumerate(site.routes)
        ]
        for host in dict.fromkeys(site.hosts):
            if host in edge_sites:
                problem = self._edge_tree.problem(at, f"{host} is there twice", "join the two blocks")
                self._problems.append(problem)
            edge_sites[host] = index
            # Routes of a site come before those of every site.
            scoped[host] = [*entries, *scoped.get(host, ())]

    def _pages(self, pages: dict[str, tuple[Path, KeyPath]], site: SiteEntry, at: KeyPath, host: str) -> None:
        for status, file in site.error_pages.items():
            where = (*at, "error_pages", status)
            folder = self._tree.folder((*at, "root"))
            path = within(within(folder, site.root) if site.root else folder, file)
            if status in pages and pages[status][0] != path:
                self._problems.append(
                    self._twice(self._tree, where, f"the page for {status} of {_shown(host)}", pages[status][1])
                )
            pages[status] = (path, where)

    def _profiles(self, found: dict[str, tuple[Profiles, KeyPath]], site: SiteEntry, at: KeyPath, host: str) -> None:
        if site.profiles is None:
            return
        policy = Profiles(default=site.profiles.default, permit=site.profiles.permit)
        where = (*at, "profiles")
        if host in found and found[host][0] != policy:
            self._problems.append(
                self._twice(self._tree, where, f"the profile policy of {_shown(host)}", found[host][1])
            )
        found[host] = (policy, where)

    def _base(self, host: str, content: dict[str, list[_Entry]]) -> list[_Entry]:
        """What a host serves that only routes name: as if they did not."""
        labels = host.split(".")
        for start in range(1, len(labels)):
            wildcard = ".".join(["*", *labels[start:]])
            if wildcard != host and wildcard in content:
                return content[wildcard]
        return content.get(_DEFAULT, [])

    # --- order ---

    def _check_twice(self, entries: list[_Entry], host: str) -> None:
        """Two entries of the content that answer the same requests."""
        if len(entries) < 2:
            return
        distinct = len({(entry.match.kind, entry.match.value) for entry in entries}) == len(entries)
        if distinct and not any(entry.match.kind == "pattern" for entry in entries):
            return
        seen: dict[tuple[str, str], list[_Entry]] = {}
        for entry in entries:
            same = seen.setdefault((entry.match.kind, pattern_key(entry.match.value)), [])
            for other in same:
                if other is not entry and _covers_methods(other.methods, entry.methods):
                    name = "" if host == _DEFAULT else host
                    what = f"{name}{entry.match.value}" if entry.match.value != "/" else _shown(host)
                    self._problems.append(self._twice(entry.tree, entry.at, what, other.at))
                    break
            same.append(entry)

    def _check_order(self, entries: list[_Entry], general: set[int]) -> None:
        """Routes of which an earlier one takes every request; one of all sites may be hidden at some."""
        before: dict[tuple[str, str], list[_Entry]] = {}
        for entry in entries:
            for key in _covering(entry.match):
                other = next(
                    (
                        one
                        for one in before.get(key, ())
                        if _covers_methods(one.methods, entry.methods)
                        and (id(one) in general or id(entry) not in general)
                    ),
                    None,
                )
                if other is not None:
                    place = _line(other.tree.place(other.at))
                    self._problems.append(
                        entry.tree.problem(
                            entry.at,
                            f"no request reaches this: {other.match.value} {place} answers first",
                            "put the more exact route first, or take this one out",
                        )
                    )
                    break
            before.setdefault((entry.match.kind, pattern_key(entry.match.value)), []).append(entry)

    @staticmethod
    def _twice(tree: Tree, at: KeyPath, what: str, first: KeyPath) -> Problem:
        return tree.problem(at, f"{what} is there twice", f"the first is {_line(tree.place(first))}")

    # --- filters of a route ---

    def _finish(self, entry: _Entry, edge_site: int | None) -> Route:
        # A route is the same at every host that the same block of the edge configuration is about.
        key = (entry.name, edge_site)
        built = self._built.get(key)
        if built is None:
            built = self._built[key] = Route(
                name=entry.name,
                match=entry.match,
                methods=entry.methods,
                filters=self._filters(entry, edge_site),
                handler=entry.handler,
            )
        return built

    def _filters(self, entry: _Entry, edge_site: int | None) -> tuple[int, ...]:
        if not self._server and edge_site is None and not entry.policies and not entry.extra:
            return ()
        applied = list(self._server)
        if edge_site is not None and self._edge is not None:
            site = self._edge.sites[edge_site]
            at: KeyPath = ("sites", edge_site)
            if site.security_headers is not None:
                applied = [one for one in applied if one.name != "security_headers"]
                applied += self._table.security_headers(site.security_headers)
            applied = self._with(applied, site, self._edge_tree, at)
        for policies, at in entry.policies:
            applied = self._with(applied, policies, entry.tree, at)
        applied += entry.extra
        return tuple(dict.fromkeys(one.place for one in sorted(applied, key=lambda one: one.rank)))

    def _with(self, applied: list[Applied], policies: actions.Policies, tree: Tree, at: KeyPath) -> list[Applied]:
        """What holds within a block: what holds outside of it, and its own."""
        for name in policies.skip:
            if name not in self._named and name not in _SKIPPABLE:
                known = ", ".join([*sorted(self._named), *_SKIPPABLE])
                self._problems.append(tree.problem((*at, "skip"), f"there is no {name} to skip", f"known are {known}"))
        applied = [one for one in applied if one.name not in policies.skip or not one.name]
        key = (tree.name, *at)
        if key not in self._own:
            self._own[key] = (self._own_filters(policies, tree, at), policies.waf is not None)
        own, own_waf = self._own[key]
        if own_waf:
            applied = [one for one in applied if one.name != "waf"]
        return [*applied, *own]

    def _own_filters(self, policies: actions.Policies, tree: Tree, at: KeyPath) -> list[Applied]:
        own: list[Applied] = []
        if policies.rate_limit is not None:
            own.append(self._table.rate_limit(policies.rate_limit))
        waf = WafRules() if policies.waf is True else policies.waf
        if waf and waf.enabled:
            own.append(self._table.waf(waf, tree, (*at, "waf")))
        for index, rule in enumerate(policies.middlewares):
            place = (*at, "middlewares", index)
            if not isinstance(rule, str):
                own += self._table.middleware(rule, tree, place)
            elif rule in self._named:
                own += self._named[rule]
            else:
                known = ", ".join(sorted(self._named)) or "none"
                self._problems.append(tree.problem(place, f"there is no middleware {rule}", f"known are {known}"))
        return own


_POLICIES = {"rate_limit", "waf", "middlewares", "skip"}
_SKIPPABLE = ("rate_limit", "waf", "security_headers")


def _edge_order(entry: _Entry) -> tuple[bool, str | int]:
    """Routes of a block for some hosts come before those of the whole file."""
    return (entry.at[0] != "sites", entry.at[-1])


def _saying(policies: actions.Policies, at: KeyPath) -> tuple[tuple[actions.Policies, KeyPath], ...]:
    """Policies and their place; nothing where they are as if they were not."""
    return ((policies, at),) if not _POLICIES.isdisjoint(policies.model_fields_set) else ()


def _trimmed(path: str) -> str:
    return path.rstrip("/") or "/"


def _stripped(wanted: bool | str, path: str) -> str:
    """What is cut from a path before it is used."""
    if isinstance(wanted, str):
        return _trimmed(wanted).removesuffix("/")
    return path if wanted and path != "/" else ""


def program_of(route: actions.PythonRoute, folder: Path) -> Program:
    """The application of a route. Routes with the same one share it."""
    return Program(
        target=route.app,
        factory=route.factory,
        app_dir=str((folder / (route.app_dir or ".")).absolute()),
        lifespan=route.lifespan,
        interface=route.interface,
        workers=route.workers,
    )


def _upstream(options: UpstreamOptions, match: Match, folder: Path) -> Proxy:
    route = match.value if match.kind == "prefix" else "/"
    return plan_proxy(options, _stripped(options.strip_prefix, route), folder)


def _specific(entry: _Entry) -> tuple[int, int]:
    """Longest fixed path first; of equal ones the exact, then patterns, then prefixes."""
    match = entry.match
    fixed = match.value.partition("{")[0] if match.kind == "pattern" else match.value
    return (-len(fixed.rstrip("/")), ("exact", "pattern", "prefix").index(match.kind))


def _covering(match: Match) -> list[tuple[str, str]]:
    """Matches that take every request that this one takes."""
    value = pattern_key(match.value)
    found: list[tuple[str, str]] = [(match.kind, value)]
    fixed = value.partition("{")[0] if match.kind == "pattern" else value
    segments = fixed.rstrip("/").split("/")
    for end in range(len(segments), 0, -1):
        prefix = "/".join(segments[:end]) or "/"
        found.append(("prefix", prefix))
        if match.kind == "pattern" or prefix != (value.rstrip("/") or "/"):
            found.append(("pattern", f"{prefix.removesuffix('/')}/{{*}}"))
    return found


def _covers_methods(all_of: tuple[str, ...], some: tuple[str, ...]) -> bool:
    if not all_of:
        return True
    if not some:
        return False
    taken = {*all_of, "HEAD"} if "GET" in all_of else set(all_of)
    return set(some) <= taken


def _joined(sites: list[Site]) -> tuple[Site, ...]:
    """Sites that differ by name only are one."""
    found: dict[tuple[object, ...], int] = {}
    joined: list[Site] = []
    for site in sites:
        key = (tuple(map(id, site.routes)), site.profiles, site.error_pages)
        at = found.get(key)
        if at is None or not site.hosts or not joined[at].hosts:
            found[key] = len(joined)
            joined.append(site)
        else:
            joined[at] = replace(joined[at], hosts=joined[at].hosts + site.hosts)
    return tuple(joined)


def _shown(host: str) -> str:
    return "the site without a name" if host == _DEFAULT else host


def _line(place: Place | None) -> str:
    if place is None:
        return "elsewhere"
    return f"in line {place.line} of {place.name}" if place.line else f"by {place.name}"
