"""How a page shows what became of one row: the prediction, and what there is to say of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api.pages.formats import READABLE_CHARS, cell, share, signed
from api.pages.row_scoring import Outcome
from shared.signature import Dtype, OutputKind

SHOWN_BARS = 12
"""The longest bars; what is shorter is counted."""

_PROBABILITY = "proba_"
_CONTRIBUTION = "contribution_"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A number and its place in a field that is 100 wide."""

    label: str
    value: float
    text: str
    start: float
    width: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The longest of some bars, longest first."""

    shown: tuple[Bar, ...]
    omitted: int

    @classmethod
    def of(cls, bars: Iterable[Bar]) -> "Bars":
        """All of them, or the first ones."""
        ordered = sorted(bars, key=lambda bar: -abs(bar.value))
        return cls(shown=tuple(ordered[:SHOWN_BARS]), omitted=len(ordered[SHOWN_BARS:]))


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What a number is the sum of."""

    sum: float
    base_value: float
    bars: Bars
    towards: str = ""
    """Of a classifier: the class that the number speaks for."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One column of an output."""

    name: str
    dtype: Dtype
    exact: str
    """As the results of the job have it."""

    @property
    def shown(self) -> str:
        """As people read it."""
        return cell(self.exact, self.dtype) or "–"

    @property
    def is_rounded(self) -> bool:
        """Whether what is shown may be another number than the exact one."""
        return self.dtype is Dtype.FLOAT and len(self.exact) > READABLE_CHARS


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What became of a row."""

    job_id: str
    is_ready: bool
    values: tuple[Value, ...]
    """The columns of the output that was asked for."""
    is_refused: bool
    """Whether something is wrong with the row or its job."""
    messages: tuple[str, ...]
    """Why there is none, as far as no field is to blame."""
    probabilities: Bars | None = None
    contributions: Contributions | None = None

    @classmethod
    def of(cls, outcomes: Mapping[OutputKind, Outcome], row: Mapping[str, str]) -> "Prediction":
        """`outcomes`: the first is the one that was asked for. `row`: the texts of its features."""
        first = next(iter(outcomes.values()))
        return cls(
            job_id=first.job.id,
            is_ready=first.job.has_ended,
            values=tuple(
                Value(name=column.name, dtype=column.dtype, exact=text)
                for column, text in first.values
            ),
            is_refused=bool(first.errors or first.failure),
            messages=(
                *(error.message for error in first.errors if error.column not in row),
                *filter(None, [first.failure]),
            ),
            probabilities=_probabilities(outcomes.get(OutputKind.PREDICT_PROBA)),
            contributions=_contributions(outcomes, row),
        )


def field_errors(outcomes: Mapping[OutputKind, Outcome]) -> dict[str, str]:
    """What is wrong with the row by the feature that is to blame."""
    return {
        error.column: error.message
        for outcome in outcomes.values()
        for error in outcome.errors
        if error.column
    }


def _numbers(outcome: Outcome) -> dict[str, float]:
    return {column.name: float(text) for column, text in outcome.values if text}


def _probabilities(outcome: Outcome | None) -> Bars | None:
    if outcome is None or not outcome.values:
        return None
    return Bars.of(
        Bar(
            label=name.removeprefix(_PROBABILITY),
            value=probability,
            text=share(probability),
            start=0,
            width=round(100 * probability, 2),
        )
        for name, probability in _numbers(outcome).items()
    )


def _contributions(
    outcomes: Mapping[OutputKind, Outcome], row: Mapping[str, str]
) -> Contributions | None:
    outcome = outcomes.get(OutputKind.CONTRIBUTIONS)
    if outcome is None or not outcome.values:
        return None
    probabilities = outcomes.get(OutputKind.PREDICT_PROBA)
    classes = [column.name for column, _ in probabilities.values] if probabilities else [""]
    added = _numbers(outcome)
    total, base_value = added.pop("prediction"), added.pop("base_value")
    largest = max(map(abs, added.values()), default=0.0) or 1.0
    return Contributions(
        sum=total,
        base_value=base_value,
        bars=Bars.of(_contribution(name, value, row, largest) for name, value in added.items()),
        # What is taken apart of a classifier is its second and last class.
        towards=classes[-1].removeprefix(_PROBABILITY),
    )


def _contribution(column: str, value: float, row: Mapping[str, str], largest: float) -> Bar:
    name, width = column.removeprefix(_CONTRIBUTION), round(50 * abs(value) / largest, 2)
    return Bar(
        label=name,
        value=value,
        text=signed(value, beside=largest),
        start=50 - width if value < 0 else 50,
        width=width,
        note=row.get(name, ""),
    )
