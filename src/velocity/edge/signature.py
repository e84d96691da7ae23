"""The signature of a handler, read once when its route is made: what it wants to know of a request.

A parameter is, in this order: what its annotation says (`Annotated[..., Query()]`, `Depends`); the request, the
WebSocket or the background tasks, by its type; a parameter of the path, by its name; an uploaded file; the JSON body,
if it is a model, a dataclass, a TypedDict or a mapping; else a parameter of the query.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, create_model

from velocity.edge.background import BackgroundTasks
from velocity.edge.forms import UploadFile
from velocity.edge.markers import Body, Depends, FormData, Path, Query, Source
from velocity.edge.requests import EdgeRequest
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from velocity.edge.markers import Place

__all__ = [
    "MISSING",
    "BodyPlan",
    "Dependency",
    "Parameter",
    "Signature",
    "is_asynchronous",
    "place_of",
    "read_signature",
    "takes_many",
]

MISSING: Any = object()
"""A parameter without a default."""

_SEQUENCES = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Set)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

Given = Literal["request", "websocket", "background"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a request has a value for.

    Attributes:
        name: in the handler.
        source: the marker, its alias being the name in the request.
        annotation: as declared.
        adapter: what validates.
        default: MISSING if the request must have it.
        many: whether it takes every value of its name.
        model: whether it is a model of several parameters.
    """

    name: str
    source: Source
    annotation: Any
    adapter: TypeAdapter[Any]
    default: Any
    many: bool
    model: type[BaseModel] | None

    @property
    def place(self) -> Place:
        """Where it comes from."""
        return self.source.place

    @property
    def alias(self) -> str:
        """Its name in the request."""
        return self.source.alias or self.name


@dataclass(frozen=True, slots=True)
class BodyPlan:
    """What is made of a JSON body.

    Attributes:
        parameters: those that it is for.
        adapter: what validates the whole; None takes it as it is.
        raw: `bytes` or `str`, where it is not JSON.
        joined: whether the parameters are members of one object.
    """

    parameters: tuple[Parameter, ...]
    adapter: TypeAdapter[Any] | None
    raw: Literal["bytes", "str"] | None = None
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Dependency:
    """A parameter that a function makes the value of.

    Attributes:
        name: in the handler; empty for what is called for its effect only.
        function: what is called.
        cached: whether once for a request.
        signature: its own parameters.
    """

    name: str
    function: Callable[..., Any]
    cached: bool
    signature: Signature


@dataclass(frozen=True, slots=True)
class Signature:
    """Everything that a function wants to know of a request.

    Attributes:
        parameters: those of path, query, header fields, cookies and form.
        body: what is made of a JSON body.
        dependencies: what other functions make.
        given: what there is for every request, by the name of the parameter.
        returns: the annotation of what it returns; MISSING without.
        asynchronous: whether the function itself is.
    """

    parameters: tuple[Parameter, ...]
    body: BodyPlan | None
    dependencies: tuple[Dependency, ...]
    given: Mapping[str, Given]
    returns: Any
    asynchronous: bool

    def all_parameters(self) -> list[Parameter]:
        """Its own and those of its dependencies, the body excepted."""
        return [*self.parameters, *(one for found in self.dependencies for one in found.signature.all_parameters())]


def place_of(function: Any) -> str:
    """File and line of a function, for people."""
    plain = _plain(function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return f"{getattr(plain, '__module__', '')}.{getattr(plain, '__qualname__', type(plain).__name__)}"
    return f"{code.co_filename}:{code.co_firstlineno}"


def _plain(function: Any) -> Any:
    """What is below partials, methods and decorators."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def is_asynchronous(function: Any) -> bool:
    """Whether calling a function gives something to await."""
    plain = _plain(function)
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None))  # noqa: B004


def read_signature(
    function: Callable[..., Any],
    path_names: Sequence[str],
    dependencies: Sequence[Depends] = (),
    *,
    websocket: bool = False,
    within: tuple[Any, ...] = (),
) -> Signature:
    """Read the signature of a handler or of a dependency.

    Args:
        function: the handler.
        path_names: the parameters of its path.
        dependencies: what else is to be called, for its effect.
        websocket: whether it serves a WebSocket and not requests.
        within: the functions that depend on this one.

    Raises:
        ConfigError: HANDLER_INVALID, with the place.
    """
    reader = _Reader(function, tuple(path_names), websocket, within)
    for one in dependencies:
        reader.depend("", one)
    return reader.read()


class _Reader:
    def __init__(
        self, function: Callable[..., Any], path_names: tuple[str, ...], websocket: bool, within: tuple[Any, ...]
    ) -> None:
        self._function = function
        self._path_names = path_names
        self._websocket = websocket
        self._within = within
        self._parameters: list[Parameter] = []
        self._body: list[Parameter] = []
        self._dependencies: list[Dependency] = []
        self._given: dict[str, Given] = {}

    def read(self) -> Signature:
        try:
            declared = inspect.signature(self._function)
        except (TypeError, ValueError):
            raise self._wrong("has no signature that can be read", "write a function around it") from None
        hints = self._hints()
        for name, parameter in declared.parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise self._wrong(f"takes any arguments ({parameter})", "name each parameter")
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise self._wrong(f"takes {name} by position only", "parameters are given by name: leave out the /")
            default = MISSING if parameter.default is parameter.empty else parameter.default
            self._parameter(name, hints.get(name, MISSING), default)
        return Signature(
            tuple(self._parameters),
            self._body_plan(),
            tuple(self._dependencies),
            self._given,
            hints.get("return", MISSING),
            is_asynchronous(self._function),
        )

    def depend(self, name: str, depends: Depends) -> None:
        if depends.function in self._within or depends.function is self._function:
            raise self._wrong(f"depends on itself, by {name or 'dependencies'}", "break the circle")
        within = (*self._within, self._function)
        signature = read_signature(depends.function, self._path_names, websocket=self._websocket, within=within)
        if signature.body is not None:
            hint = "take the request, and read its body, or let the handler have it"
            raise _Reader(depends.function, (), False, ())._wrong("is a dependency and takes a body", hint)
        self._dependencies.append(Dependency(name, depends.function, depends.cached, signature))

    def _parameter(self, name: str, annotation: Any, default: Any) -> None:
        if isinstance(default, (Source, Depends)):
            kind = type(default).__name__
            raise self._wrong(
                f"has {kind}(...) as the default of {name}", f"write {name}: Annotated[TYPE, {kind}(...)]"
            )
        if annotation is MISSING:
            annotation = self._unannotated(name)
        plain, metadata = _taken_apart(annotation)
        marks = [one for one in metadata if isinstance(one, (Source, Depends))]
        if len(marks) > 1:
            raise self._wrong(f"says twice where {name} comes from", "leave one")
        if marks and isinstance(marks[0], Depends):
            self.depend(name, marks[0])
            return
        given = self._is_given(plain)
        if given is not None:
            self._given[name] = given
            return
        source = marks[0] if marks and isinstance(marks[0], Source) else self._guess(name, plain)
        if isinstance(source, Path):
            if (source.alias or name) not in self._path_names:
                raise self._wrong(f"takes {source.alias or name} from the path, which has no such parameter", "")
            if default is not MISSING:
                raise self._wrong(f"has a default for {name}, which the path always has", "leave out the default")
        made = self._made(name, annotation, plain, source, default)
        if isinstance(source, Body):
            self._body.append(made)
        else:
            self._parameters.append(made)

    def _unannotated(self, name: str) -> Any:
        if name == "request" and not self._websocket:
            return EdgeRequest
        if name == "websocket" and self._websocket:
            return _websocket_type()
        return str

    def _is_given(self, plain: Any) -> Given | None:
        if not isinstance(plain, type):
            return None
        if issubclass(plain, EdgeRequest):
            if self._websocket:
                raise self._wrong("serves a WebSocket and takes a request", "take velocity.edge.WebSocket")
            return "request"
        if issubclass(plain, BackgroundTasks):
            return "background"
        if plain is _websocket_type():
            if not self._websocket:
                raise self._wrong("serves requests and takes a WebSocket", "use @app.websocket")
            return "websocket"
        return None

    def _guess(self, name: str, plain: Any) -> Source:
        if name in self._path_names:
            return Path()
        kinds = [one for one in _alternatives(plain) if one is not type(None)]
        if any(one is UploadFile or UploadFile in get_args(one) for one in kinds):
            return FormData()
        if kinds and all(_is_structure(one) for one in kinds):
            return Body()
        return Query()

    def _made(self, name: str, annotation: Any, plain: Any, source: Source, default: Any) -> Parameter:
        if source.alias is None and source.place == "header":
            source = dataclasses.replace(source, alias=name.replace("_", "-"))
        if isinstance(source, (Body, FormData)) and self._websocket:
            raise self._wrong(f"serves a WebSocket, and takes {name} from a body", "there is none")
        kinds = [one for one in _alternatives(plain) if one is not type(None)]
        model = kinds[0] if len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel) else None
        many = takes_many(plain)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise self._wrong(f"has {name}, which cannot be validated: {reason}", "") from None
        return Parameter(name, source, annotation, adapter, default, many, model)

    def _body_plan(self) -> BodyPlan | None:
        forms = [one for one in self._parameters if one.place == "form"]
        if self._body and forms:
            raise self._wrong(
                f"takes {self._body[0].name} as JSON and {forms[0].name} from a form", "a request has one body"
            )
        if not self._body:
            return None
        if len(self._body) == 1:
            (only,) = self._body
            plain = _taken_apart(only.annotation)[0]
            if plain in (bytes, str):
                return BodyPlan((only,), None, "bytes" if plain is bytes else "str")
            return BodyPlan((only,), only.adapter)
        fields: dict[str, Any] = {
            one.alias: (one.annotation, ... if one.default is MISSING else one.default) for one in self._body
        }
        name = "".join(word.capitalize() for word in getattr(self._function, "__name__", "").split("_"))
        return BodyPlan(tuple(self._body), TypeAdapter(create_model(f"{name}Body", **fields)), joined=True)

    def _hints(self) -> dict[str, Any]:
        """Annotations, evaluated; names that are local to who makes the route are known too."""
        target = _plain(self._function)
        if isinstance(target, type):
            target = target.__init__  # type: ignore[misc]
        elif not isinstance(target, types.FunctionType):
            target = getattr(type(target), "__call__", target)  # noqa: B004 - for its annotations
        try:
            return get_type_hints(target, include_extras=True)
        except NameError:
            pass
        except TypeError as error:
            raise self._wrong(f"has an annotation that is none: {error}", "") from None
        try:
            return get_type_hints(target, localns=_locals_around(target), include_extras=True)
        except (NameError, TypeError) as error:
            hint = "import it where the code runs, and not under TYPE_CHECKING"
            raise self._wrong(f"has an annotation that cannot be evaluated: {error}", hint) from None

    def _wrong(self, what: str, hint: str) -> ConfigError:
        name = getattr(self._function, "__qualname__", type(self._function).__name__)
        return ConfigError("HANDLER_INVALID", f"{place_of(self._function)}: {name} {what}", hint)


def _websocket_type() -> type:
    from velocity.edge.websocket import WebSocket

    return WebSocket


def _taken_apart(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and what Annotated says besides."""
    if get_origin(annotation) is Annotated:
        plain, *metadata = get_args(annotation)
        return plain, tuple(metadata)
    return annotation, ()


def _alternatives(plain: Any) -> tuple[Any, ...]:
    """The types of a union, those in Annotated as well."""
    if get_origin(plain) in (Union, types.UnionType):
        return tuple(one for part in get_args(plain) for one in _alternatives(part))
    if get_origin(plain) is Annotated:
        return _alternatives(get_args(plain)[0])
    return (plain,)


def takes_many(annotation: Any) -> bool:
    """Whether a type has room for several values of one name."""
    return any((get_origin(one) or one) in _SEQUENCES for one in _alternatives(annotation))


def _is_structure(kind: Any) -> bool:
    """Whether it is something that has members."""
    plain = get_origin(kind) or kind
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return True
    if plain in _MAPPINGS or hasattr(plain, "__required_keys__") or dataclasses.is_dataclass(plain):
        return True
    return plain in _SEQUENCES and any(_is_structure(one) for one in get_args(kind))


def _locals_around(function: Any) -> dict[str, Any]:
    """Local names of the functions that a function is made in, as long as they are running."""
    outer = function.__qualname__
    names: dict[str, Any] = {}
    frame = sys._getframe(1)
    while frame is not None and ".<locals>." in outer:
        inside = outer.rpartition(".<locals>.")[0]
        if frame.f_code.co_qualname == inside and frame.f_code.co_filename == function.__code__.co_filename:
            names = {**frame.f_locals, **names}
            outer = inside
        else:
            following = frame.f_back
            if following is None:
                break
            frame = following
    return names
