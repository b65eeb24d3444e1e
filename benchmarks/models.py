"""The three models, trained once with a fixed seed on rows like those that are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import cache, workloads
from worker.publishing import publish

TRAINING_ROWS = 10_000

TOLERANCE = 1e-9
"""Relative. BLAS rounds a linear model's last bits by the shape of the batch; trees have none."""


@dataclass(frozen=True)
class Model:
    """A trained model as every contender gets it."""

    name: str
    title: str
    output: str
    columns: tuple[str, ...]
    is_exact: bool
    """Whether predictions are the same to the last bit in batches of every size."""
    uses_threads: bool = False
    """Whether one prediction uses several cores by itself."""

    @property
    def path(self) -> Path:
        """The joblib file of the fitted estimator."""
        return cache.folder() / f"{self.name}.joblib"

    @property
    def repository(self) -> Path:
        """A model repository that holds this model alone."""
        return cache.folder() / f"repository-{self.name}"

    @cached_property
    def estimator(self) -> Any:
        return joblib.load(self.path)

    def expected(self, rows: int) -> npt.NDArray[np.float64]:
        """In-process predictions for the first rows of the table: rows × columns."""
        path = cache.folder() / f"expected-{self.name}-{rows}.npy"
        if not path.exists():
            predictions = getattr(self.estimator, self.output)(workloads.table(rows))
            np.save(path, np.asarray(predictions, dtype=np.float64).reshape(rows, -1))
        return np.load(path)  # type: ignore[no-any-return]


MODELS = {
    "m1": Model("m1", "scaler + linear regression", "predict", ("prediction",), is_exact=False),
    "m2": Model("m2", "random forest, 100 × depth 12", "predict", ("prediction",), is_exact=True),
    "m3": Model(
        "m3",
        "histogram gradient boosting, probabilities",
        "predict_proba",
        ("proba_0", "proba_1"),
        is_exact=True,
        uses_threads=True,
    ),
}


def train_missing(names: Sequence[str]) -> None:
    """Train and publish those models that are not there yet."""
    for name in names:
        model = MODELS[name]
        if model.path.exists():
            continue
        X = workloads.table(TRAINING_ROWS)
        estimator = _fitted(name, X)
        model.repository.mkdir(exist_ok=True)
        publish(estimator, name=name, sample=X, repository=model.repository)
        # Last: its presence says that the model is complete.
        joblib.dump(estimator, model.path)


def _fitted(name: str, X: Any) -> Any:  # scikit-learn has no types
    random = np.random.default_rng(1)
    noise = random.normal(0, 1, len(X))
    y = X.to_numpy() @ random.normal(0, 1, X.shape[1]) + 0.05 * X["x0"] * X["x1"] + noise
    if name == "m1":
        return make_pipeline(StandardScaler(), LinearRegression()).fit(X, y)
    if name == "m2":
        forest = RandomForestRegressor(100, max_depth=12, random_state=0, n_jobs=-1).fit(X, y)
        return forest.set_params(n_jobs=None)
    return HistGradientBoostingClassifier(random_state=0).fit(X, (y > np.median(y)).astype(int))
