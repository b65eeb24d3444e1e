"""Models that do nothing with the names of columns but compare them, freed of the comparison.

It takes more time than anything else that scikit-learn does for a few rows, and the table reader
has put the columns in order already.
"""

import copy
from typing import Any

from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from shared.signature import Dtype, Signature

ONLY_COMPARE_NAMES = frozenset(
    {
        ElasticNet,
        GradientBoostingClassifier,
        GradientBoostingRegressor,
        Lasso,
        LinearRegression,
        LogisticRegression,
        MaxAbsScaler,
        MinMaxScaler,
        RandomForestClassifier,
        RandomForestRegressor,
        Ridge,
        RobustScaler,
        StandardScaler,
    }
)
"""In scikit-learn 1.9 these hand what they are given to `sklearn.utils.validation.validate_data`
and go on with the array that it returns. Of a DataFrame of floats that is `numpy.asarray`, the
array that `to_numpy` gives; its columns are compared with `feature_names_in_`, and that is all.
Not so `SimpleImputer`, whose warnings show names, nor the histogram-based trees, which may choose
columns by name. A subclass may do anything."""


def without_names(estimator: Any, signature: Signature) -> Any:
    """What predicts the same from an array, or this estimator if it may need a DataFrame.

    The former is a copy without `feature_names_in_`, which is how an estimator looks that was
    fitted on an array, so it gives no warning about missing names. It shares all fitted values.

    Of a pipeline the first step alone gets the input. If another step knows names, the first was
    told to give out DataFrames (`set_output`) and needs its own.
    """
    first, *others = (
        [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    )
    if not (
        all(type(step) in ONLY_COMPARE_NAMES for step in (first, *others))
        and not any(hasattr(step, "feature_names_in_") for step in others)
        and all(feature.dtype is Dtype.FLOAT for feature in signature.features)
        and tuple(getattr(first, "feature_names_in_", ())) == signature.feature_names
    ):
        return estimator
    nameless = copy.copy(first)
    del nameless.feature_names_in_
    if not others:
        return nameless
    (name, _), *rest = estimator.steps
    return Pipeline([(name, nameless), *rest])
