"""Trains and publishes `line`: y = 2x + 3 from five points, `python -m examples.line.train`."""

from pathlib import Path

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score

from examples import training_command
from shared.manifest import Manifest
from worker.publishing import publish

POINTS = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 5.0], "y": [5.0, 7.0, 9.0, 11.0, 13.0]})
UNSEEN = pd.DataFrame({"x": [6.0]}), 15.0
"""A point that no training saw, and what the line must give there."""


def train(repository: Path) -> Manifest:
    """Fit the line, check it where it was not fitted, publish it."""
    X, y = POINTS[["x"]], POINTS["y"]
    model = LinearRegression().fit(X, y)
    return publish(
        model,
        name="line",
        sample=X,
        repository=repository,
        description="A straight line, y = 2x + 3. For tests and tutorials.",
        metrics={
            "r2": r2_score(y, model.predict(X)),
            "mae": mean_absolute_error(y, model.predict(X)),
            "mae_unseen": _error_at_unseen(model),
        },
    )


def _error_at_unseen(model: LinearRegression) -> float:
    """Distance from the known answer; raises ValueError when the line misses it."""
    X, expected = UNSEEN
    error = abs(float(model.predict(X)[0]) - expected)
    if error > 1e-9:
        raise ValueError(f"The line misses the unseen point by {error}.")
    return error


def main() -> None:
    """Train from the command line."""
    training_command.run(train, description=__doc__ or "")


if __name__ == "__main__":
    main()
