"""ONNX graphs in a running stack: loaded before the pool is forked, scored in its processes."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.live_stack import Api, live_stack
from tests.onnx_graphs import exported, largest_difference, petrol_network
from worker.onnx_model import OnnxModel
from worker.publishing import publish

PEOPLE = pd.DataFrame({"age": [20.0, 30, 40, 50] * 5, "city": ["Bonn", "Kiel", "Ulm", "Bonn"] * 5})


def people_network() -> Pipeline:
    encoder = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age"]))
    network = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", alpha=1.0, random_state=0)
    return make_pipeline(encoder, network).fit(PEOPLE, ["stay", "go", "go", "stay"] * 5)


@pytest.fixture(scope="module")
def stack(run_directory: Path) -> Iterator[Api]:
    repository = run_directory / "graphs"
    repository.mkdir()
    estimator, X = petrol_network()
    net = OnnxModel(exported(estimator, 4))
    publish(net, name="net", sample=X, repository=repository)
    types = {"age": FloatTensorType([None, 1]), "city": StringTensorType([None, 1])}
    people = OnnxModel(exported(people_network(), types, zipmap=False), classes=["go", "stay"])
    publish(people, name="people", sample=PEOPLE, repository=repository)
    with live_stack(run_directory / "onnx", repository) as api:
        yield api


def rows_of(answer: Any) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(answer.text))


def test_a_network_is_scored_over_http_as_scikit_learn_would(stack: Api) -> None:
    estimator, X = petrol_network()

    job = stack.submit(X.to_csv(index=False), model="net").json()

    scored = rows_of(stack.get(job["urls"]["results"]))
    assert job["counts"]["succeeded"] == len(X)
    assert largest_difference(scored["prediction"], estimator.predict(X)) < 1e-5


def test_a_huge_job_and_small_ones_are_scored_by_all_processes_alike(stack: Api) -> None:
    estimator, X = petrol_network()
    many = pd.concat([X] * 5_000)

    huge = stack.submit(many.to_csv(index=False), model="net", wait=0).json()
    small = [rows_of(stack.predict(X.to_csv(index=False), model="net")) for _ in range(10)]

    expected = estimator.predict(X)
    assert all(largest_difference(one["prediction"], expected) < 1e-5 for one in small)
    assert stack.ended(huge)["status"] == "succeeded"
    scored = rows_of(stack.get(huge["urls"]["results"]))["prediction"]
    assert largest_difference(scored, np.tile(expected, 5_000)) < 1e-5


def test_texts_and_probabilities_go_the_same_way(stack: Api) -> None:
    expected = people_network()

    labels = stack.predict(PEOPLE.to_csv(index=False), model="people")
    shares = stack.predict(PEOPLE.to_csv(index=False), model="people", output="predict_proba")

    assert rows_of(labels)["prediction"].tolist() == expected.predict(PEOPLE).tolist()
    found = rows_of(shares)[["proba_go", "proba_stay"]].to_numpy()
    assert found == pytest.approx(expected.predict_proba(PEOPLE), rel=1e-5)


def test_a_missing_value_costs_only_its_row(stack: Api) -> None:
    answer = stack.predict("age,city\n20,Bonn\n,Kiel\n30,\n40,Ulm\n", model="people")

    scored = rows_of(answer)
    assert scored["prediction"].notna().tolist() == [True, False, False, True]
    assert scored["error"].notna().tolist() == [False, True, True, False]
