"""A model's input and output schema: its features and what it can be asked for."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import HeaderError, quoted


class Dtype(StrEnum):
    """Type of a column's values, of features and outputs alike."""

    FLOAT = "float64"
    INT = "int64"
    BOOL = "bool"
    STRING = "string"


class OutputKind(StrEnum):
    """What a model can be asked for; a signature says which of them it offers."""

    PREDICT = "predict"
    PREDICT_PROBA = "predict_proba"
    DECISION_FUNCTION = "decision_function"
    TRANSFORM = "transform"
    CONTRIBUTIONS = "contributions"
    """What each feature adds to the prediction."""


class Feature(BaseModel):
    """One input column, as the model was trained on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    dtype: Dtype
    nullable: bool = False
    """Whether the model takes a missing value here; it was tried when the model was published."""
    minimum: float | None = None
    maximum: float | None = None
    """Bounds seen in the sample (numbers only). They describe; they don't refuse."""
    categories: tuple[str, ...] | None = None
    """Values seen in the sample, for texts with few different ones."""
    accepts_unseen: bool = True
    """Whether the model takes a text that is not among `categories`; it was tried, too."""
    example: float | int | bool | str | None = None


class OutputColumn(BaseModel):
    """One column of predictions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    dtype: Dtype


class Signature(BaseModel):
    """Features in the model's order, and for each kind of output its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...]
    outputs: dict[OutputKind, tuple[OutputColumn, ...]]

    @property
    def default_output(self) -> OutputKind:
        """What is asked for if nothing is: the first kind, which is `predict` unless a model has
        none."""
        return next(iter(self.outputs))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def check_header(
        self, header: Sequence[str], *, carried: Sequence[str], is_strict: bool
    ) -> None:
        """Raise HeaderError with every problem at once unless all wanted columns are there once.

        `carried` are the columns that are copied into the results; `is_strict` also refuses
        columns that nobody asked for.
        """
        wanted = dict.fromkeys((*self.feature_names, *carried))
        missing = [name for name in wanted if name not in header]
        # What is carried is either the whole header or the one key that was asked for.
        lost_keys = set(missing) - set(self.feature_names)
        problems = [
            (
                "missing_column",
                name,
                f"The key column {quoted(name)} is not in the table."
                if name in lost_keys
                else f"Column {quoted(name)} is missing.",
            )
            for name in missing
        ]
        problems += [
            (
                "duplicate_column",
                name,
                f"Column {quoted(name)} is there {header.count(name)} times.",
            )
            for name in wanted
            if header.count(name) > 1
        ]
        if is_strict:
            problems += [
                ("unknown_column", name, f"Column {quoted(name)} is not a feature.")
                for name in dict.fromkeys(header)
                if name not in wanted
            ]
        if problems:
            is_for_model = any(column not in lost_keys for _, column, _ in problems)
            unmet = "the model" if is_for_model else "what was asked for"
            raise HeaderError(problems, unmet=unmet, hint=_delimiter_hint(header))


def _delimiter_hint(header: Sequence[str]) -> str:
    """What to try when a header of one column looks as if it were cut at the wrong character."""
    if len(header) != 1:
        return ""
    found = [(name, char) for char, name in _DELIMITERS.items() if char in header[0]]
    return (
        f"It has one column and holds '{found[0][1]}': try ?delimiter={found[0][0]}."
        if found
        else ""
    )


_DELIMITERS = {";": "%3B", "\t": "%09", "|": "%7C", ",": "%2C"}
"""Characters that CSV files are cut at, and how a query string spells them."""
