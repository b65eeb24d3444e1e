"""Predictions compared with those of scikit-learn in this process: a wrong one ends everything."""

import numpy as np
import numpy.typing as npt

from benchmarks.models import TOLERANCE, Model


class WrongResultError(Exception):
    """A contender's predictions are not the model's."""


def check(
    model: Model,
    found: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    *,
    whose: str,
) -> None:
    """Both are rows × columns. Raises WrongResultError; what differs within the model's own
    rounding is right."""
    if found.shape != expected.shape:
        raise WrongResultError(f"{whose}: {found.shape} predictions instead of {expected.shape}.")
    if model.is_exact:
        wrong = found != expected
    else:
        wrong = ~np.isclose(found, expected, rtol=TOLERANCE, atol=0)
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        raise WrongResultError(
            f"{whose}: {int(wrong.sum())} predictions of {model.name} are wrong, the first in row "
            f"{row + 1}: {found[row].tolist()} instead of {expected[row].tolist()}."
        )
