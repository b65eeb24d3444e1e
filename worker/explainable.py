"""Which models can be explained: trees and linear models behind steps that keep columns apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn import ensemble, linear_model, svm, tree

from shared.signature import Signature
from worker.origins import origins_of_final, steps_of

Floats = npt.NDArray[np.float64]

TREES = frozenset(
    {
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.GradientBoostingClassifier,
        ensemble.GradientBoostingRegressor,
        ensemble.HistGradientBoostingClassifier,
        ensemble.HistGradientBoostingRegressor,
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
    }
)
LINEAR = frozenset(
    {
        linear_model.ARDRegression,
        linear_model.BayesianRidge,
        linear_model.ElasticNet,
        linear_model.ElasticNetCV,
        linear_model.HuberRegressor,
        linear_model.Lars,
        linear_model.Lasso,
        linear_model.LassoCV,
        linear_model.LassoLars,
        linear_model.LinearRegression,
        linear_model.LogisticRegression,
        linear_model.LogisticRegressionCV,
        linear_model.Ridge,
        linear_model.RidgeClassifier,
        linear_model.RidgeClassifierCV,
        linear_model.RidgeCV,
        linear_model.SGDClassifier,
        linear_model.SGDRegressor,
        svm.LinearSVC,
        svm.LinearSVR,
    }
)
"""Final estimators that can be explained, if the trial on the sample goes well, too. A subclass may
do anything."""


@dataclass(frozen=True, kw_only=True)
class Explainable:
    """An estimator of which it is certain which features its final step's columns come from."""

    before: Sequence[Any]
    final: Any
    origins: Sequence[int]

    @property
    def is_linear(self) -> bool:
        return type(self.final) in LINEAR

    def made(self, X: Any) -> Any:
        """What the final estimator gets of X."""
        for step in self.before:
            X = step.transform(X)
        return X.tocsr() if issparse(X) else X

    def scores(self, made: Any) -> Floats:
        """What is explained: the number that the final estimator adds up for each row."""
        if not hasattr(self.final, "classes_"):
            values = self.final.predict(made)
        elif hasattr(self.final, "decision_function"):
            values = self.final.decision_function(made)
        else:
            values = self.final.predict_proba(made)[:, 1]
        return np.asarray(values, dtype=np.float64).reshape(made.shape[0])

    def means(self, X: Any) -> tuple[float, ...]:
        """Of each column that the final estimator gets of X."""
        means = np.asarray(self.made(X).mean(axis=0), dtype=np.float64)
        return tuple(np.ravel(means).tolist())


def explainable(estimator: Any, signature: Signature) -> Explainable | None:
    """How an estimator can be explained; None if it is none of those that can be."""
    *before, final = steps_of(estimator) or [None]
    if type(final) not in TREES | LINEAR or not _has_one_score(final):
        return None
    # It orders such columns anew, and shap knows no splits by category.
    if getattr(final, "is_categorical_", None) is not None:
        return None
    origins = origins_of_final(before, final, signature.feature_names)
    return Explainable(before=before, final=final, origins=origins) if origins else None


def _has_one_score(final: Any) -> bool:
    """Whether it predicts one number, or one of two classes."""
    is_single = getattr(final, "n_outputs_", 1) == 1
    is_binary = np.shape(getattr(final, "classes_", (0, 1))) == (2,)
    return is_single and is_binary and np.shape(getattr(final, "coef_", ()))[:-1] in {(), (1,)}
