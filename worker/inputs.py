"""In which form an estimator takes the rows that it is asked about."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy.typing as npt
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

Form = Callable[[pd.DataFrame], Any]
"""Makes of a table of features what an estimator takes, which may then write into it."""


VECTORIZERS = (CountVectorizer, HashingVectorizer)
"""They take texts one after the other, not a table. Others in scikit-learn derive from them."""


def form_for(estimator: Any) -> Form:
    """The form that an estimator was fitted on, as far as it shows: a table where it knows names of
    columns, a list of texts where it begins with a vectorizer, else an array."""
    first, *others = entrances = list(_entrances(estimator))
    if any(hasattr(part, "feature_names_in_") for part in entrances):
        return as_table
    if isinstance(first, VECTORIZERS):
        return as_texts
    # What stands before a vectorizer takes its column out of a table.
    return as_table if any(isinstance(part, VECTORIZERS) for part in others) else as_array


def _entrances(estimator: Any) -> Iterator[Any]:
    """The parts of an estimator that get the rows first, or the estimator itself.

    A step that does not remember how many columns it was fitted on has not looked at them, so what
    the next one remembers is asked for as well.
    """
    if hasattr(estimator, "best_estimator_"):
        yield from _entrances(estimator.best_estimator_)
        return
    steps = getattr(estimator, "steps", getattr(estimator, "transformer_list", ()))
    parts = [step for _, step, *_ in steps if step not in (None, "passthrough", "drop")]
    if not parts:
        yield estimator
    for part in parts:
        yield from _entrances(part)
        if hasattr(part, "n_features_in_") or isinstance(part, VECTORIZERS):
            break


def as_table(features: pd.DataFrame) -> pd.DataFrame:
    """A copy in which each column has its own memory, as pandas reads a table: what a model makes
    of several columns is an array that it may write into."""
    columns = {name: features[name].copy() for name in features}
    return pd.DataFrame(columns, index=features.index, copy=False)


def as_array(features: pd.DataFrame) -> npt.NDArray[Any]:
    """An array that the model may write into. One that is read-only is the table's own."""
    values = features.to_numpy()
    # In the same order in memory, on which the last bits of a linear model may depend.
    return values if values.flags.writeable else values.copy(order="K")


def as_texts(features: pd.DataFrame) -> list[str]:
    """The only column. Raises ValueError if there are more."""
    if len(features.columns) != 1:
        raise ValueError(f"it takes one column of texts and got {len(features.columns)} columns")
    return list(features.iloc[:, 0])
