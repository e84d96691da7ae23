"""What Velocity's data plane does in front of an application, done in Python for servers that are not Velocity.

A server that carries out the rules itself says so once, in `app.rules.enforced`, or in the scope of each request, where
`extensions["velocity"]["rules"]` is true.
"""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Any

from velocity.edge.answers import variables
from velocity.edge.limits import RateLimiter
from velocity.edge.problems import HTTPProblem
from velocity.edge.requests import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from velocity.config.middleware import RateLimitRule
    from velocity.edge.app import EdgeApp
    from velocity.edge.rules import Rules
    from velocity.edge.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "enforced", "enforced_by_server"]

_log = logging.getLogger("velocity.edge")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REFUSED = b"too many requests, try again later\n"


def enforced_by_server(scope: Scope) -> bool:
    """Whether the server carries out the rules of the application itself."""
    return bool(((scope.get("extensions") or {}).get("velocity") or {}).get("rules"))


def enforced(app: ASGIApp) -> ASGIApp:
    """An application as a server calls it that carries out its rules: every scope says so."""

    def told(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        extensions = dict(scope.get("extensions") or {})
        # What is said of a connection is shared by all requests of it, whomever they are for.
        extensions["velocity"] = {**extensions.get("velocity", {}), "rules": True}
        return app({**scope, "extensions": extensions}, receive, send)

    return told


def _without_rules(scope: Scope) -> dict[str, Any]:
    """The extensions of a scope for applications further inside, whose rules the server does not know."""
    extensions = dict(scope.get("extensions") or {})
    if "velocity" in extensions:
        extensions["velocity"] = {**extensions["velocity"], "rules": False}
    return extensions


class Guard:
    """The rules of an application around everything else in it."""

    def __init__(self, app: EdgeApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules
        self._limiter: tuple[RateLimitRule, RateLimiter] | None = None
        self._known: tuple[object, list[tuple[bytes, bytes, str | None]]] | None = None
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send, inner: ASGIApp) -> None:
        """Serve one request or WebSocket."""
        if self._rules.enforced or enforced_by_server(scope):
            await inner({**scope, "extensions": _without_rules(scope)}, receive, send)
            return
        self._warn()
        told: list[tuple[bytes, bytes]] = []
        refused = False
        limiter = self._current()
        if limiter is not None:
            standing = limiter.admit(limiter.key_of(Connection(scope, self._app)))
            told = limiter.fields(standing)
            if not standing.allowed:
                refused = True
                told.append((b"retry-after", str(max(math.ceil(standing.reset), 1)).encode()))

        async def out(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                message = {**message, "headers": self._fields(message.get("headers", ()), told, scope)}
            await send(message)

        if refused:
            await _refuse(scope, receive, out)
        else:
            await inner(scope, receive, out)

    def _current(self) -> RateLimiter | None:
        rule = self._rules.rate_limit
        if rule is None:
            return None
        if self._limiter is None or self._limiter[0] is not rule:
            self._limiter = (rule, RateLimiter(rule))
        return self._limiter[1]

    def _fields(self, fields: Any, told: list[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
        """The fields of an answer, with those that are still missing."""
        result = [*fields, *told]
        present = {bytes(name).lower() for name, _ in fields}
        for name, value, template in self._defaults():
            # HSTS means nothing in clear (RFC 6797 section 7.2).
            if name in present or (
                name == b"strict-transport-security" and scope.get("scheme") not in ("https", "wss")
            ):
                continue
            if template is not None:
                made = self._rendered(template, scope)
                if made is None:
                    continue
                value = made
            result.append((name, value))
            present.add(name)
        return result

    def _rendered(self, template: str, scope: Scope) -> bytes | None:
        """The value of a field by its template; None where a client has put into it what no field can have."""
        try:
            text = self._app.templates.inline(template, variables(Connection(scope, self._app)))
        except HTTPProblem:
            return None
        return None if _FORBIDDEN.search(text) else text.encode()

    def _defaults(self) -> list[tuple[bytes, bytes, str | None]]:
        """Fields of every answer that has none of the name: name, value, and the template where the value is one."""
        rules = (self._rules.security_headers, len(self._rules.headers))
        if self._known is None or self._known[0] != rules:
            fields = [
                (name.encode("ascii"), value.encode(), value if "{" in value else None)
                for name, value in self._app.default_fields
            ]
            self._known = (rules, fields)
        return self._known[1]

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            if self._rules.waf is not None and self._rules.waf.enabled:
                _log.warning("no web application firewall: this server does not carry out the rules of applications")


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(_REFUSED)).encode())]
    await send({"type": f"{kind}.start", "status": 429, "headers": headers})
    body = b"" if scope.get("method") == "HEAD" else _REFUSED
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
