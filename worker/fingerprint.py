"""Tells whether two estimators are the same, whatever the bytes of their files."""

import pickle
from typing import Any

import numpy as np
from joblib.hashing import NumpyHasher

from shared.errors import PublishError


class _Hasher(NumpyHasher):  # type: ignore[misc]  # joblib has no types
    """joblib's, which can't look at masked arrays; a search for parameters keeps its results in
    such."""

    def save(self, obj: Any) -> None:
        if isinstance(obj, np.ma.MaskedArray):
            obj = ("masked", obj.filled(), np.ma.getmaskarray(obj))
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
