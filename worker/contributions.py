"""What each feature adds to a prediction: Shapley values of trees and linear models.

By Lundberg and others, https://arxiv.org/abs/1905.04610, as the package `shap` computes them. It is
imported when something is to be explained and not before: it takes most of a second, and it is
an extra that may be missing.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from shared.errors import ModelLoadError
from shared.manifest import Manifest
from shared.signature import Dtype, OutputColumn, Signature
from worker.explainable import Explainable, Floats, explainable
from worker.inputs import form_for
from worker.reasons import first_line

logger = logging.getLogger(__name__)

TOLERANCE = 1e-6
"""How far a row's sum may be from its prediction, as a share of all that is added up."""

MAX_TRIED_ROWS = 300
TRIED_AT_ONCE = 10
MAX_TRIAL_SECONDS = 2.0
"""Publishing should not last minutes: a large forest takes tens of milliseconds for a row."""

BLOCK_VALUES = 4_000_000
"""How many values that a step gave as a sparse matrix are spread out at a time."""


def contribution_columns(signature: Signature) -> tuple[OutputColumn, ...]:
    """The prediction, the value that contributions are counted from, and one of each feature."""
    names = ["prediction", "base_value"]
    names += [f"contribution_{name}" for name in signature.feature_names]
    return tuple(OutputColumn(name=name, dtype=Dtype.FLOAT) for name in names)


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """Takes predictions of a model apart. Not safe to share by threads, as models are not."""

    of: Explainable
    features: int
    base_value: float
    values: Callable[[Floats], Floats]
    """What each column adds, of what the final estimator gets."""

    def explain(self, X: Any) -> Floats:
        """For each row of X its prediction, the base value and a contribution of each feature.

        Raises what the model raises, and ValueError if base value and contributions of a row don't
        add up to its prediction.
        """
        made = self.of.made(X)
        explained = np.zeros((made.shape[0], 2 + self.features))
        explained[:, 0] = self.of.scores(made)
        explained[:, 1] = self.base_value
        for rows, block in _blocks(made):
            values = self.values(block)
            for column, origin in enumerate(self.of.origins):
                explained[rows, 2 + origin] += values[:, column]
        _check_sums(explained)
        return explained


def _blocks(made: Any) -> Iterator[tuple[slice, Floats]]:
    """Rows at a time, and their values."""
    if not issparse(made):
        yield slice(None), np.asarray(made, dtype=np.float64)
        return
    count, width = made.shape
    step = max(1, BLOCK_VALUES // max(1, width))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        yield rows, np.asarray(made[rows].toarray(), dtype=np.float64)


def _check_sums(explained: Floats) -> None:
    predicted, sums = explained[:, 0], explained[:, 1:].sum(axis=1)
    is_sound = np.abs(sums - predicted) <= TOLERANCE * np.abs(explained).sum(axis=1)
    if not is_sound.all():
        at = np.flatnonzero(~is_sound)[0]
        raise ValueError(f"contributions add up to {sums[at]:.9g} and not to {predicted[at]:.9g}")


def explainer_for(
    model: Explainable, signature: Signature, *, background: Sequence[float] = ()
) -> Explainer:
    """Raises ImportError where shap is not installed, or what shap raises."""
    import shap

    if model.is_linear:
        explainer = shap.LinearExplainer(model.final, np.array([background]))
        values = explainer.shap_values
    else:
        explainer = shap.TreeExplainer(model.final)

        def values(X: Floats) -> Floats:
            found: Floats = explainer.shap_values(X, check_additivity=False)
            # Where a tree holds the shares of two classes, of the second one.
            return found if found.ndim == 2 else found[:, :, 1]

    return Explainer(
        of=model,
        features=len(signature.features),
        base_value=float(np.ravel(explainer.expected_value)[-1]),
        values=values,
    )


def learn_contributions(
    estimator: Any, sample: pd.DataFrame, signature: Signature
) -> tuple[float, ...] | None:
    """The background of a model whose predictions on the sample can be explained; else None.

    Never raises: a model is published without contributions rather than not at all.
    """
    table = pd.DataFrame(sample).rename(columns=str)[list(signature.feature_names)]
    try:
        model = explainable(estimator, signature)
        if model is None:
            return None
        background = model.means(form_for(estimator)(table)) if model.is_linear else ()
        explainer = explainer_for(model, signature, background=background)
        _try_out(explainer, estimator, table)
    except Exception as error:  # noqa: BLE001 – models and shap may raise anything
        logger.info("contributions not offered", extra={"reason": first_line(error)})
        return None
    return background


def _try_out(explainer: Explainer, estimator: Any, table: pd.DataFrame) -> None:
    """Explain rows from all over the table. Raises what explaining them raises."""
    tried = table.iloc[np.unique(np.linspace(0, len(table) - 1, MAX_TRIED_ROWS, dtype=np.int64))]
    ends_at = time.monotonic() + MAX_TRIAL_SECONDS
    parts = max(1, len(tried) // TRIED_AT_ONCE)
    form = form_for(estimator)
    for first in range(parts):
        explainer.explain(form(tried.iloc[first::parts]))
        if time.monotonic() > ends_at:
            break


def load_explainer(estimator: Any, manifest: Manifest) -> Explainer:
    """The explainer of a model version that offers contributions. Raises ModelLoadError."""
    model = manifest.version_id
    background = manifest.statistics.background if manifest.statistics else ()
    try:
        found = explainable(estimator, manifest.signature)
        if found is not None:
            return explainer_for(found, manifest.signature, background=background)
    except ImportError as error:
        raise ModelLoadError(
            f"'{model}' can't be explained by a worker without the package shap; install the extra "
            "'explain' there."
        ) from error
    except Exception as error:  # models and shap may raise anything
        raise ModelLoadError(f"'{model}' can't be explained: {first_line(error)}") from error
    raise ModelLoadError(f"'{model}' can't be explained by this version; publish it again.")
