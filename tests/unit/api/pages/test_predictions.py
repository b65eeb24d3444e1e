"""What a page shows of a scored row."""

from api.pages.predictions import SHOWN_BARS, Bar, Bars, Prediction, field_errors
from api.pages.row_scoring import Outcome
from shared.chunks import RowError
from shared.jobs import Job, JobStatus
from shared.signature import Dtype, OutputColumn, OutputKind
from tests.factories import make_spec

JOB = Job(
    id="job_1",
    spec=make_spec(),
    status=JobStatus.SUCCEEDED,
    total=1,
    succeeded=1,
    failed=0,
    chunks_total=1,
    chunks_done=1,
    created_at_ms=0,
    expires_at_ms=0,
    read_at_ms=0,
)


def error(column: str, message: str) -> RowError:
    return RowError(row=1, line=2, column=column, code="not_a_number", message=message)


def outcome(*errors: RowError, **values: str) -> Outcome:
    columns = (OutputColumn(name=name, dtype=Dtype.STRING) for name in values)
    pairs = zip(columns, values.values(), strict=True)
    return Outcome(job=JOB, values=tuple(pairs), errors=errors)


def test_errors_go_to_their_fields_and_others_beside_the_form() -> None:
    outcomes = {OutputKind.PREDICT: outcome(error("age", "No number."), error("", "Too hot."))}

    prediction = Prediction.of(outcomes, {"age": "old"})

    assert field_errors(outcomes) == {"age": "No number."}
    assert prediction.is_refused
    assert prediction.messages == ("Too hot.",)
    assert not prediction.values


def test_contributions_are_bars_to_both_sides_longest_first() -> None:
    explained = outcome(prediction="7", base_value="9", contribution_a="1", contribution_b="-4")

    prediction = Prediction.of(
        {OutputKind.PREDICT: outcome(prediction="7"), OutputKind.CONTRIBUTIONS: explained},
        {"a": "0.123456789012", "b": "x"},
    )

    parts = prediction.contributions
    assert parts is not None
    assert (parts.base_value, parts.sum) == (9, 7)
    assert [(bar.label, bar.text, bar.start, bar.width, bar.note) for bar in parts.bars.shown] == [
        ("b", "−4.000", 0, 50, "x"),
        ("a", "+1.000", 50, 12.5, "0.123456789012"),
    ]


def test_contributions_of_nothing_at_all_are_no_bars() -> None:
    explained = outcome(prediction="9", base_value="9", contribution_a="0")

    prediction = Prediction.of({OutputKind.CONTRIBUTIONS: explained}, {"a": "1"})

    assert prediction.contributions is not None
    assert prediction.contributions.bars.shown[0].width == 0


def test_probabilities_are_bars_of_a_whole() -> None:
    likely = outcome(proba_go="0.25", proba_stay="0.75")

    prediction = Prediction.of(
        {OutputKind.PREDICT: outcome(prediction="stay"), OutputKind.PREDICT_PROBA: likely}, {}
    )

    bars = prediction.probabilities
    assert bars is not None
    assert [(b.label, b.text, b.width) for b in bars.shown] == [
        ("stay", "75.0 %", 75),
        ("go", "25.0 %", 25),
    ]


def test_an_explanation_that_failed_leaves_the_prediction() -> None:
    failed = Outcome(job=JOB, failure="shap is not installed")

    prediction = Prediction.of(
        {OutputKind.PREDICT: outcome(prediction="7"), OutputKind.CONTRIBUTIONS: failed}, {}
    )

    assert not prediction.is_refused
    assert prediction.contributions is None
    assert prediction.values[0].shown == "7"


def test_a_job_that_failed_says_why() -> None:
    failed = Outcome(job=JOB, failure="The model could not be loaded.")

    prediction = Prediction.of({OutputKind.PREDICT: failed}, {"age": "1"})

    assert prediction.is_refused
    assert prediction.messages == ("The model could not be loaded.",)


def test_the_longest_bars_are_shown_and_the_others_counted() -> None:
    bars = Bars.of(
        Bar(label=str(n), value=n, text="", start=0, width=0) for n in range(SHOWN_BARS + 3)
    )

    assert bars.shown[0].label == str(SHOWN_BARS + 2)
    assert len(bars.shown) == SHOWN_BARS
    assert bars.omitted == 3
