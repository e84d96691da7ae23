"""What rules answer, in Python: for servers that are not Velocity, and for what the data plane must leave to Python.

Variables of templates are those of the data plane: the parameters of the path by name, `query.NAME`, `form.NAME`,
`request.method`, `.path`, `.query`, `.host`, `.scheme`, `.client`, `.identity` and `.headers.NAME`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import to_thread

from velocity.config import action
from velocity.edge.files import FileContent, media_type
from velocity.edge.forms import UploadFile
from velocity.edge.problems import HTTPProblem
from velocity.edge.responses import URI_SIGNS, EdgeResponse, encoded
from velocity.edge.rules import templated
from velocity.edge.templates import page_type

if TYPE_CHECKING:
    from velocity.edge.exchange import Exchange
    from velocity.edge.requests import Connection, EdgeRequest
    from velocity.edge.responses import Content
    from velocity.edge.rules import RuleRoute
    from velocity.edge.templates import Templates
    from velocity.edge.types import Scope

__all__ = ["answer", "variables"]

_PORT = re.compile(r":[0-9]*\Z")
_REASONS = {
    404: "not found\n",
    412: "the file is not what you expect\n",
    416: "there is no such range\n",
}
"""What the data plane says of a file that it does not send."""


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


class _Told:
    """Content that cannot always be sent: the data plane says why in a line of text."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def send(self, response: EdgeResponse, exchange: Exchange) -> None:
        """Send it, or why not."""
        try:
            await self._content.send(response, exchange)
        except HTTPProblem as problem:
            await _said(problem).send(exchange)


async def answer(rule: RuleRoute, request: EdgeRequest, templates: Templates) -> EdgeResponse:
    """Answer a request by a rule.

    Raises:
        HTTPProblem: a form that cannot be read.
    """
    if isinstance(rule, action.TextRoute):
        return EdgeResponse(rule.body, rule.status, content_type=rule.content_type if rule.body else None)
    if isinstance(rule, action.StaticFileRoute):
        return _file(rule.file, rule.content_type, status=rule.status)
    if isinstance(rule, action.FilesRoute):
        try:
            return await to_thread.run_sync(_from_folder, rule, request)
        except HTTPProblem as problem:
            return _said(problem)
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
        "host": _PORT.sub("", connection.host),
        "scheme": "https" if connection.scheme in ("https", "wss") else "http",
        "client": connection.client.host if connection.client else "",
        "identity": connection.tls.identity,
    }
    headers = _Fields({})
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("utf-8", "replace"))
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
    return _elsewhere(location, rule.status, "this is elsewhere\n")


def _elsewhere(location: str, status: int, text: str) -> EdgeResponse:
    return EdgeResponse.text(text, status, {"location": quote(location, safe=URI_SIGNS)})


def _said(problem: HTTPProblem) -> EdgeResponse:
    return EdgeResponse.text(_REASONS[problem.status], problem.status, problem.headers)


def _file(
    path: str | Path, content_type: str | None = None, headers: dict[str, str] | None = None, status: int = 200
) -> EdgeResponse:
    kind = content_type
    if kind is None:
        kind = media_type(str(path))
        kind += "; charset=utf-8" if kind in ("application/json", "application/javascript") else ""
    return EdgeResponse(_Told(FileContent(Path(path), None, kind)), status, headers)


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
        return _file(path, headers=headers)
    if not request.path.endswith("/"):
        query = request.scope.get("query_string", b"").decode("latin-1")
        location = f"/{_as_sent(request.scope).lstrip('/')}/" + (f"?{query}" if query else "")
        return _elsewhere(location, 308, "this is a directory\n")
    for name in rule.index:
        page = Path(path, name)
        if page.is_file():
            return _file(page, headers=headers)
    raise HTTPProblem(404)


def _hidden(segment: str) -> bool:
    return segment.startswith(".") and segment != ".well-known"
