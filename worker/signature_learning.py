"""Learns a signature from a fitted estimator and a sample: by looking, and by trying."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.errors import PublishError, quoted
from shared.signature import Dtype, Feature, OutputColumn, OutputKind, Signature
from worker import outputs
from worker.inputs import as_table, form_for

MAX_CATEGORIES = 1000
"""A text column with more different values is free text, not a category."""

PROBE_CATEGORY = "value-never-seen-in-training"

RESULT_COLUMNS = frozenset({"row", "error"})
"""Names that every result has and no output may have."""

OFFERED = (
    OutputKind.PREDICT,
    OutputKind.PREDICT_PROBA,
    OutputKind.DECISION_FUNCTION,
    OutputKind.TRANSFORM,
)
"""What estimators have methods for; the first that one has is what it is asked for by default."""


def learn_signature(
    estimator: Any, sample: pd.DataFrame, *, output_names: Sequence[str] = ()
) -> Signature:
    """The signature of a fitted estimator. Raises PublishError if it can't score the sample.

    `output_names` names the columns of `predict`, or of `transform` where there is no `predict`.
    """
    sample = pd.DataFrame(sample).rename(columns=str)
    if sample.empty:
        raise PublishError("The sample is empty; give the rows the model was trained on.")
    if not sample.columns.is_unique:
        raise PublishError("Two columns of the sample have the same name; rename one.")
    trial = _Trial(estimator)
    outputs_ = dict(_outputs(trial, sample, output_names))
    main = next(iter(outputs_))
    features = tuple(_feature(sample, column, trial, main) for column in sample.columns)
    return Signature(features=features, outputs=outputs_)


class _Trial:
    """Calls an estimator as the workers will."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self._form = form_for(estimator)

    def call(self, output: OutputKind, rows: pd.DataFrame) -> npt.NDArray[Any]:
        """Raises what the estimator raises; ValueError where the workers could not use it."""
        values = outputs.call(self.estimator, output, self._form(rows))
        if values.ndim not in (1, 2) or len(values) != len(rows) or not values.size:
            raise ValueError(f"{output} gives shape {values.shape} for {len(rows)} rows")
        return values

    def attempt(self, output: OutputKind, rows: pd.DataFrame) -> npt.NDArray[Any] | None:
        """None if the estimator does not take the rows."""
        try:
            return self.call(output, rows)
        except Exception:  # noqa: BLE001 – an estimator may refuse with anything
            return None

    def accepts(self, rows: pd.DataFrame, output: OutputKind) -> bool:
        return self.attempt(output, rows) is not None

    def reason(self, error: Exception) -> str:
        """Why the sample can't be scored, and what may be wrong with it."""
        said = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}."
        if self._form is as_table:
            return said
        return (
            f"{said} The model knows no names of columns: the sample must hold what it was fitted "
            "on and nothing else, in the same order."
        )


def _outputs(
    trial: _Trial, sample: pd.DataFrame, names: Sequence[str]
) -> Iterator[tuple[OutputKind, tuple[OutputColumn, ...]]]:
    """What the estimator can be asked for. The first kind must score the sample."""
    offered = [output for output in OFFERED if hasattr(trial.estimator, output)]
    if not offered:
        raise PublishError(
            f"{type(trial.estimator).__name__} has neither predict nor transform, so it can't "
            f"score rows that it was not fitted on.{_missing_reason(trial.estimator)}"
        )
    main = offered[0]
    try:
        values = trial.call(main, sample)
    except Exception as error:  # and here, too
        raise PublishError(f"The model can't score its sample. {trial.reason(error)}") from error
    main_names = names or _names(trial.estimator, main, _width(values))
    yield main, _columns(values, main_names)
    for output in offered[1:]:
        further = trial.attempt(output, sample)
        if further is not None:
            found = _names(trial.estimator, output, _width(further), targets=main_names)
            yield output, _columns(further, found)


def _missing_reason(estimator: Any) -> str:
    """What scikit-learn says where an estimator has `predict` in other settings alone."""
    try:
        estimator.predict  # noqa: B018
    except AttributeError as error:
        return f" {str(error.__cause__).rstrip('.')}." if error.__cause__ else ""
    return ""


def _width(values: npt.NDArray[Any]) -> int:
    return 1 if values.ndim == 1 else values.shape[1]


def _names(
    estimator: Any, output: OutputKind, width: int, *, targets: Sequence[str] = ()
) -> list[str]:
    """Names of the columns of an output. `targets`: those of `predict`."""
    known = getattr(estimator, "classes_", None)  # of a TargetEncoder it may be None
    labels = [] if known is None else list(known)
    has_targets = any(np.ndim(label) for label in labels)
    stem = {
        OutputKind.PREDICT: "prediction",
        OutputKind.PREDICT_PROBA: "proba",
        OutputKind.DECISION_FUNCTION: "decision",
    }.get(output, str(output))
    if output is OutputKind.TRANSFORM:
        found = _names_out(estimator)
    elif output is OutputKind.PREDICT:
        found = []
    elif has_targets:
        pairs = zip(targets, labels, strict=False)
        found = [f"{stem}_{target}_{label}" for target, own in pairs for label in own]
    else:
        found = [f"{stem}_{label}" for label in labels]
    if len(found) == width and len({*found, *RESULT_COLUMNS}) == width + len(RESULT_COLUMNS):
        return found
    return [stem] if width == 1 else [f"{stem}_{i + 1}" for i in range(width)]


def _names_out(estimator: Any) -> list[str]:
    """What a transformer calls its columns; none where it does not know."""
    try:
        return [str(name) for name in estimator.get_feature_names_out()]
    except Exception:  # noqa: BLE001 – some have no such method, others can't answer
        return []


def _columns(values: npt.NDArray[Any], names: Sequence[str]) -> tuple[OutputColumn, ...]:
    """A column for each value of a row, with the type of its values."""
    width = _width(values)
    if len(names) != width:
        raise PublishError(f"There are {len(names)} output names for {width} outputs.")
    if len({*names, *RESULT_COLUMNS}) < width + len(RESULT_COLUMNS):
        raise PublishError("Output names must differ from each other and from 'row' and 'error'.")
    arrays = values.reshape(len(values), width).T
    dtypes = [_dtype(pd.Series(array).infer_objects()) for array in arrays]
    return tuple(
        OutputColumn(name=name, dtype=dtype) for name, dtype in zip(names, dtypes, strict=True)
    )


def _dtype(values: "pd.Series[Any]") -> Dtype:
    if pd.api.types.is_bool_dtype(values):
        return Dtype.BOOL
    if pd.api.types.is_integer_dtype(values):
        return Dtype.INT
    if pd.api.types.is_float_dtype(values):
        return Dtype.FLOAT
    return Dtype.STRING


def _feature(sample: pd.DataFrame, column: str, trial: _Trial, output: OutputKind) -> Feature:
    """What the sample shows of one column, and what the model makes of odd values in it."""
    known = sample[column].dropna().infer_objects()
    if known.empty:
        raise PublishError(f"Column {quoted(column)} of the sample is empty; give it some values.")
    dtype = _dtype(known)
    row = sample.iloc[[0]]
    nullable = trial.accepts(_with_value(row, column, np.nan, dtype), output)
    example = known.iloc[0].item() if hasattr(known.iloc[0], "item") else known.iloc[0]
    if dtype in (Dtype.FLOAT, Dtype.INT):
        return Feature(
            name=column,
            dtype=dtype,
            nullable=nullable,
            minimum=float(known.min()),
            maximum=float(known.max()),
            example=example,
        )
    if dtype is Dtype.BOOL:
        return Feature(name=column, dtype=dtype, nullable=nullable, example=example)
    categories = sorted(map(str, known.unique()))
    unseen = _with_value(row, column, PROBE_CATEGORY, dtype)
    return Feature(
        name=column,
        dtype=dtype,
        nullable=nullable,
        categories=tuple(categories) if len(categories) <= MAX_CATEGORIES else None,
        accepts_unseen=trial.accepts(unseen, output),
        example=str(example),
    )


def _with_value(row: pd.DataFrame, column: str, value: Any, dtype: Dtype) -> pd.DataFrame:
    """One row with another value in one column, typed as reading a CSV would type it."""
    as_read = {Dtype.STRING: "str", Dtype.BOOL: "object"}.get(dtype, "float64")
    return row.assign(**{column: pd.Series([value], index=row.index, dtype=as_read)})
