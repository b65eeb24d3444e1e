"""What is made of which input feature, step by step; what is not certain is not guessed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)

from worker.origins import origins_of, origins_of_final, steps_of

A, B, CITY, SEX = 0, 1, 2, 3
TABLE = pd.DataFrame(
    {
        "a": [1.0, 2.0, 3.0, np.nan] * 5,
        "b": [4.0, 3.0, 2.0, 1.0] * 5,
        "city": ["Bonn", "Kiel", "Ulm", "Bonn"] * 5,
        "sex": ["f", "m"] * 10,
    }
)
NUMBERS = TABLE[["a", "b"]].fillna(0)
TEXTS = TABLE[["city", "sex"]]


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(**options)


def test_columns_that_are_kept_one_to_one_come_from_themselves() -> None:
    for step in (StandardScaler(), MinMaxScaler(), QuantileTransformer(n_quantiles=5)):
        assert origins_of(step.fit(NUMBERS), [7, 3]) == [7, 3]
    assert origins_of(OrdinalEncoder().fit(TEXTS), [2, 3]) == [2, 3]


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (one_hot(), [CITY] * 3 + [SEX] * 2),
        (one_hot(drop="first"), [CITY] * 2 + [SEX]),
        (one_hot(drop="if_binary"), [CITY] * 3 + [SEX]),
        (one_hot(drop=["Ulm", "f"]), [CITY] * 2 + [SEX]),
        (one_hot(min_frequency=8), [CITY] * 2 + [SEX] * 2),
        (one_hot(max_categories=2, drop="first"), [CITY, SEX]),
        (one_hot(handle_unknown="infrequent_if_exist", min_frequency=8), [CITY] * 2 + [SEX] * 2),
    ],
)
def test_a_category_comes_from_its_feature(encoder: OneHotEncoder, expected: list[int]) -> None:
    encoder.fit(TEXTS)

    assert origins_of(encoder, [CITY, SEX]) == expected
    assert encoder.transform(TEXTS).shape[1] == len(expected)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["b", "a"], [B, A]),
        ([1, 0], [B, A]),
        (np.array(["b"]), [B]),
        (slice(0, 2), [A, B]),
        (slice("a", "b"), [A, B]),
        ([False, True, False, False], [B]),
        (make_column_selector(dtype_include="float64"), [A, B]),
    ],
)
def test_columns_are_found_however_they_were_chosen(columns: Any, expected: list[int]) -> None:
    transformer = ColumnTransformer([("chosen", SimpleImputer(), columns)]).fit(TABLE)

    assert origins_of(transformer, [A, B, CITY, SEX]) == expected


def test_a_column_transformer_puts_its_parts_one_behind_the_other() -> None:
    transformer = ColumnTransformer(
        [
            ("texts", one_hot(), ["sex", "city"]),
            ("gone", "drop", ["a"]),
            ("none", one_hot(), []),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["b"]),
        ],
        remainder="passthrough",
    ).fit(TABLE)

    assert origins_of(transformer, [A, B, CITY, SEX]) == [SEX] * 2 + [CITY] * 3 + [B]


def test_what_remains_is_kept_in_its_order() -> None:
    transformer = make_column_transformer((one_hot(), ["sex"]), remainder="passthrough").fit(TABLE)

    assert origins_of(transformer, [A, B, CITY, SEX]) == [SEX, SEX, A, B, CITY]


def test_a_sample_may_have_more_columns_than_the_model_and_in_another_order() -> None:
    before = [make_column_transformer((StandardScaler(), ["b", "a"])).fit(NUMBERS)]
    final = LinearRegression().fit(before[0].transform(NUMBERS), range(20))

    assert origins_of_final(before, final, ("id", "b", "a")) == [1, 2]


@pytest.mark.parametrize(
    "step",
    [
        PolynomialFeatures(),
        PCA(),
        Normalizer(),
        KNNImputer(),
        SimpleImputer(add_indicator=True),
        SelectKBest(k=1),
        FunctionTransformer(np.cumsum),
        FeatureUnion([("same", StandardScaler())]),
        make_column_transformer((PCA(), ["a"])),
        make_pipeline(StandardScaler(), PCA()),
        type("OwnScaler", (StandardScaler,), {})(),
    ],
    ids=lambda step: type(step).__name__,
)
def test_what_may_mix_features_is_not_certain(step: Any) -> None:
    assert origins_of(step.fit(NUMBERS, [0, 1] * 10), [A, B]) is None


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
def test_a_column_that_the_imputer_left_out_makes_the_others_uncertain() -> None:
    table = NUMBERS.assign(a=np.nan)

    assert origins_of(SimpleImputer().fit(table), [A, B]) is None
    assert origins_of(SimpleImputer(keep_empty_features=True).fit(table), [A, B]) == [A, B]


def test_steps_that_do_nothing_are_none() -> None:
    inner = make_pipeline("passthrough", scaler := StandardScaler())

    steps = steps_of(Pipeline([("as is", None), ("inner", inner), ("end", "passthrough")]))

    assert steps == [scaler]
