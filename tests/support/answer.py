"""A response as every client of these tests gives it."""

from __future__ import annotations

from dataclasses import dataclass, field

Body = bytes | bytearray


@dataclass
class Answer:
    """Status, fields in order with names in lower case, and the whole body."""

    status: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: Body = field(default_factory=bytearray)

    def __getitem__(self, name: str) -> str:
        """The value of a field; KeyError when it is absent."""
        for key, value in self.fields:
            if key == name:
                return value
        raise KeyError(name)

    def get(self, name: str) -> str | None:
        """The value of a field, or None."""
        return next((value for key, value in self.fields if key == name), None)
