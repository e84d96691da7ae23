"""What rules answer, in Python: for servers that are not Velocity, and for what the data plane must leave to Python.

Variables of templates are those of the data plane: the parameters of the path by name, `query.NAME`, `form.NAME`,
`request.method`, `.path`, `.query`, `.host`, `.scheme`, `.client`, `.identity` and `.headers.NAME`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import to_thread

from velocity.config import action
from velocity.edge.forms import UploadFile
from velocity.edge.problems import HTTPProblem
from velocity.edge.responses import URI_SIGNS, EdgeResponse, encoded
from velocity.edge.rules import templated
from velocity.edge.templates import page_type

if TYPE_CHECKING:
    from velocity.edge.requests import Connection, EdgeRequest
    from velocity.edge.rules import RuleRoute
    from velocity.edge.templates import Templates
    from velocity.edge.types import Scope

__all__ = ["answer", "variables"]


class _Names(dict[str, Any]):
    """Names of which some stand for others."""

    def __init__(self, names: dict[str, Any], alone: str = "") -> None:
        super().__init__(names)
        self._alone = alone

    def __str__(self) -> str:
        return self._alone


class _Fields(dict[str, str]):
    """Header fields, in which `_` stands for `-`."""

    def __missing__(self, name: str) -> str:
        other = name.lower().replace("_", "-")
        if other == name:
            raise KeyError(name)
        return self[other]


async def answer(rule: RuleRoute, request: EdgeRequest, templates: Templates) -> EdgeResponse:
    """Answer a request by a rule.

    Raises:
        HTTPProblem: 404 for a file that is not there.
    """
    if isinstance(rule, action.TextRoute):
        return EdgeResponse(rule.body, rule.status, content_type=rule.content_type)
    if isinstance(rule, action.StaticFileRoute):
        response = EdgeResponse.file(rule.file, content_type=rule.content_type)
        response.status = rule.status
        return response
    if isinstance(rule, action.FilesRoute):
        return await to_thread.run_sync(_from_folder, rule, request)
    known = variables(request)
    if isinstance(rule, action.JsonRoute):
        body = templated(rule.body, lambda text: templates.inline(text, known))
        return EdgeResponse(encoded(body) + b"\n", rule.status, content_type="application/json")
    if isinstance(rule, action.RedirectRoute):
        return _redirect(rule, templates.inline(rule.to, known))
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form = await request.form()
        first = {name: form.getlist(name)[0] for name in form}
        known["form"] = {name: value for name, value in first.items() if not isinstance(value, UploadFile)}
    html = templates.render(rule.name, known)
    return EdgeResponse(html, rule.status, content_type=rule.content_type or page_type(rule.name))


def variables(connection: Connection) -> dict[str, Any]:
    """What templates can say of a request."""
    scope = connection.scope
    query = scope.get("query_string", b"").decode("latin-1")
    values = connection.query
    basic: dict[str, Any] = {
        "method": scope.get("method", "GET"),
        "path": _as_sent(scope),
        "host": connection.host,
        "scheme": connection.scheme,
        "client": connection.client.host if connection.client else "",
        "identity": connection.tls.identity,
    }
    headers = _Fields({name: connection.headers[name] for name in connection.headers})
    return {
        **basic,
        "request": {**basic, "query": query, "headers": headers},
        "query": _Names({name: values.getlist(name)[0] for name in values}, query),
        "form": {},
        "claims": {},
        **connection.params,
    }


def _as_sent(scope: Scope) -> str:
    """The path as the client wrote it, if the server tells."""
    raw = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"], safe="/!$&'()*+,;=:@~")


def _redirect(rule: action.RedirectRoute, location: str) -> EdgeResponse:
    local = rule.to.startswith("/") and not rule.to.startswith("//")
    local = local or rule.to.lstrip("{ ").startswith(("path", "request.path"))
    # Two slashes at the beginning would be another host (RFC 3986 section 4.2).
    if local and location.startswith("//"):
        location = f"/{location.lstrip('/')}"
    return EdgeResponse.redirect(location, rule.status)


def _from_folder(rule: action.FilesRoute, request: EdgeRequest) -> EdgeResponse:
    """A file of a folder: never one that is outside, and never a hidden one unless those are wanted."""
    relative = request.params.get("rest", "")
    segments = [one for one in relative.split("/") if one not in ("", ".")]
    if any(one == ".." or "\\" in one or "\0" in one for one in segments):
        raise HTTPProblem(404)
    if ".velocity" in segments or (not rule.dotfiles and any(_hidden(one) for one in segments)):
        raise HTTPProblem(404)
    root = os.path.realpath(rule.root)
    path = os.path.realpath(os.path.join(root, *segments))  # noqa: PTH118 - realpath is what decides
    if path != root and not path.startswith(root.rstrip("/") + "/"):
        raise HTTPProblem(404)
    headers = {"cache-control": rule.cache_control} if rule.cache_control else None
    if not os.path.isdir(path):  # noqa: PTH112
        if request.path.endswith("/"):
            raise HTTPProblem(404)
        return EdgeResponse.file(path, headers=headers)
    if not request.path.endswith("/"):
        address = request.scope["path"]
        return EdgeResponse.redirect(f"/{quote(address.strip('/'), safe=URI_SIGNS)}/", 308)
    for name in rule.index:
        page = Path(path, name)
        if page.is_file():
            return EdgeResponse.file(page, headers=headers)
    raise HTTPProblem(404)


def _hidden(segment: str) -> bool:
    return segment.startswith(".") and segment != ".well-known"
