"""Header fields of requests and responses (RFC 9110 section 5): a multi-dict whose names know no case."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, TypeAlias, TypeVar, overload

from velocity.client.exceptions import LocalProtocolError

__all__ = ["Fields", "Headed", "HeaderTypes", "Headers"]

T = TypeVar("T")
Fields: TypeAlias = list[tuple[str, str]]
"""As the core has them: in order, names in lower case, values in latin-1. Never changed in place."""
HeaderTypes: TypeAlias = (
    "Headers | Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]"
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


class Headers(MutableMapping[str, str]):
    """Header fields by name, in whatever case.

    `headers[name]` joins several fields of a name by commas; `get_list` has each.

    Args:
        headers: a mapping or pairs.

    Raises:
        LocalProtocolError: a name that is no token, or a value with a line break (`HEADERS_INVALID`).
    """

    __slots__ = ("fields",)

    def __init__(self, headers: HeaderTypes | None = None) -> None:
        self.fields: Fields
        if headers is None:
            self.fields = []
        elif isinstance(headers, Headers):
            self.fields = headers.fields
        else:
            pairs: Iterable[Any] = headers.items() if isinstance(headers, Mapping) else headers
            self.fields = [_field(name, value) for name, value in pairs]

    @classmethod
    def of(cls, fields: Fields) -> Headers:
        """Around fields that are known to be well-formed, and that nobody changes."""
        made = cls.__new__(cls)
        made.fields = fields
        return made

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Names and values as bytes."""
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in self.fields]

    @property
    def encoding(self) -> str:
        """Of values; what is more in them, nobody could agree on (RFC 9110 section 5.5)."""
        return "latin-1"

    def get_list(self, key: str, split_commas: bool = False) -> list[str]:
        """Every value of a name, in order.

        Args:
            key: the name.
            split_commas: take fields that are lists apart.
        """
        wanted = key.lower()
        values = [value for name, value in self.fields if name == wanted]
        if not split_commas:
            return values
        return [part.strip() for value in values for part in value.split(",")]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every field by itself."""
        return list(self.fields)

    def keys(self) -> KeysView[str]:
        """Each name once."""
        return self._joined().keys()

    def values(self) -> ValuesView[str]:
        """A value for each name."""
        return self._joined().values()

    def items(self) -> ItemsView[str, str]:
        """Each name with its values joined."""
        return self._joined().items()

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, default: str | T, /) -> str | T: ...
    @overload
    def get(self, key: str, /, default: str | T) -> str | T: ...
    def get(self, key: str, /, default: Any = None) -> Any:
        """The value of a name, or something else."""
        try:
            return self[key]
        except KeyError:
            return default

    def update(self, headers: HeaderTypes | None = None, /, **more: str) -> None:  # type: ignore[override]
        """Set fields; those of the same names go."""
        new = [*Headers(headers).fields, *Headers(more).fields]
        names = {name for name, _ in new}
        self.fields = [pair for pair in self.fields if pair[0] not in names] + new

    def add(self, key: str, value: str) -> None:
        """One more field of this name."""
        self.fields = [*self.fields, _field(key, value)]

    def copy(self) -> Headers:
        """The same fields, to be changed."""
        return Headers.of(self.fields)

    def __getitem__(self, key: str) -> str:
        wanted = key.lower()
        found: str | None = None
        for name, value in self.fields:
            if name == wanted:
                found = value if found is None else f"{found}, {value}"
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: str, value: str) -> None:
        new = _field(key, value)
        fields = self.fields
        for index, (name, _) in enumerate(fields):
            if name == new[0]:
                rest = [pair for pair in fields[index + 1 :] if pair[0] != name]
                self.fields = [*fields[:index], new, *rest]
                return
        self.fields = [*fields, new]

    def __delitem__(self, key: str) -> None:
        wanted = key.lower()
        left = [pair for pair in self.fields if pair[0] != wanted]
        if len(left) == len(self.fields):
            raise KeyError(key)
        self.fields = left

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        wanted = key.lower()
        return any(name == wanted for name, _ in self.fields)

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined())

    def __len__(self) -> int:
        return len({name for name, _ in self.fields})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return sorted(self.fields) == sorted(other.fields)
        try:
            return sorted(self.fields) == sorted(Headers(other).fields)  # type: ignore[arg-type]
        except (TypeError, ValueError, LocalProtocolError):
            return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [(name, "[secure]" if name in _SECRET else value) for name, value in self.fields]
        as_dict = dict(shown)
        return f"Headers({as_dict if len(as_dict) == len(shown) else shown})"

    def _joined(self) -> dict[str, str]:
        joined: dict[str, str] = {}
        for name, value in self.fields:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined


class Headed:
    """What has header fields, which become `Headers` for whoever looks at them."""

    __slots__ = ("_fields", "_headers")

    _headers: Headers | None
    _fields: Fields

    @property
    def headers(self) -> Headers:
        """Its fields."""
        found = self._headers
        if found is None:
            found = self._headers = Headers.of(self._fields)
        return found

    @headers.setter
    def headers(self, headers: HeaderTypes) -> None:
        self._headers = Headers(headers)

    @property
    def fields(self) -> Fields:
        """Its fields as they go over the wire."""
        return self._fields if self._headers is None else self._headers.fields


def _field(name: Any, value: Any) -> tuple[str, str]:
    """A field as the core takes it."""
    name = name.decode("ascii", "replace") if isinstance(name, bytes) else name
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(
            f"header fields are str or bytes, not {type(name if isinstance(value, str) else value).__name__}"
        )
    if not _TOKEN.fullmatch(name):
        raise _invalid(f"{name[:60]!r} is no name of a header field")
    if _FORBIDDEN.search(value):
        raise _invalid(f"the value of {name} has a line break, or a character that no header field can have")
    return name.lower(), value.strip(" \t")


def _invalid(message: str) -> LocalProtocolError:
    return LocalProtocolError("HEADERS_INVALID", message, "names are tokens, values are latin-1 without line breaks")
