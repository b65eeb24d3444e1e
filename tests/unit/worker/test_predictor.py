"""Rows that a model refuses are found exactly, and cost no other row its prediction."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from shared.signature import Dtype, OutputColumn, OutputKind
from tests.factories import make_feature, make_manifest, make_signature
from worker.predictor import Prediction, Predictor


class Picky:
    """Gives `x` `width` times over, and raises on any batch with a value below zero."""

    feature_names_in_ = ("x",)

    def __init__(self, *, width: int = 1) -> None:
        self.width = width
        self.calls = 0

    def predict(self, X: pd.DataFrame) -> Any:
        self.calls += 1
        x = X["x"].to_numpy()
        if (x < 0).any():
            raise ValueError(f"{x.min():g} is below zero\nsecond line")
        return x if self.width == 1 else np.column_stack([x + i for i in range(self.width)])


def make_predictor(estimator: Any, *, width: int = 1) -> Predictor:
    columns = tuple(OutputColumn(name=f"y{i}", dtype=Dtype.FLOAT) for i in range(width))
    signature = make_signature(make_feature(), outputs={OutputKind.PREDICT: columns})
    return Predictor(estimator, make_manifest(signature=signature))


def predict(values: list[float], *, estimator: Any = None, width: int = 1) -> Prediction:
    predictor = make_predictor(estimator or Picky(width=width), width=width)
    features = pd.DataFrame({"x": values})
    return predictor.predict(features, OutputKind.PREDICT)


@settings(max_examples=100)
@given(is_bad=st.lists(st.booleans(), max_size=40), width=st.integers(1, 3))
def test_exactly_the_guilty_rows_are_set_aside_and_the_order_is_kept(
    is_bad: list[bool], width: int
) -> None:
    values = [-1.0 - i if bad else float(i) for i, bad in enumerate(is_bad)]

    found = predict(values, width=width)

    good = [i for i, bad in enumerate(is_bad) if not bad]
    assert found.positions.tolist() == good
    assert [refusal.position for refusal in found.refusals] == np.flatnonzero(is_bad).tolist()
    expected = [[i + shift for i in good] for shift in range(width)] if good else []
    assert [column.tolist() for column in found.columns] == expected


@settings(max_examples=60)
@given(rows=st.integers(1, 300), data=st.data())
def test_the_search_for_guilty_rows_takes_few_calls(rows: int, data: st.DataObject) -> None:
    guilty = data.draw(st.sets(st.integers(0, rows - 1), max_size=5))
    estimator = Picky()

    predict([-1.0 if i in guilty else 1.0 for i in range(rows)], estimator=estimator)

    assert estimator.calls <= 1 + 2 * len(guilty) * math.ceil(math.log2(rows + 1))


def test_predictions_come_in_the_type_of_the_signature() -> None:
    class Whole(Picky):
        def predict(self, X: pd.DataFrame) -> Any:
            return super().predict(X).astype(int)

    assert predict([1, 2], estimator=Whole()).columns[0].dtype == "float64"


def test_no_rows_are_no_call() -> None:
    estimator = Picky()

    found = predict([], estimator=estimator)

    assert (estimator.calls, found.columns, found.positions.tolist()) == (0, [], [])


def test_a_refusal_says_what_the_model_said_in_one_line() -> None:
    assert predict([1, -7]).refusals[0].message == "ValueError: -7 is below zero"


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_a_column_is_one_output_whatever_its_shape(shape: tuple[int, ...]) -> None:
    class Shaped(Picky):
        def predict(self, X: pd.DataFrame) -> Any:
            return super().predict(X).reshape(shape)

    assert predict([1, 2], estimator=Shaped()).columns[0].tolist() == [1, 2]


@pytest.mark.parametrize("answer", [[], [1.0, 2.0, 3.0], [[1.0, 2.0]] * 2, 5.0, [None]])
def test_an_answer_of_the_wrong_shape_is_a_refusal_of_every_row(answer: Any) -> None:
    class Wrong(Picky):
        def predict(self, X: pd.DataFrame) -> Any:
            return answer if len(X) > 1 else np.empty((1, 2))

    assert [refusal.position for refusal in predict([1, 2], estimator=Wrong()).refusals] == [0, 1]


def test_an_answer_with_outputs_for_rows_is_refused() -> None:
    class Transposed(Picky):
        def predict(self, X: pd.DataFrame) -> Any:
            return super().predict(X).T

    assert len(predict([1, 2], estimator=Transposed(width=3), width=3).refusals) == 2


def test_a_model_that_knows_no_names_gets_no_names() -> None:
    class Nameless:
        def predict(self, X: Any) -> Any:
            assert isinstance(X, np.ndarray)
            return X[:, 0]

    assert predict([1, 2], estimator=Nameless()).columns[0].tolist() == [1, 2]


@pytest.mark.parametrize("columns", [1, 2])
def test_a_model_may_write_into_the_array_it_gets(columns: int) -> None:
    class Tidying:
        def predict(self, X: Any) -> Any:
            X[:, 0] = X[:, 0].round()
            return X[:, 0]

    features = [make_feature(f"x{i}") for i in range(columns)]
    outputs = {OutputKind.PREDICT: (OutputColumn(name="y", dtype=Dtype.FLOAT),)}
    signature = make_signature(*features, outputs=outputs)
    predictor = Predictor(Tidying(), make_manifest(signature=signature))
    table = pd.DataFrame(np.full((2, columns), 1.2), columns=list(signature.feature_names))

    prediction = predictor.predict(table, OutputKind.PREDICT)

    assert prediction.refusals == []
    assert prediction.columns[0].tolist() == [1, 1]


def test_names_pass_through_a_pipeline_whose_first_step_does_nothing() -> None:
    by_name = ColumnTransformer([("x", StandardScaler(), ["x"])])
    training = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    model = Pipeline([("as is", "passthrough"), ("by name", by_name), ("fit", LinearRegression())])
    model.fit(training, [10.0, 20.0, 30.0])

    prediction = predict([1, 2], estimator=model)

    assert prediction.refusals == []
    assert prediction.columns[0] == pytest.approx([10, 20])


def test_a_model_that_writes_into_the_table_costs_no_row_its_prediction() -> None:
    scaler = StandardScaler(copy=False)  # works in place wherever scikit-learn lets it
    model = Pipeline([("scale", scaler), ("fit", KNeighborsRegressor(1, algorithm="brute"))])
    training = pd.DataFrame({"x": [0.001, 0.002, 0.004, 0.009]})
    model.fit(training.copy(), [100.0, 200.0, 400.0, 900.0])

    prediction = predict([0.001, 0.002, 0.009, 0.004, 1.7e308], estimator=model)

    assert [refusal.position for refusal in prediction.refusals] == [4]
    assert prediction.columns[0].tolist() == [100, 200, 900, 400]
