"""Which value holds where a file, the environment and flags disagree: flag, then environment, then file, then default.

A flag or variable is put into the tree in place of what the file says, and remembered as its origin. So it is checked
by the same model, blamed by its own name, and told apart by `config show --origin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from velocity.config.source import Given

if TYPE_CHECKING:
    from velocity.config.problems import KeyPath
    from velocity.config.source import Tree

__all__ = ["SETTINGS", "Setting", "apply"]


class Setting(NamedTuple):
    """A value that a flag has too."""

    parameter: str
    """Of `velocity serve`: `listen` is `--listen` and `VELOCITY_LISTEN`."""
    path: KeyPath
    aliases: tuple[KeyPath, ...] = ()
    """Where the file may also have it."""


SETTINGS = (
    Setting("listen", ("server", "listen")),
    Setting("alpn", ("server", "alpn")),
    Setting("cert", ("server", "tls", "certificate")),
    Setting("key", ("server", "tls", "private_key")),
    Setting("self_signed", ("server", "tls", "self_signed")),
    Setting("domain", ("server", "tls", "domains")),
    Setting("client_ca", ("server", "tls", "client_auth", "roots")),
    Setting("client_auth", ("server", "tls", "client_auth", "mode")),
    Setting("client_crl", ("server", "tls", "client_auth", "crl")),
    Setting("profile", ("profiles", "default"), (("server", "profiles", "default"),)),
    Setting("permit", ("profiles", "permit"), (("server", "profiles", "permit"),)),
    Setting("fallback_alpn", ("server", "fallback", "alpn")),
    Setting("fallback_host", ("server", "fallback", "host")),
    Setting("fallback_port", ("server", "fallback", "port")),
    Setting("max_sessions", ("server", "limits", "max_sessions")),
    Setting("max_datagram_size", ("server", "limits", "max_datagram_size")),
    Setting("proxy_protocol", ("server", "proxy_protocol", "trusted")),
    Setting("trusted_proxies", ("server", "trusted_proxies")),
    Setting("idle_timeout", ("server", "limits", "idle_timeout")),
    Setting("workers", ("server", "workers")),
    Setting("grace_period", ("server", "grace_period")),
    Setting("access_log", ("telemetry", "access_log"), (("server", "telemetry", "access_log"),)),
    Setting("log_format", ("telemetry", "structured_logs"), (("server", "telemetry", "structured_logs"),)),
)
"""Everything that stands once. `root`, `listings`, `dotfiles`, `cache_control` and `compress` are each site's."""

_OF_PROXIES: dict[str, KeyPath] = {
    "proxy_connect_timeout": ("timeouts", "connect"),
    "proxy_response_timeout": ("timeouts", "response"),
    "proxy_idle_timeout": ("timeouts", "idle"),
    "proxy_stream": ("streaming",),
    "proxy_preserve_host": ("preserve_host",),
}
_OF_SITES = ("listings", "dotfiles", "cache_control", "compress")


def apply(tree: Tree, given: dict[str, Given]) -> None:
    """Put flags and variables into a tree.

    Args:
        tree: of a file, or empty.
        given: by parameter; what was not given is not there.
    """
    if "cert" in given or "key" in given:
        for name in ("self_signed", "certificates"):
            tree.drop(("server", "tls", name))
    elif "self_signed" in given and given["self_signed"].value:
        for name in ("certificate", "private_key", "certificates"):
            tree.drop(("server", "tls", name))
    for setting in SETTINGS:
        if setting.parameter in given:
            _put(tree, _place_of(tree, setting), _as_in_files(setting.parameter, given[setting.parameter]))
    _apply_to_sites(tree, given)
    _apply_to_proxies(tree, given)


def _apply_to_proxies(tree: Tree, given: dict[str, Given]) -> None:
    """`--proxy` takes the place of all proxies of the file; the other flags are for every proxy there is."""
    if "proxy" in given:
        tree.drop(("content", "proxies"))
        name, words = given["proxy"]
        words = [words] if isinstance(words, str) else words
        # Several upstreams of one place are one proxy.
        places: dict[str, list[str]] = {}
        for word in (part.strip() for item in words for part in item.split(",")):
            place, _, url = word.rpartition("=")
            if word:
                places.setdefault(place, []).append(url)
        for index, (place, urls) in enumerate(places.items()):
            at: KeyPath = ("content", "proxies", index)
            host, slash, path = place.partition("/")
            _put(tree, (*at, "upstream"), Given(name, urls))
            if host:
                _put(tree, (*at, "hostname"), Given(name, host))
            if slash:
                _put(tree, (*at, "path"), Given(name, slash + path))
    proxies = tree.get(("content", "proxies"))
    for parameter, key in _OF_PROXIES.items():
        if parameter in given:
            for index in range(len(proxies) if isinstance(proxies, list) else 0):
                _put(tree, ("content", "proxies", index, *key), given[parameter])


def _place_of(tree: Tree, setting: Setting) -> KeyPath:
    """Where the file has the block of a setting, else its first place."""
    for path in (setting.path, *setting.aliases):
        if isinstance(tree.get(path[:-1]), dict):
            return path
    return setting.path


def _apply_to_sites(tree: Tree, given: dict[str, Given]) -> None:
    sites = tree.get(("content", "sites"))
    count = len(sites) if isinstance(sites, list) else 0
    if "root" in given:
        unnamed = (
            index
            for index in range(count)
            if isinstance(sites[index], dict) and sites[index].get("hostname") in (None, "*", [])
        )
        _put(tree, ("content", "sites", next(unnamed, count), "root"), given["root"])
        sites = tree.get(("content", "sites"))
        count = len(sites) if isinstance(sites, list) else 0
    for name in _OF_SITES:
        if name in given:
            for index in range(count):
                if isinstance(sites[index], dict):
                    _put(tree, ("content", "sites", index, name), given[name])


def _put(tree: Tree, path: KeyPath, given: Given) -> None:
    """Put a value where blocks are, or are missing; a file that has something else there is told by its model."""
    value: Any = tree.data
    for depth, part in enumerate(path[:-1]):
        if isinstance(value, dict):
            inner = value.get(part)
            if inner is None:
                inner = value[part] = [] if isinstance(path[depth + 1], int) else {}
        elif isinstance(value, list) and isinstance(part, int):
            if part == len(value):
                value.append({})
            inner = value[part]
        else:
            return
        value = inner
    if isinstance(value, dict):
        tree.put(path, given)


def _as_in_files(parameter: str, given: Given) -> Given:
    """The value of a flag as a file would have it."""
    value = given.value
    if parameter in ("listen", "domain", "permit", "client_crl", "proxy_protocol", "trusted_proxies"):
        words = [value] if isinstance(value, str) else value
        return Given(given.name, [word.strip() for item in words for word in item.split(",") if word.strip()])
    if parameter == "grace_period":
        return Given(given.name, f"{value:.3f}s")
    if parameter == "log_format" and value in ("json", "text"):
        return Given(given.name, value == "json")
    return given
