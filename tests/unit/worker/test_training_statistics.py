"""What a manifest says of the predictions that a model makes of its sample."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from shared.statistics import PredictionStatistics
from tests.estimators import Describing, Echo
from worker.publishing import publish

X = pd.DataFrame({"x": np.arange(101.0)})


def learned(
    estimator: BaseEstimator, repository: Path, sample: pd.DataFrame = X
) -> tuple[PredictionStatistics, ...]:
    types = [f"tests.estimators.{type(estimator).__name__}"]
    published = publish(
        estimator, name="m", sample=sample, repository=repository, trusted_types=types
    )
    assert published.statistics is not None
    return published.statistics.predictions


def test_numbers_are_known_by_every_second_percentile(tmp_path: Path) -> None:
    (found,) = learned(Echo().fit(X), tmp_path)

    assert found.quantiles == tuple(float(20 * n) for n in range(51))
    assert found.categories == {}


def test_classes_are_known_by_their_shares(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit(X, np.where(X["x"] < 50.5, "low", "high"))

    (found,) = learned(fitted, tmp_path)

    assert found.categories == pytest.approx({"low": 51 / 101, "high": 50 / 101}, abs=1e-5)
    assert found.quantiles == ()


def test_booleans_are_written_as_in_results(tmp_path: Path) -> None:
    (found,) = learned(LogisticRegression().fit(X, X["x"] > 50.5), tmp_path)

    assert set(found.categories) == {"true", "false"}


def test_few_whole_numbers_are_classes(tmp_path: Path) -> None:
    (found,) = learned(LogisticRegression().fit(X, (X["x"] > 50.5).astype(int)), tmp_path)

    assert set(found.categories) == {"0", "1"}


def test_each_column_has_its_own(tmp_path: Path) -> None:
    texts, numbers = learned(Describing().fit(X), tmp_path)

    assert sum(texts.categories.values()) <= 1
    assert numbers.quantiles


def test_many_columns_are_not_all_kept(tmp_path: Path) -> None:
    fitted = LinearRegression().fit(X, np.tile(X["x"].to_numpy()[:, None], 12))

    assert len(learned(fitted, tmp_path)) == 10


def test_a_transformer_has_none(tmp_path: Path) -> None:
    assert learned(StandardScaler().fit(X), tmp_path) == ()


def test_a_large_sample_is_scored_in_parts_that_are_spread_over_it(tmp_path: Path) -> None:
    sample = pd.DataFrame({"x": np.arange(100_000.0)})

    (found,) = learned(Echo().fit(sample), tmp_path, sample)

    assert found.quantiles[0] == 0
    assert found.quantiles[-1] == pytest.approx(1_000_000, rel=0.001)
    assert found.quantiles[25] == pytest.approx(500_000, rel=0.001)
