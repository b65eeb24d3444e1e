"""Recommends titles to users, as estimators with scikit-learn's interface.

Both classes are fitted on a table of ratings and predict for a table of users:

    model.fit(X, y)     X has the columns userId and title, y the ratings
    model.predict(X)    X has the column userId; one row of titles, the best first, per row

Fitted attributes are number and text arrays and sparse matrices, so a fitted model can be saved
without pickle.
"""

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

_TIE_STEP = 1e-12
"""Taken off a title's score per place in the order of popularity: orders equal scores and, over
10,000 titles, stays far below any difference between scores that means something."""

TRUSTED_TYPES = ["examples.movies.recommender.SimilarTitles"]
"""What skops must be told to trust in a saved SimilarTitles: the class itself, and its sparse
matrices, since a forged one could point outside its memory."""


class PopularTitles(BaseEstimator):
    """Recommends the titles that most users rated and this user has not."""

    def __init__(self, n_titles: int = 10) -> None:
        self.n_titles = n_titles

    def fit(self, X: pd.DataFrame, y: ArrayLike) -> Self:
        """Learn from ratings `y` (higher is better) by `X`'s columns `userId` and `title`.

        Raises ValueError for missing values, for two ratings of one title by one user, and for
        fewer than `n_titles` titles.
        """
        ratings = check_array(y, ensure_2d=False, dtype=np.float64)
        _check_ratings_table(X, n_titles=self.n_titles)
        popularity = X.groupby("title").size().sort_values(ascending=False, kind="stable")
        # What predict takes, as scikit-learn names it; fit takes the titles besides.
        self.feature_names_in_ = np.asarray(["userId"])
        self.n_features_in_ = 1
        self.titles_ = popularity.index.to_numpy(dtype=str)
        self.users_, user_of = np.unique(X["userId"].to_numpy(), return_inverse=True)
        # One empty row more than users: it stands for everyone who has rated nothing.
        self.ratings_ = sparse.csr_array(
            (ratings, (user_of, popularity.index.get_indexer(pd.Index(X["title"])))),
            shape=(len(self.users_) + 1, len(self.titles_)),
        )
        return self

    def predict(self, X: pd.DataFrame) -> NDArray[np.object_]:
        """Titles for each row of `X`, shape (rows, n_titles), the best first.

        A user without ratings gets the popular titles. Where a user has rated so many titles that
        fewer than `n_titles` are left, the last ones are empty texts. A user's titles don't depend
        on the other rows. Raises ValueError when a `userId` is missing or no number.
        """
        check_is_fitted(self)
        ids = check_array(X[["userId"]], dtype=np.float64).ravel()
        users, row_of = np.unique(self._places(ids), return_inverse=True)
        return self._best_titles(users)[row_of]

    def _places(self, ids: NDArray[np.float64]) -> NDArray[np.intp]:
        """Row of each user in `ratings_`; the empty last one for users without ratings."""
        nobody = len(self.users_)
        places = np.searchsorted(self.users_, ids)
        found = self.users_[np.minimum(places, nobody - 1)] == ids
        return np.where(found, places, nobody)

    def _best_titles(self, users: NDArray[np.intp]) -> NDArray[np.object_]:
        scores = self._scores(users) - _TIE_STEP * np.arange(len(self.titles_))
        rated = self.ratings_[users].tocoo()
        scores[rated.row, rated.col] = -np.inf
        best = np.argpartition(-scores, self.n_titles - 1, axis=1)[:, : self.n_titles]
        best_scores = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-best_scores, axis=1)
        titles = self.titles_[np.take_along_axis(best, order, axis=1)].astype(object)
        titles[np.isneginf(np.take_along_axis(best_scores, order, axis=1))] = ""
        return titles

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float64]:
        """Score of every title for users given by row, shape (users, titles); equal here."""
        return np.zeros((len(users), len(self.titles_)))


class SimilarTitles(PopularTitles):
    """Recommends titles that go together with those the user likes.

    A user's preference for a rated title is (rating / highest rating) ** `rating_power`. How much
    liking one title says about another is a matrix of title to title weights, learned by
    regressing each title's preferences on those of all the other titles with ridge penalty
    `shrinkage`; a title's score for a user sums the weights from what the user rated. This is
    EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019).

    With X the preferences, users by titles, and P = (X'X + shrinkage I)^-1, the weights are
    -P_ij / P_jj. There are far fewer users than titles, so the same scores are computed without
    ever building that matrix: by the Woodbury identity P = (I - X'KX) / shrinkage with
    K = (XX' + shrinkage I)^-1, and the score of a title j that user u has not rated becomes
    (XX'KX)_uj / (1 - h_j), where h_j = (X'KX)_jj.
    """

    def __init__(
        self, n_titles: int = 10, *, shrinkage: float = 200.0, rating_power: float = 2.0
    ) -> None:
        super().__init__(n_titles)
        self.shrinkage = shrinkage
        self.rating_power = rating_power

    def fit(self, X: pd.DataFrame, y: ArrayLike) -> Self:
        """As PopularTitles.fit; takes users² memory and users³ time."""
        super().fit(X, y)
        preferences = self._preferences()
        likeness = (preferences @ preferences.T).toarray()
        inverse = np.linalg.inv(likeness + self.shrinkage * np.eye(len(likeness)))
        leverage = preferences.T.multiply(preferences.T @ inverse).sum(axis=1)
        self.user_weights_ = likeness @ inverse
        self.title_weights_ = sparse.csr_array(
            preferences.multiply(1 / (1 - np.asarray(leverage).ravel()))
        )
        return self

    def _preferences(self) -> Any:  # scipy's matrices have no types
        preferences = self.ratings_.copy()
        preferences.data = (preferences.data / preferences.data.max()) ** self.rating_power
        return preferences

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float64]:
        # A sparse product adds in the same order for every row, so a score has the same last bit
        # in any batch; a dense one would not.
        return np.ascontiguousarray((self.title_weights_.T @ self.user_weights_[users].T).T)


def _check_ratings_table(X: pd.DataFrame, *, n_titles: int) -> None:
    pairs = X[["userId", "title"]]
    if pairs.isna().any(axis=None):
        raise ValueError("A rating has no userId or no title.")
    if pairs.duplicated().any():
        raise ValueError("A user has rated one title twice.")
    if pairs["title"].nunique() < n_titles:
        raise ValueError(f"There are fewer than {n_titles} titles to recommend.")
