"""What the models of configuration files are made of: sections that refuse unknown keys, and the types of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from velocity.config.plan import Alpn, Profile
from velocity.config.quantities import (
    MatchKind,
    parse_cookie_name,
    parse_duration,
    parse_field_name,
    parse_field_value,
    parse_file_name,
    parse_host,
    parse_method,
    parse_network,
    parse_origin,
    parse_path,
    parse_pattern,
    parse_resolver,
    parse_size,
    parse_upstream,
)
from velocity.config.values import BadValueError, parse_alpn, parse_listen, parse_profile

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ONE_OR_MORE",
    "Also",
    "Bytes",
    "CookieName",
    "Count",
    "Duration",
    "FieldName",
    "FieldValue",
    "FileName",
    "Host",
    "Hosts",
    "Listen",
    "Method",
    "Network",
    "Origin",
    "PathText",
    "Pattern",
    "Port",
    "ProfileName",
    "ProfilePolicy",
    "Protocols",
    "Resolver",
    "Section",
    "Status",
    "Strings",
    "Upstream",
    "one_or_more",
    "text_of",
]

T = TypeVar("T")


class Also:
    """What a value may also be written as, for validation and for JSON Schema.

    Args:
        convert: makes the proper form of another; leaves everything else as it is.
        schema: JSON Schema of the other form; None for one item in place of a list.
    """

    def __init__(self, convert: Callable[[Any], Any], schema: dict[str, Any] | None = None) -> None:
        self._convert = convert
        self._schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The proper form, after a conversion."""
        return core_schema.no_info_before_validator_function(self._convert, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Either form."""
        proper = handler(schema)
        return {"anyOf": [proper["items"] if self._schema is None else self._schema, proper]}


class Section(BaseModel):
    """A block of a configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def one_or_more(value: Any) -> Any:
    """A single value is a list of one."""
    return value if isinstance(value, list | tuple) else [value]


ONE_OR_MORE = Also(one_or_more)


def text_of(parse: Callable[[str], T]) -> Callable[[Any], T]:
    """A parser of text as a validator: whatever is no text is told so."""

    def validate(value: Any) -> T:
        if not isinstance(value, str):
            raise BadValueError("this has to be text", "put it in quotes")
        return parse(value)

    return validate


def _listen(value: Any) -> Any:
    parsed = [text_of(parse_listen)(item) for item in one_or_more(value)]
    if not parsed:
        raise BadValueError("no address is named", "for example: 0.0.0.0:4433")
    fixed = [item for item in parsed if not item.endswith(":0")]
    if len(set(fixed)) != len(fixed):
        raise BadValueError("the same address is named twice", "name each address once")
    return parsed


def _protocols(value: Any) -> Any:
    words = one_or_more(value)
    if not all(isinstance(word, str) for word in words):
        raise BadValueError("this has to be a list of protocols", "for example: [velocity/1, h3, h2, http/1.1]")
    return parse_alpn(list(words))


def _permit(value: tuple[Profile, ...]) -> tuple[Profile, ...]:
    if not value:
        raise BadValueError("no profile is permitted", "name at least one of light, balanced and secure")
    return tuple(dict.fromkeys(value))


def _strings(value: Any) -> Any:
    return one_or_more(value)


_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}

Duration = Annotated[
    int, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "examples": ["500ms", "5s", "2m", "24h"]})
]
"""Milliseconds."""
Bytes = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["64k", "10MiB"]})
]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Status = Annotated[int, Field(ge=200, le=599)]
FileName = Annotated[str, BeforeValidator(parse_file_name), WithJsonSchema(_TEXT)]
Host = Annotated[str, BeforeValidator(text_of(parse_host)), WithJsonSchema(_TEXT)]
Hosts = Annotated[tuple[Host, ...], ONE_OR_MORE]
Listen = Annotated[tuple[str, ...], BeforeValidator(_listen), WithJsonSchema(_TEXTS)]
Protocols = Annotated[tuple[Alpn, ...], BeforeValidator(_protocols), WithJsonSchema(_TEXTS)]
ProfileName = Annotated[
    Profile,
    BeforeValidator(text_of(parse_profile)),
    WithJsonSchema({"enum": ["light", "balanced", "secure", "turbo", "fortress"]}),
]
Network = Annotated[str, BeforeValidator(text_of(parse_network)), WithJsonSchema(_TEXT)]
Origin = Annotated[str, BeforeValidator(text_of(parse_origin)), WithJsonSchema(_TEXT)]
Upstream = Annotated[str, BeforeValidator(text_of(parse_upstream)), WithJsonSchema(_TEXT)]
Resolver = Annotated[str, BeforeValidator(text_of(parse_resolver)), WithJsonSchema(_TEXT)]
Method = Annotated[str, BeforeValidator(text_of(parse_method)), WithJsonSchema(_TEXT)]
FieldName = Annotated[str, BeforeValidator(text_of(parse_field_name)), WithJsonSchema(_TEXT)]
CookieName = Annotated[str, BeforeValidator(text_of(parse_cookie_name)), WithJsonSchema(_TEXT)]
"""Its case matters. A header field can have it, too."""
FieldValue = Annotated[str, BeforeValidator(parse_field_value), WithJsonSchema({"type": ["string", "integer"]})]
PathText = Annotated[str, BeforeValidator(text_of(parse_path)), WithJsonSchema({"type": "string", "pattern": "^/"})]
Strings = Annotated[tuple[str, ...], BeforeValidator(_strings), WithJsonSchema(_TEXTS)]


Pattern = Annotated[
    tuple[MatchKind | None, str],
    PlainValidator(text_of(parse_pattern)),
    WithJsonSchema({"type": "string", "pattern": "^/"}),
]
"""A path with parameters, as `parse_pattern` has it."""


class ProfilePolicy(Section):
    """Which profiles there are: `default` where the client has no preference, `permit` what is allowed at all."""

    default: ProfileName = "balanced"
    permit: Annotated[
        tuple[ProfileName, ...],
        ONE_OR_MORE,
        AfterValidator(_permit),
    ] = ("light", "balanced", "secure")

    @model_validator(mode="after")
    def _default_is_permitted(self) -> ProfilePolicy:
        if self.default not in self.permit:
            raise BadValueError(
                f"the default profile {self.default} is not permitted", f"set default to {self.permit[0]}"
            )
        return self
