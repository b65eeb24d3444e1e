"""Several loaded versions that answer as one estimator."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.manifest import Combination, Ensemble, Manifest
from shared.signature import Dtype, OutputKind, Signature
from worker.predictor import Columns, Predictor

Values = npt.NDArray[Any]

CLASS_PREFIX = "proba_"
"""Before the name of a class, in the name of the column with its probability."""


def assembled(
    ensemble: Ensemble,
    members: Sequence[Predictor],
    *,
    signature: Signature,
    final: Predictor | None,
) -> "EnsembleModel":
    """The estimator that combines these members, opened from those that `ensemble` names."""
    if final is not None:
        return StackModel(members, signature, final=final)
    return _MODELS[ensemble.combination](members, signature)


class EnsembleModel:
    """Has scikit-learn's interface. Each member gets its own features, in its own order.

    A row's prediction does not depend on its neighbours if no member's does. What a member raises
    is raised, so a row that one member refuses has no prediction. Not safe to share by threads.
    """

    def __init__(self, members: Sequence[Predictor], signature: Signature) -> None:
        self.feature_names_in_ = np.array(signature.feature_names, dtype=object)
        self._names = signature.feature_names
        self._members = members
        self._outputs = signature.outputs

    @property
    def warning(self) -> str:
        """What there is to say of its parts; empty as a rule."""
        return " ".join(dict.fromkeys(part.warning for part in self._parts if part.warning))

    @property
    def _parts(self) -> Sequence[Predictor]:
        return self._members

    def predict(self, X: pd.DataFrame) -> Values:
        """n values, or n rows of them where the final model of a stack gives several."""
        raise NotImplementedError

    def predict_proba(self, X: pd.DataFrame) -> Values:
        """n rows with a column for each class of the signature."""
        raise NotImplementedError

    @property
    def _class_columns(self) -> list[str]:
        return [column.name for column in self._outputs[OutputKind.PREDICT_PROBA]]

    def _answers(self, X: pd.DataFrame, output: OutputKind) -> list[dict[str, Values]]:
        """What each member answers, by the names of its columns."""
        answers = []
        for member in self._members:
            signature = member.manifest.signature
            # Who takes all features needs no table of its own, which would take a while to make.
            is_whole = signature.feature_names == self._names
            own = X if is_whole else X[list(signature.feature_names)]
            columns = member.columns(own, output)
            names = [column.name for column in signature.outputs[output]]
            answers.append(dict(zip(names, columns, strict=True)))
        return answers

    def _predictions(self, X: pd.DataFrame) -> Columns:
        """The one column that each member predicts."""
        return [next(iter(answer.values())) for answer in self._answers(X, OutputKind.PREDICT)]

    def _probabilities(self, X: pd.DataFrame) -> list[Columns]:
        """For each class what the members give it, whatever their order of classes."""
        answers = self._answers(X, OutputKind.PREDICT_PROBA)
        return [[answer[name] for answer in answers] for name in self._class_columns]


class MeanModel(EnsembleModel):
    """Means of the members' predictions and of their probabilities."""

    def predict(self, X: pd.DataFrame) -> Values:
        return mean(self._predictions(X))

    def predict_proba(self, X: pd.DataFrame) -> Values:
        return np.column_stack([mean(columns) for columns in self._probabilities(X)])


class MedianModel(EnsembleModel):
    """Medians of the members' predictions and of their probabilities, these made to add up to 1."""

    def predict(self, X: pd.DataFrame) -> Values:
        return median(self._predictions(X))

    def predict_proba(self, X: pd.DataFrame) -> Values:
        """The mean where all medians are 0: each member is sure of another class."""
        by_class = self._probabilities(X)
        medians = [median(columns) for columns in by_class]
        total = in_turn(medians)
        is_sure = total > 0
        return np.column_stack(
            [
                np.where(is_sure, middle / np.where(is_sure, total, 1), mean(columns))
                for middle, columns in zip(medians, by_class, strict=True)
            ]
        )


class VoteModel(EnsembleModel):
    """The class that most members predict, and each class's share of the votes."""

    def predict(self, X: pd.DataFrame) -> Values:
        return majority(self._predictions(X))

    def predict_proba(self, X: pd.DataFrame) -> Values:
        classes = [name.removeprefix(CLASS_PREFIX) for name in self._class_columns]
        return shares(self._predictions(X), classes)


class StackModel(EnsembleModel):
    """What a final model makes of the members' predictions."""

    def __init__(
        self, members: Sequence[Predictor], signature: Signature, *, final: Predictor
    ) -> None:
        super().__init__(members, signature)
        self._final = final

    @property
    def _parts(self) -> Sequence[Predictor]:
        return [*self._members, self._final]

    def predict(self, X: pd.DataFrame) -> Values:
        return self._finally(X, OutputKind.PREDICT)

    def predict_proba(self, X: pd.DataFrame) -> Values:
        return self._finally(X, OutputKind.PREDICT_PROBA)

    def decision_function(self, X: pd.DataFrame) -> Values:
        """n values, or n rows of them, as the final model gives them."""
        return self._finally(X, OutputKind.DECISION_FUNCTION)

    def _finally(self, X: pd.DataFrame, output: OutputKind) -> Values:
        columns = self._final.columns(self._stacked(X), output)
        if len({column.dtype for column in columns}) > 1:
            # numpy would make texts of numbers that stand beside texts.
            columns = [column.astype(object) for column in columns]
        return np.column_stack(columns) if len(columns) > 1 else columns[0]

    def _stacked(self, X: pd.DataFrame) -> pd.DataFrame:
        """The members' predictions as the final model's features, in its order and types."""
        names = stack_columns([member.manifest for member in self._members])
        found = dict(zip(names, self._predictions(X), strict=True))
        return pd.DataFrame(
            {
                feature.name: pd.Series(
                    found[feature.name],
                    dtype="str" if feature.dtype is Dtype.STRING else str(feature.dtype),
                )
                for feature in self._final.manifest.signature.features
            }
        )


_MODELS: Mapping[Combination, type[EnsembleModel]] = {
    Combination.MEAN: MeanModel,
    Combination.MEDIAN: MedianModel,
    Combination.VOTE: VoteModel,
}


def stack_columns(members: Sequence[Manifest]) -> list[str]:
    """What the final model of a stack calls each member's prediction: by the member's name, with
    the version where two of one name take part."""
    names = [member.name for member in members]
    return [
        member.name if names.count(member.name) == 1 else f"{member.name}_{member.version}"
        for member in members
    ]


def in_turn(columns: Columns) -> Values:
    """The sum, added in the order of the columns: numpy's own adds eight and more in an order that
    depends on the number of rows, and with it the last bits."""
    total: Values = reduce(np.add, columns)
    return total


def mean(columns: Columns) -> Values:
    """Row by row the mean, as float64."""
    return in_turn([column.astype(np.float64) for column in columns]) / len(columns)


def median(columns: Columns) -> Values:
    """Row by row the median, of an even number the mean of the two in the middle, as float64."""
    middle: Values = np.median(np.stack(columns).astype(np.float64), axis=0)
    return middle


def majority(votes: Columns) -> Values:
    """Row by row the value that most have; of those that equally many have, the one that comes
    first in the order of the voters."""
    table = np.stack(votes)
    followers = np.stack([(table == vote).sum(axis=0) for vote in table])
    # The first of the greatest.
    leaders = followers.argmax(axis=0)
    winners: Values = table[leaders, np.arange(table.shape[1])]
    return winners


def shares(votes: Columns, classes: Sequence[str]) -> Values:
    """n rows with a column for each class: the share of the votes that are for it.

    Raises ValueError for a vote that is for none of them.
    """
    table = np.stack(votes).astype(str)
    counts = np.stack([(table == name).sum(axis=0) for name in classes], axis=1)
    if counts.sum() != table.size:
        stray = table[~np.isin(table, classes)][0]
        raise ValueError(f"a member predicts {str(stray)!r}, which is none of the known classes")
    return counts / len(votes)
