"""A whole configuration: files, flags and environment, checked, and ready to be compiled into a Plan."""

from __future__ import annotations

import gc
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from velocity.config.action import FilesRoute, StaticFileRoute
from velocity.config.check import validate
from velocity.config.edge import EdgeConfig
from velocity.config.layers import apply
from velocity.config.plan import (
    Certificate,
    ClientAuth,
    Fallback,
    Limits,
    Listener,
    Log,
    Plan,
    Profiles,
    Tls,
)
from velocity.config.problems import InvalidConfigError, Problem
from velocity.config.routing import Routing, compile_sites
from velocity.config.simple import SimpleConfig
from velocity.config.source import Tree, load, within
from velocity.config.values import DEFAULT_ALPN, DEFAULT_LISTEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from velocity.config.action import Route
    from velocity.config.problems import KeyPath
    from velocity.config.program import Program
    from velocity.config.source import Given

__all__ = ["PLACES", "Configuration", "discover", "open_configuration", "without_collection"]

PLACES = (Path("serve.simple.yaml"), Path("/etc/velocity/serve.simple.yaml"))
"""Where a configuration is looked for when none is named."""


def discover() -> Path | None:
    """The configuration that is used when none is named."""
    return next((path for path in PLACES if path.is_file()), None)


@dataclass(frozen=True)
class Configuration:
    """Everything that was said, checked."""

    simple: SimpleConfig
    tree: Tree
    edge: EdgeConfig | None
    edge_tree: Tree
    routing: Routing
    warnings: tuple[Problem, ...]
    """What is understood and has no effect yet, and what looks like a mistake."""

    @property
    def certificates(self) -> tuple[tuple[Path, Path], ...]:
        """Pairs of chain and key, in order; none where the certificate is self-signed, or none is said."""
        tls = self.simple.server.tls
        pairs: list[tuple[Path, Path]] = []
        if tls.certificate is not None and tls.private_key is not None:
            pairs.append((self._path(_TLS, "certificate"), self._path(_TLS, "private_key")))
        for index in range(len(tls.certificates)):
            at = (*_TLS, "certificates", index)
            pairs.append((self._path(at, "certificate"), self._path(at, "private_key")))
        return tuple(pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names for a self-signed certificate: those that are said, else those of the sites; empty for none."""
        said = self.simple.server.tls.domains
        hosts = (host for site in self.routing.sites for host in site.hosts)
        return said or tuple(dict.fromkeys(hosts))[:_MAX_NAMES]

    @property
    def programs(self) -> tuple[Program, ...]:
        """Every application that a route names."""
        return self.routing.programs

    @property
    def root(self) -> Path | None:
        """The folder of the first site that has one."""
        for index, site in enumerate(self.simple.content.sites):
            if site.root is not None:
                return self._path(("content", "sites", index), "root")
        return None

    def plan(self, certificates: tuple[Certificate, ...]) -> Plan:
        """The Plan.

        Args:
            certificates: at least one; which they are is the server's to find out.

        Raises:
            InvalidConfigError: a file name that no Plan can hold.
        """
        server, limits = self.simple.server, self.simple.server.limits
        alpn = server.alpn or DEFAULT_ALPN
        policy = self.simple.policy
        return Plan(
            listeners=tuple(Listener(address=address, alpn=alpn) for address in server.listen or (DEFAULT_LISTEN,)),
            tls=Tls(
                certificates=certificates,
                profiles=Profiles(default=policy.default, permit=policy.permit),
                client_auth=self._client_auth(),
                fallback=Fallback(alpn=server.fallback.alpn, host=server.fallback.host, port=server.fallback.port),
            ),
            limits=Limits(
                max_sessions=limits.max_sessions,
                max_datagram_size=limits.max_datagram_size,
                handshake_timeout_ms=limits.handshake_timeout,
                idle_timeout_ms=limits.idle_timeout,
                header_timeout_ms=limits.header_timeout,
                max_header_bytes=limits.max_header_size,
                max_streams=limits.max_streams,
            ),
            sites=self.routing.sites,
            filters=tuple(self.routing.filters.filters),
            templates=self.templates,
            trusted_proxies=server.trusted_proxies,
            log=Log(access=self.simple.tells.access_log),
            workers=server.workers,
        )

    def draft(self) -> Plan:
        """The Plan as far as the files make it: with certificates as they are named, whether they are there or not."""
        pairs = self.certificates or ((Path("self-signed"), Path("self-signed")),)
        return self.plan(tuple(Certificate(chain_file=chain, key_file=key) for chain, key in pairs))

    @property
    def templates(self) -> Path | None:
        """The folder of templates: beside the edge configuration, or within the root, if it is only there."""
        if self.edge is None or self.edge.templates_dir is None:
            return None
        at: KeyPath = ("templates_dir",)
        beside = self.edge_tree.folder(at) / self.edge.templates_dir
        if not beside.exists() and self.root is not None:
            within = self.root / self.edge.templates_dir
            if within.is_dir():
                return within
        return beside

    def files(self) -> tuple[Path, ...]:
        """Every file that a change of would change the configuration: files, their includes, folders of patterns."""
        return tuple(dict.fromkeys([*self.tree.files, *self.edge_tree.files]))

    def secrets(self) -> tuple[Path, ...]:
        """Files whose contents the Plan has, or the engine reads: users, secrets, roots and revocation lists."""
        made = self.routing.filters.files
        auth = self._client_auth()
        return (*made, *((auth.roots_file, *auth.revocation_files) if auth else ()))

    def missing(self) -> list[Problem]:
        """Files and folders that are named and not there."""
        found: list[Problem] = []
        for tree, at, path, folder in self.named():
            what = "folder" if folder else "file"
            try:
                is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - by far the quickest, for many
            except (OSError, ValueError):
                found.append(
                    tree.problem(at, f"there is no {what} {path}", "relative names start at the file's folder")
                )
                continue
            if folder != is_folder:
                found.append(tree.problem(at, f"{path} is not a {what}"))
            elif not os.access(path, os.R_OK | (os.X_OK if folder else 0)):
                found.append(tree.problem(at, f"{path} cannot be read", "check its owner and mode"))
        return found

    def named(self) -> list[tuple[Tree, KeyPath, Path, bool]]:
        """Files and folders that are named: where, which, and whether it has to be a folder."""
        tree, simple = self.tree, self.simple
        named: list[tuple[Tree, KeyPath, Path, bool]] = []
        for index, site in enumerate(simple.content.sites):
            at: KeyPath = ("content", "sites", index)
            if site.root is not None:
                named.append((tree, (*at, "root"), within(tree.folder((*at, "root")), site.root), True))
            for status, name in site.error_pages.items():
                folder = tree.folder((*at, "root")) / (site.root or "")
                named.append((tree, (*at, "error_pages", status), folder / name, False))
            named += _named_by_routes(tree, (*at, "routes"), site.routes)
        named += _named_by_routes(tree, ("content", "routes"), simple.content.routes)
        if self.edge is not None:
            named += _named_by_routes(self.edge_tree, ("routes",), self.edge.routes)
            for index, edge_site in enumerate(self.edge.sites):
                named += _named_by_routes(self.edge_tree, ("sites", index, "routes"), edge_site.routes)
        tls = simple.server.tls
        if tls.certificate is not None:
            named += ((tree, (*_TLS, name), self._path(_TLS, name), False) for name in ("certificate", "private_key"))
        for index in range(len(tls.certificates)):
            at = (*_TLS, "certificates", index)
            named += ((tree, (*at, name), self._path(at, name), False) for name in ("certificate", "private_key"))
        if tls.client_auth is not None:
            at = (*_TLS, "client_auth")
            named.append((tree, (*at, "roots"), self._path(at, "roots"), False))
            folder = tree.folder((*at, "crl"))
            named += ((tree, (*at, "crl"), folder / name, False) for name in tls.client_auth.crl)
        if self.templates is not None:
            named.append((self.edge_tree, ("templates_dir",), self.templates, True))
        return named

    def _client_auth(self) -> ClientAuth | None:
        wanted = self.simple.server.tls.client_auth
        if wanted is None:
            return None
        at = (*_TLS, "client_auth")
        return ClientAuth(
            roots_file=self._path(at, "roots"),
            mode=wanted.mode,
            revocation_files=tuple(self.tree.folder((*at, "crl")) / name for name in wanted.crl),
        )

    def _path(self, at: KeyPath, name: str) -> Path:
        """A file name of the tree, from the folder of the file that has it."""
        return within(self.tree.folder((*at, name)), str(self.tree.get((*at, name))))


_NAMES = (("root",), ("file",), ("action", "root"), ("action", "file"), ("action", "path"))
"""Where a route may have the name of its folder or file."""


def _named_by_routes(
    tree: Tree, block: KeyPath, routes: tuple[Route, ...]
) -> Iterator[tuple[Tree, KeyPath, Path, bool]]:
    for index, route in enumerate(routes):
        if isinstance(route, StaticFileRoute | FilesRoute):
            at = (*block, index)
            name, folder = (route.root, True) if isinstance(route, FilesRoute) else (route.file, False)
            said = ((*at, *key) for key in _NAMES if tree.get((*at, *key)) == name)
            yield tree, next(said, at), within(tree.folder(at), name), folder


_TLS: KeyPath = ("server", "tls")
_MAX_NAMES = 100


def open_configuration(
    config: Path | None,
    edge: Path | None = None,
    given: Mapping[str, Given] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Read, join, override, check and compile.

    Args:
        config: a `serve.simple.yaml`; without one everything is as flags and defaults say.
        edge: an `edge.yaml`.
        given: flags and variables, by the parameter of `velocity serve`.
        environment: for `${NAME}` in files; that of the process when None.

    Raises:
        InvalidConfigError: with every problem of the first stage that has any.
    """
    with without_collection():
        return _open(config, edge, given or {}, environment)


@contextmanager
def without_collection() -> Iterator[None]:
    """A large configuration is many objects and no garbage: looking for some would be half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _open(
    config: Path | None, edge: Path | None, given: Mapping[str, Given], environment: Mapping[str, str] | None
) -> Configuration:
    problems: list[Problem] = []
    tree = edge_tree = Tree({})
    simple: SimpleConfig | None = None
    edge_config: EdgeConfig | None = None
    try:
        tree = load(config, environment) if config is not None else Tree({})
        apply(tree, dict(given))
        simple = validate(SimpleConfig, tree)
    except InvalidConfigError as error:
        problems += error.problems
    try:
        if edge is not None:
            edge_tree = load(edge, environment)
            edge_config = validate(EdgeConfig, edge_tree)
    except InvalidConfigError as error:
        problems += error.problems
    if problems or simple is None:
        raise InvalidConfigError(problems)
    if simple.server.tls.require_ech:
        at: KeyPath = ("server", "tls", "require_ech")
        problem = tree.problem(at, "require_ech is not supported yet", "set it to false, or take it out")
        raise InvalidConfigError([problem])
    routing = compile_sites(simple, tree, edge_config, edge_tree)
    if not routing.sites:
        place = tree.place(())
        problem = Problem("there is nothing to serve", "add content: sites: with a root, or --root DIR", place)
        raise InvalidConfigError([problem])
    warnings = (*_without_effect(simple, tree), *routing.warnings)
    return Configuration(simple, tree, edge_config, edge_tree, routing, warnings)


def _without_effect(simple: SimpleConfig, tree: Tree) -> list[Problem]:
    """Keys that are understood, and of which the server has nothing yet."""
    found: list[Problem] = []
    hint = "it is checked, and has no effect yet"
    if simple.tickets is not None:
        found.append(tree.warning(("tickets",), "tickets are not supported yet", hint))
    block: KeyPath = ("telemetry",) if simple.telemetry is not None else ("server", "telemetry")
    if simple.tells.metrics_listen is not None:
        found.append(tree.warning((*block, "metrics_listen"), "metrics_listen is not supported yet", hint))
    if simple.tells.otlp is not None:
        found.append(tree.warning((*block, "otlp"), "otlp is not supported yet", hint))
    return found
