"""The OpenAPI 3.1 document of an application, made of what its handlers declare (https://spec.openapis.org/oas/v3.1.1)."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

from velocity.edge.problems import phrase
from velocity.edge.responses import EdgeResponse
from velocity.edge.signature import MISSING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from velocity.edge.app import EdgeApp
    from velocity.edge.dispatch import Route
    from velocity.edge.signature import BodyPlan, Parameter

__all__ = ["describe"]

_REF = "#/components/schemas/{model}"
_REST = re.compile(r"\{\*([^}]*)\}")
_DESCRIBED = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
"""Methods that OpenAPI 3.1 has a place for."""

_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457)",
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "default": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "detail": {"type": "string"},
                    "type": {"type": "string"},
                    "in": {"enum": ["path", "query", "header", "cookie", "body"]},
                    "name": {"type": "string"},
                    "pointer": {"type": "string"},
                },
            },
        },
    },
}

_Mode = Literal["validation", "serialization"]


def describe(app: EdgeApp) -> dict[str, Any]:
    """The whole document."""
    routes = [route for route in app.routes if route.signature and route.declaration.kind == "http"]
    shown = [route for route in routes if not route.declaration.options.get("hidden")]
    schemas = _Schemas(shown)
    paths: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for route in shown:
        entry = paths.setdefault(_REST.sub(r"{\1}", route.declaration.path), {})
        for method in route.declaration.methods:
            if method in _DESCRIBED:
                entry[method.lower()] = _operation(route, method, schemas, used)
    document: dict[str, Any] = {
        "openapi": "3.1.1",
        "info": {"title": app.title, "version": app.version},
        "paths": {path: entry for path, entry in paths.items() if entry},
        "components": {"schemas": {**schemas.definitions, "HTTPProblem": _PROBLEM}},
    }
    if app.description:
        document["info"]["description"] = app.description
    return document


class _Schemas:
    """The JSON Schemas of everything, made at once, so that models of one name are told apart."""

    def __init__(self, routes: Iterable[Route]) -> None:
        inputs: list[tuple[Hashable, _Mode, TypeAdapter[Any]]] = []
        for route in routes:
            assert route.signature is not None  # noqa: S101 - for the type checker
            adapters = [one.adapter for one in route.signature.all_parameters()]
            if route.signature.body is not None and route.signature.body.adapter is not None:
                adapters.append(route.signature.body.adapter)
            for adapter in adapters:
                taken: tuple[Hashable, _Mode, TypeAdapter[Any]] = (id(adapter), "validation", adapter)
                inputs.append(taken)
            returned = _returned(route)
            if returned is not None:
                inputs.append((id(route), "serialization", returned))
        described = [one for one in inputs if _can_be_described(one[2], one[1])]
        self._map, document = TypeAdapter.json_schemas(described, ref_template=_REF)
        self.definitions: dict[str, Any] = document.get("$defs", {})

    def of(self, key: Hashable, mode: _Mode) -> dict[str, Any]:
        """A schema; anything, where there is none."""
        return dict(self._map.get((key, mode), {}))


def _can_be_described(adapter: TypeAdapter[Any], mode: _Mode) -> bool:
    try:
        adapter.json_schema(mode=mode)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return False
    return True


def _returned(route: Route) -> TypeAdapter[Any] | None:
    """What validates the value that a handler returns, if it is JSON."""
    assert route.signature is not None  # noqa: S101 - for the type checker
    annotation = route.signature.returns
    plain = get_origin(annotation) or annotation
    if annotation in (MISSING, None, type(None), Any, str, bytes):
        return None
    if isinstance(plain, type) and issubclass(plain, EdgeResponse):
        return None
    if any(isinstance(one, type) and issubclass(one, EdgeResponse) for one in get_args(annotation)):
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


def _operation(route: Route, method: str, schemas: _Schemas, used: set[str]) -> dict[str, Any]:
    assert route.signature is not None  # noqa: S101 - for the type checker
    options, handler = route.declaration.options, route.declaration.handler
    summary, _, description = (inspect.getdoc(handler) or "").partition("\n")
    operation: dict[str, Any] = {"operationId": _unique(options.get("operation_id") or _name(handler), method, used)}
    about = {
        "summary": options.get("summary") or summary.rstrip("."),
        "description": options.get("description") or description.strip(),
        "tags": list(options.get("tags", ())),
        "deprecated": options.get("deprecated", False),
    }
    operation |= {name: value for name, value in about.items() if value}
    parameters = route.signature.all_parameters()
    places: dict[tuple[str, str], dict[str, Any]] = {}
    for one in parameters:
        if one.place != "form":
            for made in _parameters(one, schemas):
                places.setdefault((made["in"], made["name"].lower()), made)
    for name in _path_names(route):
        # What no handler looks at is a parameter all the same.
        places.setdefault(
            ("path", name.lower()), {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        )
    if places:
        operation["parameters"] = list(places.values())
    forms = [one for one in parameters if one.place == "form"]
    if route.signature.body is not None:
        operation["requestBody"] = _body(route.signature.body, schemas)
    elif forms:
        operation["requestBody"] = _form(forms, schemas)
    operation["responses"] = _responses(route, schemas, takes=bool(parameters or route.signature.body))
    return operation


def _name(handler: Any) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


def _path_names(route: Route) -> list[str]:
    return [name.strip("{*}") for name in route.declaration.path.split("/") if name.startswith("{")]


def _unique(name: str, method: str, used: set[str]) -> str:
    """An operationId that is there once (section 4.8.10)."""
    candidates = (name, f"{name}_{method.lower()}", *(f"{name}_{number}" for number in range(2, len(used) + 3)))
    chosen = next(one for one in candidates if one not in used)
    used.add(chosen)
    return chosen


def _parameters(one: Parameter, schemas: _Schemas) -> list[dict[str, Any]]:
    """A parameter, or those of a model."""
    schema = schemas.of(id(one.adapter), "validation")
    if one.model is not None:
        target = _target(schema, schemas)
        required = target.get("required", ())
        return [
            {
                "name": name.replace("_", "-") if one.place == "header" else name,
                "in": one.place,
                "required": name in required,
                "schema": member,
            }
            for name, member in target.get("properties", {}).items()
        ]
    made: dict[str, Any] = {
        "name": one.alias,
        "in": one.place,
        "required": one.default is MISSING,
        "schema": _with_default(schema, one),
    }
    if one.source.description:
        made["description"] = one.source.description
    if one.source.deprecated:
        made["deprecated"] = True
    return [made]


def _target(schema: dict[str, Any], schemas: _Schemas) -> dict[str, Any]:
    """What a schema refers to."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = schemas.definitions.get(schema["$ref"].rpartition("/")[2], {})
    return found


def _with_default(schema: dict[str, Any], one: Parameter) -> dict[str, Any]:
    if one.default in (MISSING, None) or "default" in schema:
        return schema
    try:
        default = to_jsonable_python(one.default)
    except PydanticSerializationError:
        return schema
    return {**schema, "default": default}


def _body(plan: BodyPlan, schemas: _Schemas) -> dict[str, Any]:
    required = any(one.default is MISSING for one in plan.parameters)
    if plan.adapter is None:
        kind = "application/octet-stream" if plan.raw == "bytes" else "text/plain"
        return {"required": required, "content": {kind: {"schema": {}}}}
    schema = schemas.of(id(plan.adapter), "validation")
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _form(forms: list[Parameter], schemas: _Schemas) -> dict[str, Any]:
    found = {one.alias: _with_default(schemas.of(id(one.adapter), "validation"), one) for one in forms}
    files = '"binary"' in json.dumps([found, *(_target(schema, schemas) for schema in found.values())])
    kind = "multipart/form-data" if files else "application/x-www-form-urlencoded"
    if len(forms) == 1 and forms[0].model is not None:
        return {"required": True, "content": {kind: {"schema": found[forms[0].alias]}}}
    required = [one.alias for one in forms if one.default is MISSING]
    schema: dict[str, Any] = {"type": "object", "properties": found}
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {kind: {"schema": schema}}}


def _responses(route: Route, schemas: _Schemas, *, takes: bool) -> dict[str, Any]:
    assert route.signature is not None  # noqa: S101 - for the type checker
    returns = route.signature.returns
    status = route.declaration.options.get("status", 200)
    if returns in (None, type(None)) and status == 200:
        status = 204
    answer: dict[str, Any] = {"description": phrase(status) or str(status)}
    if returns is str:
        answer["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif returns is bytes:
        answer["content"] = {"application/octet-stream": {"schema": {}}}
    elif _returned(route) is not None:
        answer["content"] = {"application/json": {"schema": schemas.of(id(route), "serialization")}}
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(model="HTTPProblem")}}}
    responses = {str(status): answer}
    if takes:
        responses["422"] = {"description": phrase(422), "content": problem}
    responses["default"] = {"description": "A problem", "content": problem}
    return responses
