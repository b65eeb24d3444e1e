"""Trains and publishes `petrol`: petrol consumption of US states from four numbers.

Run as `python -m examples.petrol.train`.
"""

from pathlib import Path

import pandas as pd
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict

from examples import training_command
from shared.manifest import Manifest
from worker.publishing import publish

TABLE = Path(__file__).with_name("petrol.csv")
TARGET = "petrol_consumption"
SEED = 42
FOLDS = KFold(n_splits=5, shuffle=True, random_state=SEED)
GRID = {"max_features": [2, 4]}


def train(repository: Path) -> Manifest:
    """Tune the forest, measure it by nested cross-validation, fit it on all rows, publish it."""
    X, y = load()
    search = GridSearchCV(
        RandomForestRegressor(n_estimators=100, random_state=SEED),
        GRID,
        cv=KFold(n_splits=3, shuffle=True, random_state=SEED),
        scoring="neg_mean_absolute_error",
    )
    metrics = evaluate(search, X, y)
    return publish(
        search.fit(X, y).best_estimator_,
        name="petrol",
        sample=X,
        repository=repository,
        description="Petrol consumption of a US state in millions of gallons; random forest.",
        metrics=metrics,
    )


def load() -> tuple[pd.DataFrame, pd.Series]:
    """Inputs and consumption (millions of gallons) of the 48 states."""
    table = pd.read_csv(TABLE)
    return table.drop(columns=TARGET), table[TARGET]


def evaluate(search: GridSearchCV, X: pd.DataFrame, y: pd.Series) -> dict[str, float]:
    """R2 and MAE (millions of gallons) on states the model has not seen, beside the mean's.

    Tuning runs anew inside each fold, so no state helps to choose what predicts it. The folds'
    predictions are pooled: R2 within a fold of ten rows says little.
    """
    predicted = cross_val_predict(search, X, y, cv=FOLDS)
    baseline = cross_val_predict(DummyRegressor(strategy="mean"), X, y, cv=FOLDS)
    return {
        "r2": r2_score(y, predicted),
        "mae": mean_absolute_error(y, predicted),
        "baseline_r2": r2_score(y, baseline),
        "baseline_mae": mean_absolute_error(y, baseline),
    }


def main() -> None:
    """Train from the command line."""
    training_command.run(train, description=__doc__ or "")


if __name__ == "__main__":
    main()
