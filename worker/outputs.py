"""Calls an estimator for one kind of output, whatever shape it gives it."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from shared.signature import OutputKind


def call(estimator: Any, output: OutputKind, X: Any) -> npt.NDArray[Any]:
    """n values, or n rows with a column for each value of a row.

    Classifiers of several targets give a list of arrays of probabilities, one for each target, and
    transformers may give a sparse matrix. Raises whatever the estimator raises.
    """
    values = getattr(estimator, output)(X)
    if isinstance(values, list):
        return np.hstack(values) if np.ndim(values[0]) == 2 else np.asarray(values)
    return np.asarray(values.toarray() if issparse(values) else values)
