"""Tells whether two estimators are the same, whatever the bytes of their files."""

import pickle
from typing import Any

import numpy as np
from joblib.hashing import NumpyHasher

from shared.errors import PublishError


class _Hasher(NumpyHasher):  # type: ignore[misc]  # joblib has no types
    """joblib's, but for two kinds of arrays.

    It can't look at masked ones, in which a search for parameters keeps its results. And it takes
    records as they lie in memory: between the fields of a tree's nodes there is whatever was there
    before, which differs from one load of the same file to the next.
    """

    def save(self, obj: Any) -> None:
        if isinstance(obj, np.ma.MaskedArray):
            obj = ("masked", obj.filled(), np.ma.getmaskarray(obj))
        elif isinstance(obj, np.ndarray) and obj.dtype.names:
            obj = ("records", [(name, obj[name].copy()) for name in obj.dtype.names])
        super().save(obj)


def fingerprint(estimator: Any) -> str:
    """The same for the same class, parameters and fitted values. Raises PublishError."""
    try:
        return str(_Hasher("md5").hash(estimator))
    except pickle.PicklingError as error:
        reason = str(error.args[0])
        raise PublishError(
            f"The model can't be written: {reason}. Functions and classes in it must be defined in "
            "a module that workers can import; a lambda is not."
        ) from error
