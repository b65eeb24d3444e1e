"""A JSON object from the server, parsed once: each question gets the asked type or one error."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TypeVar

Scalar = TypeVar("Scalar", str, int, float)


class MalformedAnswerError(ValueError):
    """A field of an answer isn't what the contract says; callers add which server sent it."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"field '{name}' is not {expected}")


class JsonObject:
    """Answers by field name. A missing or null field gives the default, a wrong type raises."""

    def __init__(self, fields: object, name: str = "body") -> None:
        if not isinstance(fields, Mapping):
            raise MalformedAnswerError(name, "an object")
        self.fields: Mapping[str, object] = fields

    def text(self, name: str, default: str = "") -> str:
        return self._scalar(name, default, kind=str)

    def integer(self, name: str, default: int = 0) -> int:
        return self._scalar(name, default, kind=int)

    def number(self, name: str, default: float = 0.0) -> float:
        value = self.fields.get(name)
        return float(value) if isinstance(value, int) else self._scalar(name, default, kind=float)

    def required_text(self, name: str) -> str:
        if self.fields.get(name) is None:
            raise MalformedAnswerError(name, "there")
        return self.text(name)

    def optional_text(self, name: str) -> str | None:
        return None if self.fields.get(name) is None else self.text(name)

    def optional_integer(self, name: str) -> int | None:
        return None if self.fields.get(name) is None else self.integer(name)

    def optional_number(self, name: str) -> float | None:
        return None if self.fields.get(name) is None else self.number(name)

    def is_true(self, name: str) -> bool:
        return self.fields.get(name) is True

    def moment(self, name: str) -> datetime | None:
        """An RFC 3339 time, aware."""
        text = self.optional_text(name)
        try:
            return None if text is None else datetime.fromisoformat(text)
        except ValueError:
            raise MalformedAnswerError(name, "a time") from None

    def child(self, name: str) -> "JsonObject":
        """The object in a field; an empty one if there is none."""
        value = self.fields.get(name)
        return JsonObject({} if value is None else value, name)

    def items(self, name: str) -> Iterator[object]:
        """What a list field holds; nothing if there is none."""
        values = self.fields.get(name)
        if values is None:
            return
        if not isinstance(values, list):
            raise MalformedAnswerError(name, "a list")
        yield from values

    def children(self, name: str) -> Iterator["JsonObject"]:
        return (JsonObject(item, name) for item in self.items(name))

    def _scalar(self, name: str, default: Scalar, *, kind: type[Scalar]) -> Scalar:
        value = self.fields.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise MalformedAnswerError(name, f"of type {kind.__name__}")
        return value
