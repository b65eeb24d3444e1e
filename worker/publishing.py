"""Puts a fitted estimator into the model repository with a signature learned from a sample."""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import skops.io

from shared.errors import PublishError, quoted
from shared.manifest import Artifact, ArtifactFormat, Manifest
from shared.model_repository import ModelRepository
from shared.settings import Settings
from shared.signature import Dtype, Feature, OutputColumn, OutputKind, Signature

LIBRARIES = ("scikit-learn", "numpy", "pandas", "scipy", "skops", "joblib")

MAX_CATEGORIES = 1000
"""A text column with more different values is free text, not a category."""

TRUSTED_PACKAGES = frozenset({"numpy", "scipy", "sklearn"})
"""Packages whose types a publisher vouches for without naming them. skops leaves some out (a
tree's nodes are read without bounds checks, so a forged file could crash its reader), but this
file was written here, and its checksum goes into the manifest."""

PROBE_CATEGORY = "value-never-seen-in-training"


def publish(
    estimator: Any,
    *,
    name: str,
    sample: pd.DataFrame,
    repository: Path | None = None,
    description: str = "",
    metrics: Mapping[str, float] | None = None,
    artifact_format: ArtifactFormat = ArtifactFormat.SKOPS,
    trusted_types: Sequence[str] = (),
    output_names: Sequence[str] = (),
) -> Manifest:
    """Write a new version of model `name` and return its manifest. Atomic.

    `sample`: n rows as the model was trained on, best all of them: names, types, bounds and
    categories are learned from it, and it is scored once, so that nothing is published that can't
    predict. Whether a feature takes missing or unseen values is tried on its first row.
    `repository`: without it the one of the settings, `ROWMILL_MODELS_DIR` or `models` in the
    current directory, which must be there: a model put anywhere else would never be served.
    `trusted_types` names classes in a skops artifact that are not scikit-learn's own, numpy's or
    scipy's. `output_names` names the columns of a multi-output `predict`. Raises PublishError.
    """
    signature = learn_signature(estimator, sample, output_names=output_names)

    def describe(version_: str, artifact: Artifact) -> Manifest:
        return Manifest(
            name=name,
            version=version_,
            description=description,
            created_at=datetime.now(UTC),
            artifact=artifact,
            signature=signature,
            metrics=dict(metrics or {}),
            libraries={"python": platform.python_version()}
            | {library: version(library) for library in LIBRARIES},
        )

    return ModelRepository(repository or _own_repository()).publish(
        name,
        lambda path: _write(estimator, path, artifact_format, trusted=trusted_types),
        artifact_format=artifact_format,
        describe=describe,
    )


def _own_repository() -> Path:
    """The model repository that the workers of these settings serve."""
    path = Settings().models_dir
    if not path.is_dir():
        raise PublishError(
            f"There is no model repository at {path.absolute()}; run this from the root of the "
            "project, set ROWMILL_MODELS_DIR or pass repository=."
        )
    return path


def _write(
    estimator: Any, path: Path, artifact_format: ArtifactFormat, *, trusted: Sequence[str]
) -> tuple[str, ...]:
    """Write the artifact; returns the types in it that its opener has to trust, by name."""
    if artifact_format is ArtifactFormat.JOBLIB:
        joblib.dump(estimator, path)
        return ()
    skops.io.dump(estimator, path)
    held = sorted(skops.io.get_untrusted_types(file=path))
    unknown = [t for t in held if t not in trusted and t.split(".")[0] not in TRUSTED_PACKAGES]
    if unknown:
        raise PublishError(
            f"The model holds types of other packages: {', '.join(unknown)}. "
            "If you trust them, name them in trusted_types."
        )
    return tuple(held)


def learn_signature(
    estimator: Any, sample: pd.DataFrame, *, output_names: Sequence[str] = ()
) -> Signature:
    """The signature of a fitted estimator. Raises PublishError if it can't score the sample."""
    sample = pd.DataFrame(sample).rename(columns=str)
    if sample.empty:
        raise PublishError("The sample is empty; give the rows the model was trained on.")
    if not sample.columns.is_unique:
        raise PublishError("Two columns of the sample have the same name; rename one.")
    takes_names = hasattr(estimator, "feature_names_in_")

    def call(output: OutputKind, rows: pd.DataFrame) -> Any:
        return np.asarray(getattr(estimator, output)(rows if takes_names else rows.to_numpy()))

    def accepts(rows: pd.DataFrame, output: OutputKind = OutputKind.PREDICT) -> bool:
        try:
            call(output, rows)
        except Exception:  # noqa: BLE001 – an estimator may refuse with anything
            return False
        return True

    try:
        predictions = call(OutputKind.PREDICT, sample)
    except Exception as error:  # and here, too
        raise PublishError(f"The model can't score its sample: {error}") from error
    outputs = {OutputKind.PREDICT: _prediction_columns(predictions, output_names)}
    labels = _labels(estimator)
    if labels and accepts(sample.iloc[:1], OutputKind.PREDICT_PROBA):
        outputs[OutputKind.PREDICT_PROBA] = tuple(
            OutputColumn(name=f"proba_{label}", dtype=Dtype.FLOAT) for label in labels
        )
    features = tuple(_feature(sample, column, accepts) for column in sample.columns)
    return Signature(features=features, outputs=outputs)


def _labels(estimator: Any) -> list[Any]:
    """A classifier's labels; none if it has several targets and so a list of them for each."""
    labels = list(getattr(estimator, "classes_", ()))
    return labels if all(np.ndim(label) == 0 for label in labels) else []


def _prediction_columns(predictions: Any, names: Sequence[str]) -> tuple[OutputColumn, ...]:
    """One column, or one per output, with the type of the predicted values."""
    width = 1 if predictions.ndim == 1 else predictions.shape[1]
    if not names:
        names = ["prediction"] if width == 1 else [f"prediction_{i + 1}" for i in range(width)]
    if len(names) != width:
        raise PublishError(f"There are {len(names)} output names for {width} outputs.")
    if len({*names, "row", "error"}) < width + 2:
        raise PublishError("Output names must differ from each other and from 'row' and 'error'.")
    dtype = _dtype(pd.Series(np.ravel(predictions)).infer_objects())
    return tuple(OutputColumn(name=name, dtype=dtype) for name in names)


def _dtype(values: "pd.Series[Any]") -> Dtype:
    if pd.api.types.is_bool_dtype(values):
        return Dtype.BOOL
    if pd.api.types.is_integer_dtype(values):
        return Dtype.INT
    if pd.api.types.is_float_dtype(values):
        return Dtype.FLOAT
    return Dtype.STRING


def _feature(sample: pd.DataFrame, column: str, accepts: Any) -> Feature:
    """What the sample shows of one column, and what the model makes of odd values in it."""
    known = sample[column].dropna().infer_objects()
    if known.empty:
        raise PublishError(f"Column {quoted(column)} of the sample is empty; give it some values.")
    dtype = _dtype(known)
    row = sample.iloc[[0]]
    nullable = accepts(_with_value(row, column, np.nan, dtype))
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
    return Feature(
        name=column,
        dtype=dtype,
        nullable=nullable,
        categories=tuple(categories) if len(categories) <= MAX_CATEGORIES else None,
        accepts_unseen=accepts(_with_value(row, column, PROBE_CATEGORY, dtype)),
        example=str(example),
    )


def _with_value(row: pd.DataFrame, column: str, value: Any, dtype: Dtype) -> pd.DataFrame:
    """One row with another value in one column, typed as reading a CSV would type it."""
    as_read = {Dtype.STRING: "str", Dtype.BOOL: "object"}.get(dtype, "float64")
    return row.assign(**{column: pd.Series([value], index=row.index, dtype=as_read)})
