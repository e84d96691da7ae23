"""Problem details (RFC 9457): what went wrong with a request, for programs and for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from velocity.edge.responses import EdgeResponse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from velocity.edge.headers import Headers

__all__ = ["HTTPProblem", "RequestInvalid", "phrase", "prefers_text", "problem_response"]

MEDIA_TYPE = "application/problem+json"
_PHRASES = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""Those for which older Pythons know older names."""


class HTTPProblem(Exception):  # noqa: N818 - it is an answer, and not always an error
    """Raised in a handler, it is the answer.

    Args:
        status: 400 to 599.
        detail: one sentence about this occurrence.
        title: about this kind of problem; None is the phrase of the status.
        problem_type: a URI that names the kind; `about:blank` is none beyond the status.
        headers: fields of the answer.
        extensions: further members, as JSON.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        title: str | None = None,
        problem_type: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail or title or phrase(status))
        self.status = status
        self.detail = detail
        self.title = title or phrase(status)
        self.problem_type = problem_type
        self.headers = dict(headers or {})
        self.extensions = extensions

    def document(self) -> dict[str, Any]:
        """The members of the problem, as JSON."""
        members = {"type": self.problem_type, "title": self.title, "status": self.status, "detail": self.detail}
        return {name: value for name, value in members.items() if value} | self.extensions


class RequestInvalid(HTTPProblem):
    """Parameters or a body that are not what the handler declares.

    Args:
        errors: each with `detail`, `type`, `in` (`path`, `query`, `header`, `cookie`, `body`), `name` of a parameter,
            and `pointer`, a JSON pointer (RFC 6901) into a body.
    """

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        count = len(errors)
        super().__init__(
            422,
            f"{count} value{'s are' if count != 1 else ' is'} not what this resource takes",
            errors=[dict(error) for error in errors],
        )
        self.errors = tuple(errors)


def phrase(status: int) -> str:
    """The reason phrase of a status, as RFC 9110 has it; empty if nobody knows it."""
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def prefers_text(accept: str) -> bool:
    """Whether a client would rather read than parse: HTML or text weighs more than JSON (RFC 9110 section 12.5.1)."""
    weights = _weights(accept)
    machine = max(_weight(weights, kind) for kind in (MEDIA_TYPE, "application/json"))
    human = max(_weight(weights, kind) for kind in ("text/html", "text/plain"))
    return human > machine


def _weights(accept: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for item in accept[:4096].split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(max(float(parameter[2:]), 0.0), 1.0)
                except ValueError:
                    weight = 0.0
        if kind:
            weights[kind] = weight
    return weights


def _weight(weights: dict[str, float], kind: str) -> float:
    """The most specific range that matches decides."""
    family = f"{kind.partition('/')[0]}/*"
    return next((weights[name] for name in (kind, family, "*/*") if name in weights), 0.0)


def problem_response(problem: HTTPProblem, request_headers: Headers) -> EdgeResponse:
    """A problem as an answer, in the form that the client can use."""
    if prefers_text(request_headers.get("accept", "")):
        lines = [f"{problem.status} {problem.title}", problem.detail]
        lines += (_line(error) for error in problem.extensions.get("errors", ()) if isinstance(error, dict))
        text = "\n".join(filter(None, lines)) + "\n"
        response = EdgeResponse.text(text, status=problem.status, headers=problem.headers)
    else:
        response = EdgeResponse.json(problem.document(), status=problem.status, headers=problem.headers)
        response.headers["content-type"] = MEDIA_TYPE
    response.headers.add("vary", "accept")
    return response


def _line(error: dict[str, str]) -> str:
    where = " ".join(filter(None, (error.get("in"), error.get("name"), error.get("pointer"))))
    return f"{where}: {error.get('detail', '')}"
