"""`edge.yaml`: behaviour without code, in front of whatever else is served.

templates_dir: templates
rate_limit: {limit: 120, window: 1m}
routes:
  - {path: "/api/hello/{name}", methods: [GET], kind: json, body: {message: "Hello, {{ name }}"}}
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from velocity.config.action import Policies, Route
from velocity.config.middleware import Middleware, RateLimitRule, SecurityHeaders, WafRules
from velocity.config.section import FileName, Hosts, Section

__all__ = ["EdgeConfig", "EdgeSite"]


class EdgeSite(Policies):
    """What holds for some hosts only."""

    hosts: Annotated[Hosts, Field(min_length=1)]
    security_headers: SecurityHeaders | bool | None = None
    routes: tuple[Route, ...] = ()


class EdgeConfig(Section):
    """The whole file. What it says holds for every request, except where a route skips it."""

    templates_dir: FileName | None = None
    rate_limit: RateLimitRule | None = None
    waf: WafRules | bool | None = None
    security_headers: SecurityHeaders | bool = True
    middlewares: tuple[Middleware, ...] = ()
    routes: tuple[Route, ...] = ()
    """The first that matches answers."""
    sites: tuple[EdgeSite, ...] = ()
