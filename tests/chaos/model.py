"""The model of the chaos suite: predictions known beforehand, and three ways to go wrong."""

from pathlib import Path

import pandas as pd

from tests.estimators import Chaotic
from worker.publishing import publish

NAME = "chaotic"

SECONDS_PER_ROW = 1e-4
"""Gives chunks of about 7,000 rows and 0.7 s; a job of 50,000 rows has several of them."""

BAD_CELL, REFUSED_CELL, POISON_CELL, HANGING_CELL = "x", "-1", "666", "777"

MIN_GOOD_CELL = 1_000
"""Good cells are whole numbers from here on, so none of them is one of those above."""


def prediction(cell: int) -> int:
    """What the model says to a good cell."""
    return 10 * cell


def publish_chaotic(repository: Path) -> Path:
    """The repository with the model in it."""
    sample = pd.DataFrame({"x": [1.0, 2.0]})
    publish(
        Chaotic(seconds_per_row=SECONDS_PER_ROW).fit(sample),
        name=NAME,
        sample=sample,
        repository=repository,
        trusted_types=["tests.estimators.Chaotic"],
    )
    return repository
