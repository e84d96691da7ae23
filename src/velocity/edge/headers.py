"""Header fields (RFC 9110 section 5), and other values that come by name and may come several times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

__all__ = ["Headers", "MutableHeaders", "Values"]

V = TypeVar("V")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Headers(Mapping[str, str]):
    """Header fields by name, in whatever case; several of one name are joined as RFC 9110 section 5.3 does.

    Args:
        raw: as ASGI has them: names in lower case.
    """

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._raw: list[tuple[bytes, bytes]] = list(raw)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """As ASGI has them."""
        return list(self._raw)

    def getlist(self, name: str) -> list[str]:
        """Every value of a name, in order; empty if there is none."""
        key = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for known, value in self._raw if known == key]

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return ("; " if name.lower() == "cookie" else ", ").join(values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.getlist(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self._raw))

    def __len__(self) -> int:
        return len({name for name, _ in self._raw})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._raw!r})"


class MutableHeaders(Headers):
    """Header fields of an answer that is being made."""

    @classmethod
    def of(cls, fields: Mapping[str, str] | None) -> MutableHeaders:
        """From names and values as people write them.

        Raises:
            ValueError: a name that is no token, or a value with a line break.
        """
        headers = cls()
        for name, value in (fields or {}).items():
            headers.add(name, value)
        return headers

    def add(self, name: str, value: str) -> None:
        """One more field of this name.

        Raises:
            ValueError: a name that is no token, or a value with a line break.
        """
        self._raw.append(_field(name, value))

    def __setitem__(self, name: str, value: str) -> None:
        key, encoded = _field(name, value)
        self._raw = [*((known, one) for known, one in self._raw if known != key), (key, encoded)]

    def __delitem__(self, name: str) -> None:
        key = name.lower().encode("latin-1", "replace")
        self._raw = [(known, value) for known, value in self._raw if known != key]

    def setdefault(self, name: str, value: str) -> None:
        """Set a field where there is none of this name."""
        if name not in self:
            self[name] = value


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is no name of a header field")
    if _FORBIDDEN.search(value):
        raise ValueError(f"the value of {name} has a line break or another control character")
    try:
        return name.lower().encode("ascii"), value.strip().encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of {name} has characters that no header field can have") from None


class Values(Mapping[str, V], Generic[V]):
    """Values by name, of a query or a form; `[name]` is the last of a name."""

    def __init__(self, pairs: Iterable[tuple[str, V]] = ()) -> None:
        self._values: dict[str, list[V]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[V]:
        """Every value of a name, in order; empty if there is none."""
        return list(self._values.get(name, ()))

    def pairs(self) -> list[tuple[str, V]]:
        """Every name with every value."""
        return [(name, value) for name, values in self._values.items() for value in values]

    def __getitem__(self, name: str) -> V:
        return self._values[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pairs()!r})"
