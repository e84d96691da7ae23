"""Where the value of a parameter comes from, said in its annotation: `page: Annotated[int, Query(alias="p")] = 1`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Body", "Cookie", "Depends", "FormData", "Header", "Path", "Place", "Query", "Source"]

Place = Literal["path", "query", "header", "cookie", "form", "body"]


@dataclass(frozen=True, slots=True)
class Source:
    """What the markers have in common.

    Attributes:
        alias: the name in the request; None is that of the parameter, in header fields with `-` for `_`.
        description: for the OpenAPI document.
        deprecated: likewise.
    """

    place: ClassVar[Place]

    alias: str | None = None
    description: str = ""
    deprecated: bool = False


class Path(Source):
    """A parameter of the path."""

    __slots__ = ()
    place: ClassVar[Place] = "path"


class Query(Source):
    """A parameter of the query; a model takes several."""

    __slots__ = ()
    place: ClassVar[Place] = "query"


class Header(Source):
    """A header field; a model takes several."""

    __slots__ = ()
    place: ClassVar[Place] = "header"


class Cookie(Source):
    """A cookie; a model takes several."""

    __slots__ = ()
    place: ClassVar[Place] = "cookie"


class FormData(Source):
    """A field of a form, or a file as `UploadFile`; a model takes several."""

    __slots__ = ()
    place: ClassVar[Place] = "form"


class Body(Source):
    """The JSON body; of several, each is a member of one object. `bytes` and `str` take the body as it is."""

    __slots__ = ()
    place: ClassVar[Place] = "body"


@dataclass(frozen=True, slots=True)
class Depends:
    """A value that a function makes: `user: Annotated[User, Depends(current_user)]`.

    The function has parameters like a handler, except for a body. It may be asynchronous, and it may be a generator:
    what comes after its `yield` runs when the answer and its background tasks are done.

    Attributes:
        function: what makes the value.
        cached: whether one request calls it once only, however many ask for it.
    """

    function: Callable[..., Any]
    cached: bool = field(default=True, kw_only=True)
