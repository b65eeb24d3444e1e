"""Model versions that tests publish, each told from the others by what it predicts."""

from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor

from shared.manifest import Manifest
from worker.publishing import publish

X = pd.DataFrame({"x": [1.0, 2.0]})


# `Any`: a scikit-learn estimator, which comes without types.
def publish_version(name: str, estimator: Any, repository: Path) -> Manifest:
    """The next version of a model of one column `x`. A class of the tests is fitted before."""
    module = type(estimator).__module__
    types = [f"{module}.{type(estimator).__name__}"] if module.startswith("tests.") else []
    fitted = estimator.fit(X) if types else estimator
    return publish(fitted, name=name, sample=X, repository=repository, trusted_types=types)


def constant(value: float | list[float]) -> DummyRegressor:
    """Predicts always the same number, or numbers."""
    targets = [[value] * 2] if isinstance(value, float) else [[value, value]]
    return DummyRegressor(strategy="constant", constant=value).fit(X, targets[0])


def always(label: str | int, *, among: tuple[str | int, str | int]) -> DummyClassifier:
    """Predicts always the same of two classes."""
    return DummyClassifier(strategy="constant", constant=label).fit(X, list(among))
