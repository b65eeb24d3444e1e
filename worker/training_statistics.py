"""Learns from a sample what new input will be compared with."""

from typing import Any

import numpy as np
import pandas as pd

from shared.signature import Dtype, Feature, Signature
from shared.statistics import FeatureStatistics, TrainingStatistics
from worker.cells import NUMERIC

DECILES = np.linspace(0, 1, 11)

MAX_COUNTED_CATEGORIES = 100
"""Shares of the most frequent values are kept; of the others it is known that they were seen."""


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
