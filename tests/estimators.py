"""Estimators with known behaviour, importable by worker processes."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin


class Echo(RegressorMixin, BaseEstimator):
    """Predicts ten times `x`, taking `seconds_per_row` for each row."""

    def __init__(self, seconds_per_row: float = 0.0) -> None:
        self.seconds_per_row = seconds_per_row

    def fit(self, X: pd.DataFrame, y: object = None) -> "Echo":  # noqa: ARG002
        self.feature_names_in_ = np.asarray(X.columns)
        self.n_features_in_ = len(X.columns)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if self.seconds_per_row and len(X) > 1:
            time.sleep(self.seconds_per_row * len(X))
        return X["x"].to_numpy(dtype=float) * 10


class Fussy(Echo):
    """Like Echo, but raises on any batch with a value below zero."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if (X["x"] < 0).any():
            raise ValueError("a value is below zero")
        return super().predict(X)


class Reluctant(Fussy):
    """Like Fussy, but takes a while to think about each batch."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        time.sleep(0.05)
        return super().predict(X)


class Describing(Echo):
    """Predicts a text and a number for each row."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        texts = [f"a {text}" for text in X.iloc[:, 0]]
        return np.array([[text, len(text) / 10] for text in texts], dtype=object)


class Ratio(TransformerMixin, BaseEstimator):
    """As in many notebooks: takes a table and remembers nothing of it."""

    def fit(self, X: pd.DataFrame, y: object = None) -> "Ratio":  # noqa: ARG002
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(ratio=X["a"] / (1 + X["b"]))


class Notes(Ratio):
    """Takes a column of texts out of a table."""

    def transform(self, X: pd.DataFrame) -> pd.Series:
        return X["note"]


class Deadly(Echo):
    """Like Echo, but kills its process when `x` is 666, the first time if a `marker` is given."""

    def __init__(self, marker: str = "") -> None:
        super().__init__()
        self.marker = marker

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if (X["x"] == 666).any() and not (self.marker and Path(self.marker).exists()):
            if self.marker:
                Path(self.marker).touch()
            os.abort()
        return super().predict(X)


class Greedy(Echo):
    """Like Echo, but has no memory for a batch in which `x` is 666."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if (X["x"] == 666).any():
            raise MemoryError
        return super().predict(X)


class Stuck(Echo):
    """Like Echo, but never comes back from a batch in which `x` is 777."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if (X["x"] == 777).any():
            time.sleep(3600)
        return super().predict(X)


class Local(Echo):
    """Like Echo, but not on a machine that lacks what it needs."""

    LACKING = "LACKS_WHAT_LOCAL_NEEDS"

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if os.environ.get(self.LACKING):
            raise RuntimeError("this machine lacks what the model needs")
        return super().predict(X)


class Chaotic(Echo):
    """Like Echo, but raises on a value below zero, kills its process on 666, hangs on 777."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        if (X["x"] == 666).any():
            os.abort()
        if (X["x"] == 777).any():
            time.sleep(3600)
        if (X["x"] < 0).any():
            raise ValueError("a value is below zero")
        return super().predict(X)
