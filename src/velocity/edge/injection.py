"""The arguments of a handler: values are validated, dependencies called, and all that is wrong is told at once."""

from __future__ import annotations

import copy
import inspect
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import CancelScope, CapacityLimiter, to_thread
from pydantic import ValidationError

from velocity.edge.background import BackgroundTasks
from velocity.edge.headers import Headers, Values
from velocity.edge.problems import HTTPProblem, RequestInvalid
from velocity.edge.requests import EdgeRequest, is_json
from velocity.edge.signature import MISSING, is_asynchronous, takes_many

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from velocity.edge.requests import Connection
    from velocity.edge.signature import BodyPlan, Dependency, Parameter, Signature

__all__ = ["Injector", "call"]

_FAILED: Any = object()


async def call(function: Callable[..., Any], arguments: Mapping[str, Any], asynchronous: bool | None = None) -> Any:
    """Call a function; one that is not asynchronous in a thread, so that it cannot hold up the others.

    Args:
        function: what is called.
        arguments: by name.
        asynchronous: whether it is; None looks.
    """
    if is_asynchronous(function) if asynchronous is None else asynchronous:
        return await function(**arguments)
    result = await to_thread.run_sync(lambda: function(**arguments))
    return await result if inspect.isawaitable(result) else result


class Injector:
    """The arguments for one request.

    Args:
        connection: the request or WebSocket.
        stack: where dependencies leave what they have to clean up.
        background: what parameters of that type get.
    """

    def __init__(
        self, connection: Connection, stack: AsyncExitStack, background: BackgroundTasks | None = None
    ) -> None:
        self._connection = connection
        self._stack = stack
        self._background = background if background is not None else BackgroundTasks()
        self._made: dict[Callable[..., Any], Any] = {}
        self._errors: list[dict[str, str]] = []

    async def arguments(self, signature: Signature) -> dict[str, Any]:
        """The arguments of a handler.

        Dependencies come first, so that one that refuses a client does so before its body is read.

        Raises:
            RequestInvalid: with everything that is wrong.
            HTTPProblem: of a dependency, or of reading the body.
        """
        arguments = await self._of(signature)
        if signature.body is not None and isinstance(self._connection, EdgeRequest):
            arguments |= await self._body(signature.body, self._connection)
        if self._errors:
            raise RequestInvalid(self._errors)
        return arguments

    async def _of(self, signature: Signature) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, what in signature.given.items():
            arguments[name] = self._background if what == "background" else self._connection
        for dependency in signature.dependencies:
            value = await self._dependency(dependency)
            if dependency.name:
                arguments[dependency.name] = value
        for parameter in signature.parameters:
            arguments[parameter.name] = await self._value(parameter)
        return arguments

    async def _dependency(self, dependency: Dependency) -> Any:
        function = dependency.function
        if dependency.cached and function in self._made:
            return self._made[function]
        before = len(self._errors)
        arguments = await self._of(dependency.signature)
        if len(self._errors) > before or any(one is _FAILED for one in arguments.values()):
            value = _FAILED
        else:
            value = await self._call(function, arguments)
        if dependency.cached:
            self._made[function] = value
        return value

    async def _call(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        plain = inspect.unwrap(function)
        if inspect.isasyncgenfunction(plain):
            return await self._stack.enter_async_context(asynccontextmanager(function)(**arguments))
        if inspect.isgeneratorfunction(plain):
            return await self._stack.enter_async_context(_threaded(function, arguments))
        if isinstance(plain, type):
            return function(**arguments)
        return await call(function, arguments)

    # --- values ---

    async def _value(self, parameter: Parameter) -> Any:
        raw = await self._raw(parameter)
        if raw is MISSING:
            if parameter.default is not MISSING:
                # A list that one request changes is not the next one's.
                return copy.copy(parameter.default)
            self._wrong(parameter, (), "it is required", "missing")
            return _FAILED
        try:
            return parameter.adapter.validate_python(raw)
        except ValidationError as error:
            self._invalid(parameter, error)
            return _FAILED

    async def _raw(self, parameter: Parameter) -> Any:
        """What the request says, as text; MISSING if it says nothing."""
        connection = self._connection
        place = parameter.place
        values: Values[Any] | Headers | Mapping[str, Any]
        if place == "path":
            values = connection.params
        elif place == "query":
            values = connection.query
        elif place == "header":
            values = connection.headers
        elif place == "cookie":
            values = connection.cookies
        elif isinstance(connection, EdgeRequest):
            values = await connection.form()
        else:
            raise TypeError(f"{parameter.name} is of a form, and there is none")
        if parameter.model is not None:
            return _members(parameter, values)
        return _named(values, parameter.alias, many=parameter.many)

    async def _body(self, plan: BodyPlan, request: EdgeRequest) -> dict[str, Any]:
        first = plan.parameters[0]
        body = await request.body()
        optional = all(one.default is not MISSING for one in plan.parameters)
        if not body and optional:
            return {one.name: one.default for one in plan.parameters}
        if plan.adapter is None:
            return {first.name: body if plan.raw == "bytes" else await request.text()}
        # What a page of another site may send without asking is no JSON by its type (Fetch standard, section 2.2.2).
        if body and not is_json(request.content_type):
            raise HTTPProblem(415, "this resource takes application/json", headers={"accept": "application/json"})
        try:
            value = plan.adapter.validate_json(body)
        except ValidationError as error:
            for found in error.errors(include_url=False, include_context=False, include_input=False):
                if found["type"] == "json_invalid":
                    raise HTTPProblem(400, f"the body is not JSON: {found['msg'].partition(': ')[2]}") from None
                pointer = "".join(f"/{_escaped(part)}" for part in found["loc"])
                self._errors.append(
                    {"detail": found["msg"], "type": found["type"], "in": "body", "pointer": f"#{pointer}"}
                )
            return {}
        if plan.joined:
            return {one.name: getattr(value, one.alias) for one in plan.parameters}
        return {first.name: value}

    def _invalid(self, parameter: Parameter, error: ValidationError) -> None:
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            self._wrong(parameter, found["loc"], found["msg"], found["type"])

    def _wrong(self, parameter: Parameter, inside: tuple[int | str, ...], detail: str, kind: str) -> None:
        place = "body" if parameter.place == "form" else parameter.place
        name = ".".join(map(str, inside)) if parameter.model is not None and inside else parameter.alias
        self._errors.append({"detail": detail, "type": kind, "in": place, "name": name})


def _named(values: Any, name: str, *, many: bool) -> Any:
    if name not in values:
        return MISSING
    if not many:
        return values[name]
    if isinstance(values, Headers):
        return [item.strip() for line in values.getlist(name) for item in line.split(",")]
    return values.getlist(name) if isinstance(values, Values) else [values[name]]


def _members(parameter: Parameter, values: Any) -> dict[str, Any]:
    """The values of the fields of a model; a query or a form also has those that the model may want to refuse."""
    model = parameter.model
    assert model is not None  # noqa: S101 - for the type checker
    members: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name
        asked = alias.replace("_", "-") if parameter.place == "header" and alias == name else alias
        value = _named(values, asked, many=takes_many(field.annotation))
        if value is not MISSING:
            members[alias] = value
    if parameter.place in ("query", "form"):
        members |= {name: values[name] for name in values if name not in members}
    return members


def _escaped(part: int | str) -> str:
    """A part of a JSON pointer in a URI fragment (RFC 6901 sections 3 and 6)."""
    return quote(str(part).replace("~", "~0").replace("/", "~1"), safe="~")


@asynccontextmanager
async def _threaded(function: Callable[..., Any], arguments: Mapping[str, Any]) -> AsyncIterator[Any]:
    """A generator that is no asynchronous one, both halves in threads."""
    context = contextmanager(function)(**arguments)
    value = await to_thread.run_sync(context.__enter__)
    # Cleaning up must not wait for a thread that those who want to clean up may all be holding.
    limiter = CapacityLimiter(1)
    try:
        yield value
    except BaseException as error:
        raised, kind = error, type(error)
        swallowed: bool | None = False
        with CancelScope(shield=True):
            swallowed = await to_thread.run_sync(
                lambda: context.__exit__(kind, raised, raised.__traceback__), limiter=limiter
            )
        if not swallowed:
            raise
    else:
        await to_thread.run_sync(context.__exit__, None, None, None, limiter=limiter)
