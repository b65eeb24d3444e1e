"""Learns from a sample what new input will be compared with."""

from typing import Any

import numpy as np
import pandas as pd

from shared.signature import Dtype, Feature, OutputKind, Signature
from shared.statistics import FeatureStatistics, PredictionStatistics, TrainingStatistics
from worker import outputs
from worker.cells import NUMERIC
from worker.inputs import form_for

DECILES = np.linspace(0, 1, 11)

MAX_COUNTED_CATEGORIES = 100
"""Shares of the most frequent values are kept; of the others it is known that they were seen."""


PERCENTILES = np.linspace(0, 1, 51)
"""Of predictions every second one: fine enough to be drawn in any bins."""

MAX_SCORED_ROWS = 2_000
"""Rows of the sample that are scored once more: enough for a picture of the predictions, and a part
of the time that publishing takes anyway."""

MAX_PREDICTIONS = 10
"""Columns of predictions that are kept. Who has more of them reads no picture of each."""

MAX_CLASSES = 20
"""More different whole numbers than this are amounts and no classes."""


def learn_statistics(sample: pd.DataFrame, signature: Signature) -> TrainingStatistics:
    """Statistics of the signature's features in `sample`, n rows with a column for each."""
    table = pd.DataFrame(sample).rename(columns=str)
    return TrainingStatistics(
        rows=len(table),
        features=tuple(_statistics(table[f.name], f) for f in signature.features),
    )


def _statistics(column: "pd.Series[Any]", feature: Feature) -> FeatureStatistics:
    known = column.dropna()
    missing = 1 - len(known) / len(column)
    if feature.dtype in NUMERIC:
        values = known.to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            return FeatureStatistics(missing=missing)
        quantiles = np.quantile(values, DECILES)
        edges = np.unique(quantiles[1:-1])
        counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
        return FeatureStatistics(
            missing=missing,
            mean=float(values.mean()),
            quantiles=tuple(quantiles.tolist()),
            shares=tuple((counts / len(values)).tolist()),
        )
    if feature.dtype is Dtype.STRING and feature.categories is None:
        return FeatureStatistics(missing=missing)
    texts = known.map(str) if feature.dtype is Dtype.STRING else known.map(str).str.lower()
    shares = texts.value_counts(normalize=True).head(MAX_COUNTED_CATEGORIES)
    categories = {str(text): float(share) for text, share in shares.items()}
    return FeatureStatistics(missing=missing, categories=categories)


def learn_predictions(
    estimator: Any, sample: pd.DataFrame, signature: Signature
) -> tuple[PredictionStatistics, ...]:
    """Statistics of what the estimator's `predict` makes of evenly spread rows of the sample."""
    columns = signature.outputs.get(OutputKind.PREDICT, ())[:MAX_PREDICTIONS]
    if not columns:
        return ()
    table = pd.DataFrame(sample).rename(columns=str)[list(signature.feature_names)]
    rows = table.iloc[:: -(-len(table) // MAX_SCORED_ROWS)]
    values = outputs.call(estimator, OutputKind.PREDICT, form_for(estimator)(rows))
    by_column = values.reshape(len(rows), -1).T
    return tuple(
        _prediction(pd.Series(found).infer_objects(), column.dtype)
        for found, column in zip(by_column, columns, strict=False)
    )


def _prediction(values: "pd.Series[Any]", dtype: Dtype) -> PredictionStatistics:
    known = values.dropna()
    if dtype is Dtype.FLOAT or (dtype is Dtype.INT and known.nunique() > MAX_CLASSES):
        numbers = known.to_numpy(dtype=np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return PredictionStatistics()
        quantiles = np.quantile(numbers, PERCENTILES)
        return PredictionStatistics(quantiles=tuple(map(_rounded, quantiles.tolist())))
    texts = known.map(str).str.lower() if dtype is Dtype.BOOL else known.map(str)
    shares = texts.value_counts(normalize=True).head(MAX_COUNTED_CATEGORIES)
    return PredictionStatistics(
        categories={str(text): _rounded(share) for text, share in shares.items()}
    )


def _rounded(number: float) -> float:
    """To digits that are the same wherever and with however many threads the model is asked, so
    that publishing it again makes no new version."""
    return float(f"{number:.6g}")
