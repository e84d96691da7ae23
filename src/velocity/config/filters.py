"""Rate limits, the WAF and middlewares, from configuration files to the filters of the Plan.

A filter of the Plan is named by its place, so every definition becomes one filter, whose state the routes share that
it holds for; filters without state are shared by all that are equal.

Requests meet filters in the order of what they do, whatever the order in the file: first who may come at all, then how
often, then with what, then as whom. Answers meet them the other way round, so header fields are set on refusals too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from velocity.config import middleware as rules
from velocity.config.plan import (
    BasicAuth,
    Compress,
    Cors,
    EarlyHints,
    Headers,
    IpAccess,
    Oidc,
    RateKey,
    RateLimit,
    RequestSize,
    Waf,
    WafRule,
)
from velocity.config.problems import InvalidConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from velocity.config.plan import Filter
    from velocity.config.problems import KeyPath
    from velocity.config.source import Tree

__all__ = ["Applied", "FilterTable"]

_MAX_USERS_FILE = 1 << 20


class Applied(NamedTuple):
    """A filter that holds for a route."""

    rank: int
    place: int
    name: str
    """What `skip` calls it; empty where nothing can."""


def _rank(one: Filter) -> int:
    kind = one.kind
    if isinstance(one, Headers):
        return 1 if one.of == "response" else 10
    order = ("compress", "ip_access", "rate_limit", "request_size", "cors", "waf", "basic_auth", "oidc")
    return order.index(kind) + 2 if kind in order else 11


class FilterTable:
    """The filters of a Plan while it is being made."""

    def __init__(self) -> None:
        self.filters: list[Filter] = []
        self.files: list[Path] = []
        """What the filters were made from, or read."""
        self._places: dict[str, int] = {}

    def add(self, one: Filter, name: str = "") -> Applied:
        """A filter as routes have it; equal ones without state are one."""
        if isinstance(one, RateLimit):
            self.filters.append(one)
            return Applied(_rank(one), len(self.filters) - 1, name)
        key = one.model_dump_json()
        if key not in self._places:
            self._places[key] = len(self.filters)
            self.filters.append(one)
        return Applied(_rank(one), self._places[key], name)

    def security_headers(self, wanted: rules.SecurityHeaders | bool) -> list[Applied]:
        """The header fields that browsers protect people by."""
        if wanted is False:
            return []
        chosen = rules.SecurityHeaders() if wanted is True else wanted
        pairs = tuple(
            (name.replace("_", "-"), value) for name, value in chosen.model_dump().items() if value is not None
        )
        if not pairs:
            return []
        return [self.add(Headers(default=pairs), "security_headers")._replace(rank=0)]

    def rate_limit(self, rule: rules.RateLimitRule, name: str = "rate_limit") -> Applied:
        """A sliding window."""
        if isinstance(rule.key, str):
            key = RateKey(of=rule.key)
        elif rule.key.header is not None:
            key = RateKey(of="header", name=rule.key.header)
        else:
            key = RateKey(of="cookie", name=rule.key.cookie)
        return self.add(RateLimit(limit=rule.limit, window_ms=rule.window, key=key), name)

    def waf(self, rule: rules.WafRules, tree: Tree, at: KeyPath, name: str = "waf") -> Applied:
        """Patterns of attacks.

        Raises:
            InvalidConfigError: two rules of one name.
        """
        patterns: list[WafRule] = []
        names: set[str] = set()
        for number, pattern in enumerate(rule.rules):
            called = pattern.name or f"custom.{number}"
            if called in names:
                problem = tree.problem(
                    (*at, "rules", number), f"two rules are called {called}", "give each its own name"
                )
                raise InvalidConfigError([problem])
            names.add(called)
            patterns.append(WafRule(name=called, pattern=pattern.pattern, targets=pattern.targets))
        filter_ = Waf(
            mode=rule.mode,
            default_rules=rule.default_rules,
            rules=tuple(patterns),
            exclude=rule.exclude,
            max_body_bytes=rule.max_body,
        )
        return self.add(filter_, name)

    def header_rules(self, rule: rules.HeaderRules | None, of: str, name: str = "") -> list[Applied]:
        """Changes to header fields of one direction; none where nothing is to change."""
        if rule is None or not (rule.remove or rule.set or rule.add or rule.default):
            return []
        one = Headers(
            of="request" if of == "request" else "response",
            default=rule.default,
            set=rule.set,
            add=rule.add,
            remove=rule.remove,
        )
        return [self.add(one, name)]

    def middleware(self, rule: rules.Middleware, tree: Tree, at: KeyPath) -> list[Applied]:
        """What one middleware becomes.

        Raises:
            InvalidConfigError: a file of users that cannot be read.
        """
        name = rule.name or ""
        if isinstance(rule, rules.HeadersRule):
            direct = rules.HeaderRules.model_construct(
                remove=rule.remove, set=rule.set, add=rule.add, default=rule.default
            )
            parts = (("request", rule.request), ("response", rule.response), ("response", direct))
            return [one for of, part in parts for one in self.header_rules(part, of, name)]
        if isinstance(rule, rules.RateLimitRule):
            return [self.rate_limit(rule, name)]
        if isinstance(rule, rules.WafRules):
            return [self.waf(rule, tree, at, name)] if rule.enabled else []
        if isinstance(rule, rules.BasicAuthRule) and rule.users_file is not None:
            self.files.append(tree.folder(at) / rule.users_file)
        made = _plain(rule, tree, at)
        if isinstance(made, Oidc):
            files = (made.client_secret_file, made.cookie_secret_file, made.ca_file)
            self.files += (path for path in files if path is not None)
        return [self.add(made, name)]


def _plain(rule: rules.Middleware, tree: Tree, at: KeyPath) -> Filter:
    """Middlewares that are one filter each."""
    folder = tree.folder(at)
    if isinstance(rule, rules.OidcRule):
        secret = rule.client_secret.file if rule.client_secret else rule.client_secret_file
        return Oidc(
            issuer=rule.issuer.rstrip("/"),
            client_id=rule.client_id,
            client_secret_file=folder / secret if secret else None,
            scopes=rule.scopes,
            callback_path=rule.callback_path,
            logout_path=rule.logout_path,
            cookie=rule.cookie,
            session_ms=rule.session,
            audiences=rule.audiences,
            require=tuple(rule.require.items()),
            claim_headers=tuple(rule.claim_headers.items()),
            claims=rule.claims,
            cookie_secret_file=folder / rule.cookie_secret.file if rule.cookie_secret else None,
            ca_file=folder / rule.ca_file if rule.ca_file else None,
        )
    if isinstance(rule, rules.CorsRule):
        return Cors(
            origins=rule.origins,
            methods=rule.methods,
            headers=rule.headers,
            expose=rule.expose,
            credentials=rule.credentials,
            max_age_s=rule.max_age // 1000,
        )
    if isinstance(rule, rules.CompressRule):
        return Compress(codings=rule.codings, min_bytes=rule.min_size)
    if isinstance(rule, rules.BasicAuthRule):
        users = rule.users
        if rule.users_file is not None:
            users += _users_of(folder / rule.users_file, tree, (*at, "users_file"))
        return BasicAuth(realm=rule.realm, users=users)
    if isinstance(rule, rules.IpRule):
        return IpAccess(allow=rule.allow, deny=rule.deny)
    if isinstance(rule, rules.RequestSizeRule):
        return RequestSize(max_bytes=rule.max)
    if isinstance(rule, rules.EarlyHintsRule):
        return EarlyHints(links=rule.links)
    raise TypeError(f"{type(rule).__name__} is more than one filter")


def _users_of(path: Path, tree: Tree, at: KeyPath) -> tuple[tuple[str, str], ...]:
    """Lines of NAME:HASH."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_USERS_FILE + 1).decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InvalidConfigError([tree.problem(at, f"cannot read {path}: {reason}")]) from None
    pairs: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, hashed = line.strip().partition(":")
        if not colon or not rules.is_password_hash(hashed):
            # The line is not shown: it may hold a password.
            problem = tree.problem(
                at, f"line {number} of {path} is no NAME:HASH", "use argon2id or bcrypt: htpasswd -B"
            )
            raise InvalidConfigError([problem])
        pairs[name] = hashed
    if not pairs or len(text) > _MAX_USERS_FILE:
        raise InvalidConfigError([tree.problem(at, f"{path} has no users, or more than 1 MiB of them")])
    return tuple(pairs.items())
