"""From features to predictions; rows that the model refuses are found and set aside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.manifest import Manifest
from shared.signature import Dtype, OutputColumn, OutputKind
from worker import outputs
from worker.contributions import Explainer, load_explainer
from worker.feature_counter import FeatureCounter
from worker.footprint import footprint
from worker.inputs import form_for
from worker.nameless import without_names
from worker.reasons import first_line

# scikit-learn and pandas arrays come untyped: `Any` here is an ndarray.
Columns = list[Any]

_NUMPY_TYPES = {Dtype.FLOAT: "float64", Dtype.INT: "int64", Dtype.BOOL: "bool", Dtype.STRING: "str"}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A row the model raised an error on; `position` counts from 0 within the features given."""

    position: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One array per output column (none if no row was scored), and the rows they are for."""

    columns: Columns
    positions: npt.NDArray[np.int64]
    refusals: list[Refusal]


class Predictor:
    """A loaded model version. Not safe to share by threads: estimators are not."""

    def __init__(self, estimator: Any, manifest: Manifest, *, warning: str = "") -> None:
        self._estimator = without_names(estimator, manifest.signature)
        self._form = form_for(self._estimator)
        self.manifest = manifest
        self.warning = warning
        """What who gets its predictions should know; empty as a rule."""

    @cached_property
    def feature_counter(self) -> FeatureCounter:
        """Counts what rows show of the model's features."""
        return FeatureCounter(self.manifest.signature, self.manifest.statistics)

    def predict(
        self, features: pd.DataFrame, output: OutputKind, *, check: Callable[[], object] = bool
    ) -> Prediction:
        """Predictions for all rows of `features` that the model does not refuse.

        `features`: n rows, columns named and ordered by the signature. If the model raises, the
        rows are halved until the guilty ones are found: about 2·k·log2(n) calls for k of them.
        `check` is called between these steps; what it raises ends the search. Raises
        ModelLoadError if the model can't be explained here and is to be.
        """
        if output is OutputKind.CONTRIBUTIONS:
            _ = self._explainer  # not row by row: none could have one without it
        columns = self.manifest.signature.outputs[output]
        parts: list[tuple[int, Columns]] = []
        refusals: list[Refusal] = []
        pending = [(0, len(features))] if len(features) else []
        while pending:
            start, stop = pending.pop()
            check()
            try:
                rows = features if stop - start == len(features) else features.iloc[start:stop]
                parts.append((start, self._columns(rows, output, columns)))
            except Exception as error:  # noqa: BLE001 – an estimator may raise anything
                if stop - start == 1:
                    refusals.append(Refusal(position=start, message=first_line(error)))
                else:
                    middle = (start + stop) // 2
                    pending += [(middle, stop), (start, middle)]
        return _joined(parts, refusals, len(columns))

    def columns(self, features: pd.DataFrame, output: OutputKind) -> Columns:
        """Like `predict`, but for all rows or none: raises whatever the model raises."""
        return self._columns(features, output, self.manifest.signature.outputs[output])

    @property
    def memory_bytes(self) -> int:
        """About what it takes of the process, of which members of an ensemble have no part."""
        return footprint(self._estimator, self.manifest)

    @cached_property
    def _explainer(self) -> Explainer:
        """Made when it is first asked for: in the process that scores, never before it is forked,
        and only where it is needed. It takes seconds and memory for a large forest."""
        return load_explainer(self._estimator, self.manifest)

    def _columns(
        self, features: pd.DataFrame, output: OutputKind, columns: Sequence[OutputColumn]
    ) -> Columns:
        """One array per output column, in its dtype. Raises whatever the estimator raises."""
        # A model may write into what it gets, and the rows may be needed once more.
        X = self._form(features)
        if output is OutputKind.CONTRIBUTIONS:
            values = self._explainer.explain(X)
        else:
            values = outputs.call(self._estimator, output, X)
        if values.shape[0] != len(features) or values.size != len(features) * len(columns):
            raise ValueError(f"{output} gave shape {values.shape} for {len(features)} rows")
        arrays = values.reshape(len(features), len(columns)).T
        return [
            array.astype(_NUMPY_TYPES[column.dtype])
            for array, column in zip(arrays, columns, strict=True)
        ]


def _joined(parts: list[tuple[int, Columns]], refusals: list[Refusal], width: int) -> Prediction:
    """The parts, which are in the order of the rows, as one prediction."""
    if not parts:
        return Prediction(columns=[], positions=np.array([], dtype=np.int64), refusals=refusals)
    return Prediction(
        columns=[np.concatenate([columns[i] for _, columns in parts]) for i in range(width)],
        positions=np.concatenate([np.arange(at, at + len(columns[0])) for at, columns in parts]),
        refusals=refusals,
    )
