"""The form that scores one row: a field for each feature of a signature, and what is in it."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace

from api.pages.formats import number
from shared.signature import Dtype, Feature, Signature

BOOLEANS = ("true", "false")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One feature as a form asks for it. All texts are as in a CSV."""

    name: str
    id: str
    """For labels; a name may hold anything."""
    is_number: bool
    is_required: bool
    choices: tuple[str, ...] = ()
    """What there is to choose from; empty where anything can be typed."""
    suggestions: tuple[str, ...] = ()
    """What the sample held, where other texts are taken as well."""
    example: str = ""
    hint: str = ""
    value: str = ""
    error: str = ""

    @property
    def described_by(self) -> str:
        """Ids of the texts that belong to it."""
        parts = [("hint", self.hint), ("error", self.error)]
        return " ".join(f"{self.id}-{part}" for part, text in parts if text)


@dataclass(frozen=True, kw_only=True)
class RowForm:
    """All fields, in the order of the signature."""

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, signature: Signature, values: Mapping[str, str] | None = None) -> "RowForm":
        """A form with these values; without any an empty one."""
        named = enumerate(signature.features)
        fields = (_field(f"feature-{number}", feature) for number, feature in named)
        given = values or {}
        return cls(fields=tuple(replace(f, value=given.get(f.name, "").strip()) for f in fields))

    @classmethod
    def example_of(cls, signature: Signature) -> "RowForm":
        """A form with the example row of the signature."""
        return cls.of(signature, {f.name: _text(f.example) for f in signature.features})

    @property
    def values(self) -> dict[str, str]:
        """The texts by feature."""
        return {field.name: field.value for field in self.fields}

    def csv(self) -> bytes:
        """The row under its header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([field.name for field in self.fields])
        writer.writerow([field.value for field in self.fields])
        return text.getvalue().encode(errors="replace")

    def with_errors(self, messages: Mapping[str, str]) -> "RowForm":
        """The same with messages at the fields they are about, by name."""
        marked = (replace(field, error=messages.get(field.name, "")) for field in self.fields)
        return RowForm(fields=tuple(marked))


def value_range(feature: Feature) -> str:
    """What the sample held of a feature, for people: "5 to 10", "no, yes"."""
    if feature.minimum is not None and feature.maximum is not None:
        return f"{number(feature.minimum)} to {number(feature.maximum)}"
    if feature.categories:
        return ", ".join(feature.categories)
    return ""


def _field(field_id: str, feature: Feature) -> Field:
    is_number = feature.dtype in (Dtype.FLOAT, Dtype.INT)
    categories = feature.categories or ()
    choices = categories if not feature.accepts_unseen else ()
    if feature.dtype is Dtype.BOOL:
        choices = BOOLEANS
    has_bounds = is_number and feature.minimum is not None
    return Field(
        name=feature.name,
        id=field_id,
        is_number=is_number,
        is_required=not feature.nullable,
        choices=choices,
        suggestions=categories if feature.accepts_unseen else (),
        example=_text(feature.example),
        hint=f"{value_range(feature)} in training" if has_bounds else "",
    )


def _text(example: float | int | bool | str | None) -> str:
    """As a CSV has it."""
    if example is None:
        return ""
    return str(example).lower() if isinstance(example, bool) else str(example)
