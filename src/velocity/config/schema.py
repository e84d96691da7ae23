"""JSON Schema (draft 2020-12) of the two files, for editors: what completes keys and marks mistakes while typing."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Literal

from velocity.config import action
from velocity.config.edge import EdgeConfig
from velocity.config.middleware import ALIASES
from velocity.config.simple import SimpleConfig

__all__ = ["NAMES", "make", "shipped", "text"]

Name = Literal["simple", "edge"]
NAMES: tuple[Name, ...] = ("simple", "edge")

_TITLES = {"simple": "serve.simple.yaml", "edge": "edge.yaml"}
_KINDS = {
    "json": "JsonRoute",
    "text": "TextRoute",
    "static": "StaticRoute",
    "template": "TemplateRoute",
    "static_file": "StaticFileRoute",
    "files": "FilesRoute",
    "redirect": "RedirectRoute",
    "proxy": "ProxyRoute",
    "python": "PythonRoute",
}


def make(name: Name) -> dict[str, Any]:
    """The schema of one file."""
    model = SimpleConfig if name == "simple" else EdgeConfig
    schema = model.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    for kind, title in _KINDS.items():
        if title in definitions:
            _add_forms(definitions, kind, title)
    for definition in definitions.values():
        _add_aliases(definition.get("properties", {}))
    schema = _with_routes(schema)
    schema["properties"]["include"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Files that are joined to this one.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": _TITLES[name],
        "description": "Configuration of velocity serve.",
    }


def text(name: Name) -> str:
    """The schema as it is shipped."""
    return json.dumps(make(name), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def shipped(name: Name) -> str:
    """The schema that came with the package, which costs nothing to make."""
    return resources.files("velocity.config").joinpath(f"schemas/{name}.schema.json").read_text("utf-8")


def _add_forms(definitions: dict[str, Any], kind: str, title: str) -> None:
    """The other two ways to write a route: with `match` and `action`, and with its kind as a key."""
    plain = definitions[title]
    properties = plain["properties"]
    of_action = {name for name in properties if name not in _shared()}
    within = {name: {key: value for key, value in properties.items() if key in of_action} for name in ("action",)}
    definitions[f"{title}Matched"] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["match", "action"],
        "properties": {
            "match": {
                "type": "object",
                "additionalProperties": False,
                "required": ["path"],
                "properties": {name: properties[name] for name in ("path", "methods", "hostname")},
            },
            "action": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type"],
                "properties": {**within["action"], "type": {"const": kind}, **_names(kind, properties)},
            },
            **{name: properties[name] for name in action.Policies.model_fields if name in properties},
        },
    }
    definitions[title] = {
        **plain,
        "properties": {**properties, **_names(kind, properties)},
        "required": ["path"],
        "anyOf": [
            {"required": ["kind"]},
            *({"required": [key]} for key, (of, _) in action.SHORT.items() if of == kind),
        ],
    }


def _add_aliases(properties: dict[str, Any]) -> None:
    """What the kind of a middleware may also be called."""
    kind = properties.get("kind", {}).get("const")
    aliases = [alias for alias, meant in ALIASES.items() if meant == kind]
    if aliases:
        properties["kind"] = {"enum": [kind, *aliases]}


def _names(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
    """What the keys of a kind may also be called."""
    short = {other: name for other, (of, name) in action.SHORT.items() if of == kind}
    return {
        other: properties[name]
        for other, name in {**short, **action.RENAMED.get(kind, {})}.items()
        if name in properties and other != "path"
    }


def _shared() -> set[str]:
    return {*action.RouteBase.model_fields, "kind"}


def _with_routes(part: Any) -> Any:
    """Every choice of routes with all the ways to write one; the kind no longer tells them apart alone."""
    if isinstance(part, list):
        return [_with_routes(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {key: value for key, value in part.items() if key != "discriminator"}
    if "oneOf" in part and any(str(one.get("$ref", "")).endswith("/JsonRoute") for one in part["oneOf"]):
        references = [one["$ref"] for one in part["oneOf"]]
        return {"anyOf": [{"$ref": reference} for one in references for reference in (one, f"{one}Matched")]}
    return {key: _with_routes(value) for key, value in part.items()}
