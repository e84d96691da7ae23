"""The query of a URL as names and values, several of a name in order (application/x-www-form-urlencoded)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload
from urllib.parse import parse_qsl, quote_plus

__all__ = ["QueryParamTypes", "QueryParams", "encode_pairs", "text_of"]

Primitive: TypeAlias = "str | int | float | bool | None"
QueryParamTypes: TypeAlias = (
    "QueryParams | Mapping[str, Primitive | Sequence[Primitive]] | Iterable[tuple[str, Primitive]] | str | bytes"
)

_MOST = 10_000
"""Names and values that are read from one query."""


class QueryParams(Mapping[str, str]):
    """Names and values; not to be changed, `set`, `add`, `merge` and `remove` give new ones.

    Args:
        params: a mapping (of values or lists of them), pairs, or a query.
        more: further names.
    """

    __slots__ = ("_values",)

    def __init__(self, params: QueryParamTypes | None = None, /, **more: Primitive) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in (*_pairs(params), *more.items()):
            self._values.setdefault(str(name), []).append(text_of(value))

    def get_list(self, key: str) -> list[str]:
        """Every value of a name."""
        return list(self._values.get(key, ()))

    def multi_items(self) -> list[tuple[str, str]]:
        """Every name with every value."""
        return [(name, value) for name, values in self._values.items() for value in values]

    def set(self, key: str, value: Primitive = None) -> QueryParams:
        """With this value alone for a name."""
        return self._with({**self._values, str(key): [text_of(value)]})

    def add(self, key: str, value: Primitive = None) -> QueryParams:
        """With one more value for a name."""
        return self._with({**self._values, str(key): [*self._values.get(str(key), ()), text_of(value)]})

    def remove(self, key: str) -> QueryParams:
        """Without a name."""
        return self._with({name: values for name, values in self._values.items() if name != str(key)})

    def merge(self, params: QueryParamTypes | None = None) -> QueryParams:
        """With others, which replace those of the same name."""
        return self._with({**self._values, **QueryParams(params)._values})

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, default: Any, /) -> Any: ...
    @overload
    def get(self, key: str, /, default: Any) -> Any: ...
    def get(self, key: str, /, default: Any = None) -> Any:
        """The first value of a name, or something else."""
        return self._values[key][0] if key in self._values else default

    def __getitem__(self, key: str) -> str:
        return self._values[key][0]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueryParams) and sorted(self.multi_items()) == sorted(other.multi_items())

    def __str__(self) -> str:
        return encode_pairs(self.multi_items())

    def __repr__(self) -> str:
        return f"QueryParams({str(self)!r})"

    @staticmethod
    def _with(values: dict[str, list[str]]) -> QueryParams:
        made = QueryParams()
        made._values = values
        return made


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """As a query, or the content of a form."""
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)


def _pairs(params: Any) -> Iterable[tuple[str, Any]]:
    if params is None:
        return ()
    if isinstance(params, QueryParams):
        return params.multi_items()
    if isinstance(params, (str, bytes)):
        text = params.decode("ascii", "replace") if isinstance(params, bytes) else params
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST)
    if isinstance(params, Mapping):
        return [
            (name, one)
            for name, value in params.items()
            for one in (value if isinstance(value, (list, tuple)) else (value,))
        ]
    return list(params)


def text_of(value: Any) -> str:
    """A value as it stands in a query or a form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
