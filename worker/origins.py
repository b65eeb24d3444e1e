"""Which input feature each column comes from that the steps of a pipeline make."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

ONE_TO_ONE = frozenset(
    {
        MaxAbsScaler,
        MinMaxScaler,
        OrdinalEncoder,
        PowerTransformer,
        QuantileTransformer,
        RobustScaler,
        StandardScaler,
    }
)
"""These make one column of each, from its values alone. A subclass may do anything."""


def steps_of(estimator: Any) -> list[Any]:
    """The steps that do something, of nested pipelines, too; an estimator is the only one of its
    own."""
    if type(estimator) is not Pipeline:
        return [] if estimator in (None, "passthrough") else [estimator]
    return [inner for _, step in estimator.steps for inner in steps_of(step)]


def origins_of(step: Any, given: Sequence[int]) -> list[int] | None:
    """For each column that a fitted step makes, the number of the one feature it is made of.

    `given`: the same for the columns that the step gets. None where it is not certain.
    """
    kind = type(step)
    if kind in ONE_TO_ONE or _is_identity(step):
        return list(given)
    if kind is SimpleImputer:
        return _of_imputer(step, given)
    if kind is OneHotEncoder:
        widths = _widths(step)
        return [origin for origin, n in zip(given, widths, strict=True) for _ in range(n)]
    if kind is ColumnTransformer:
        return _of_columns(step, given)
    return _of_steps(steps_of(step), given) if kind is Pipeline else None


def _is_identity(step: Any) -> bool:
    """Whether it is what a ColumnTransformer has in place of `passthrough` once it is fitted."""
    return type(step) is FunctionTransformer and step.func is None


def _of_imputer(imputer: Any, given: Sequence[int]) -> list[int] | None:
    """Columns that were empty in training may be left out, and indicators put behind the others."""
    keeps_all = len(imputer.get_feature_names_out()) == len(given)
    return list(given) if keeps_all and not imputer.add_indicator else None


def _widths(encoder: Any) -> list[int]:
    """How many columns each feature is spread over."""
    widths = [len(categories) for categories in encoder.categories_]
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(widths)
    # Rare categories share a column.
    widths = [n if r is None else n - len(r) + 1 for n, r in zip(widths, rare, strict=True)]
    dropped = [None] * len(widths) if encoder.drop_idx_ is None else encoder.drop_idx_
    return [n - (index is not None) for n, index in zip(widths, dropped, strict=True)]


def _of_columns(transformer: Any, given: Sequence[int]) -> list[int] | None:
    names = getattr(transformer, "feature_names_in_", range(len(given)))
    made: list[int] = []
    for name, part, columns in transformer.transformers_:
        where = transformer.output_indices_[name]
        if where.start == where.stop:  # dropped, or without any column
            continue
        found = origins_of(part, [given[i] for i in _positions(columns, names)])
        if found is None or len(found) != where.stop - where.start:
            return None
        made += found
    return made


def _positions(columns: Any, names: Sequence[Any]) -> list[int]:
    """Of columns as a ColumnTransformer is told them: names, numbers, a mask or a slice."""
    numbers = pd.Series(np.arange(len(names)), index=list(names))
    edges = (columns.start, columns.stop) if isinstance(columns, slice) else np.ravel(columns)
    at = numbers.loc if any(isinstance(edge, str) for edge in edges) else numbers.iloc
    return [int(position) for position in np.ravel(at[columns])]


def _of_steps(steps: Sequence[Any], given: Sequence[int]) -> list[int] | None:
    origins: list[int] | None = list(given)
    for step in steps:
        if origins is None:
            return None
        origins = origins_of(step, origins)
    return origins


def origins_of_final(
    before: Sequence[Any], final: Any, feature_names: Sequence[str]
) -> list[int] | None:
    """For each column that a final estimator gets, the number of the feature it is made of.

    `before`: the steps before it. None where it is not certain.
    """
    first = next(iter(before), final)
    # A step may choose columns by name: their order is that of its training.
    names = getattr(first, "feature_names_in_", feature_names)
    origins = _of_steps(before, [list(feature_names).index(name) for name in names])
    is_whole = origins is not None and len(origins) == final.n_features_in_
    return origins if is_whole else None
