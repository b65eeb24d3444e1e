"""Only models that can't tell the difference get an array in place of a DataFrame."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from shared.signature import OutputKind, Signature
from tests.factories import make_feature, make_manifest, make_signature
from worker.nameless import ONLY_COMPARE_NAMES, without_names
from worker.predictor import Predictor

NAMES = ("a", "b", "c")
COLUMNS = np.random.default_rng(3).normal(size=(3, 200))
ROWS = pd.DataFrame(dict(zip(NAMES, COLUMNS, strict=True)))
Y = ROWS["a"] * 2 - ROWS["b"] > 0.1
BY_NAME = sorted(ONLY_COMPARE_NAMES, key=lambda estimator: str(estimator.__name__))


class OwnScaler(StandardScaler):
    """A class that may do anything with the names of its columns."""


def signature_of(*names: str, dtype: str = "float64") -> Signature:
    return make_signature(*(make_feature(name, dtype) for name in names))


def bits(estimator: Any, table: Callable[[], Any], *, asked: Any) -> list[bytes]:
    """All that `asked` offers, each of a table of its own since the estimator may write into it."""
    methods = [name for name in ("transform", "predict", "predict_proba") if hasattr(asked, name)]
    return [np.asarray(getattr(estimator, name)(table())).tobytes() for name in methods]


def table_of(rows: int) -> pd.DataFrame:
    """Some rows as pandas' parser gives them: each column is an array of its own."""
    text = ROWS[:rows].to_csv(index=False)
    return pd.read_csv(io.StringIO(text), dtype="float64")


@pytest.mark.parametrize("estimator", [make() for make in BY_NAME], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_the_bits_are_those_of_the_dataframe(estimator: Any, rows: int) -> None:
    fitted = clone(estimator).fit(ROWS, Y)

    nameless = without_names(fitted, signature_of(*NAMES))

    assert not hasattr(nameless, "feature_names_in_")
    found = bits(nameless, lambda: table_of(rows).to_numpy(), asked=fitted)
    assert found == bits(fitted, lambda: table_of(rows), asked=fitted)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LinearRegression()),
        make_pipeline(StandardScaler(copy=False), LogisticRegression()),
        make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=3)),
        make_pipeline(GradientBoostingRegressor(init=LinearRegression(), n_estimators=3)),
    ],
    ids=["linear", "in place", "trees", "one step"],
)
def test_a_pipeline_gives_the_bits_of_the_dataframe(model: Any) -> None:
    fitted = clone(model).fit(ROWS, Y)

    nameless = without_names(fitted, signature_of(*NAMES))

    assert not hasattr(nameless, "feature_names_in_")
    found = bits(nameless, lambda: table_of(200).to_numpy(), asked=fitted)
    assert found == bits(fitted, lambda: table_of(200), asked=fitted)


def test_the_estimator_itself_keeps_its_names() -> None:
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(ROWS, Y)

    without_names(model, signature_of(*NAMES))

    assert model.feature_names_in_.tolist() == list(NAMES)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(OwnScaler(), LinearRegression()),
        make_pipeline(StandardScaler(), OwnScaler(), LinearRegression()),
        make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()),
        make_pipeline(FunctionTransformer(lambda X: X[["a"]]), LinearRegression()),
        make_pipeline(make_column_transformer((StandardScaler(), ["b"])), LinearRegression()),
        make_pipeline(SimpleImputer(), LinearRegression()),
        make_pipeline(make_pipeline(StandardScaler()), LinearRegression()),
    ],
    ids=["own", "own later", "tables", "function", "by names", "imputer", "nested"],
)
def test_a_model_that_may_need_names_gets_them(model: Any) -> None:
    fitted = model.fit(ROWS, Y)

    assert without_names(fitted, signature_of(*NAMES)) is fitted
    manifest = make_manifest(signature=signature_of(*NAMES))
    prediction = Predictor(fitted, manifest).predict(ROWS, OutputKind.PREDICT)
    assert prediction.columns[0].tolist() == fitted.predict(ROWS).tolist()


@pytest.mark.parametrize(
    "signature",
    [signature_of("b", "a", "c"), signature_of("a", "b"), signature_of(*NAMES, dtype="int64")],
    ids=["other order", "fewer", "not floats"],
)
def test_a_model_whose_names_are_not_the_signature_s_goes_on_comparing(
    signature: Signature,
) -> None:
    model = LinearRegression().fit(ROWS, Y)

    assert without_names(model, signature) is model


def test_a_model_that_was_fitted_on_an_array_stays_as_it_is() -> None:
    model = LinearRegression().fit(ROWS.to_numpy(), Y)

    assert without_names(model, signature_of(*NAMES)) is model
