"""A model is weighed by what it takes in memory, whatever its file looks like."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from shared.manifest import ArtifactFormat, Manifest
from tests.onnx_graphs import identity
from worker.footprint import ONNX_TIMES, footprint, weigh
from worker.onnx_model import OnnxModel
from worker.publishing import publish

X = pd.DataFrame(np.random.default_rng(0).normal(size=(5_000, 8)))
X.columns = [f"x{number}" for number in X.columns]
SAMPLE = pd.DataFrame({"x": [1.0, 2.0]})
ESTIMATORS = [
    ExtraTreesRegressor(5, max_features=1, random_state=0),
    HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=255, early_stopping=False),
    KNeighborsRegressor(algorithm="kd_tree"),
    KNeighborsRegressor(algorithm="brute"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_a_model_weighs_about_what_its_arrays_take(estimator: Any, tmp_path: Path) -> None:
    estimator.fit(X.to_numpy(), X["x0"])
    joblib.dump(estimator, tmp_path / "model")

    size = (tmp_path / "model").stat().st_size
    assert size * 0.5 < weigh(estimator) < size * 1.5


def test_many_small_objects_weigh_more_than_their_file(tmp_path: Path) -> None:
    trees = ExtraTreesRegressor(300, max_depth=2, random_state=0).fit(X[:100], X["x0"][:100])
    joblib.dump(trees, tmp_path / "model")

    assert weigh(trees) > 2 * (tmp_path / "model").stat().st_size


def test_an_array_is_not_copied_to_be_weighed() -> None:
    wide = Ridge().fit(np.ones((2, 50_000)), np.ones((2, 20)))

    assert weigh(wide) == pytest.approx(wide.coef_.nbytes, rel=0.1)


def published(directory: Path, estimator: Any, **options: Any) -> Manifest:
    return publish(estimator, name="model", sample=SAMPLE, repository=directory, **options)


def test_a_file_that_is_small_for_its_model_is_not_what_counts(tmp_path: Path) -> None:
    line = LinearRegression().fit(SAMPLE, [1.0, 2.0])
    manifest = published(tmp_path, line, artifact_format=ArtifactFormat.JOBLIB)
    artifact = manifest.artifact.model_copy(update={"bytes": 10})

    size = footprint(line, manifest.model_copy(update={"artifact": artifact}))

    assert size == weigh(line) > 10


def test_a_session_of_a_graph_counts_too(tmp_path: Path) -> None:
    graph = OnnxModel(identity(shape=("rows", 1)))

    assert footprint(graph, published(tmp_path, graph)) == ONNX_TIMES * len(graph.data)


class Unwieldy(LinearRegression):
    """Can't be pickled."""

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("not this one")


def test_what_can_not_be_weighed_counts_as_its_file(tmp_path: Path) -> None:
    manifest = published(tmp_path, LinearRegression().fit(SAMPLE, [1.0, 2.0]))

    assert footprint(Unwieldy(), manifest) == manifest.artifact.bytes
