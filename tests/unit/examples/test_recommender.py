"""The recommender of the movies example, on a small table of made-up ratings."""

import numpy as np
import pandas as pd
import pytest
import skops.io

from examples.movies.recommender import TRUSTED_TYPES, PopularTitles, SimilarTitles

NOBODY = 999


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    """Thirty users with twelve ratings each of forty titles, the first titles more often."""
    rng = np.random.default_rng(7)
    odds = np.linspace(3, 1, 40) / np.linspace(3, 1, 40).sum()
    rated = [rng.choice(40, 12, replace=False, p=odds) for _ in range(30)]
    return pd.DataFrame(
        {
            "userId": np.repeat(np.arange(1, 31), 12),
            "title": [f"Film {title:02}" for title in np.concatenate(rated)],
            "rating": rng.integers(1, 11, 360) / 2,
        }
    )


@pytest.fixture(scope="module")
def model(ratings: pd.DataFrame) -> SimilarTitles:
    return SimilarTitles(shrinkage=5.0).fit(ratings[["userId", "title"]], ratings["rating"])


def users(*ids: float) -> pd.DataFrame:
    return pd.DataFrame({"userId": ids})


def test_it_never_recommends_a_title_the_user_has_rated(
    model: SimilarTitles, ratings: pd.DataFrame
) -> None:
    recommended = model.predict(users(*range(1, 31)))

    for user, titles in enumerate(recommended, start=1):
        assert not set(titles) & set(ratings.loc[ratings["userId"] == user, "title"])


def test_every_user_gets_ten_distinct_titles(model: SimilarTitles) -> None:
    recommended = model.predict(users(*range(1, 31), NOBODY))

    assert recommended.shape == (31, 10)
    assert all(len(set(titles)) == 10 and all(titles) for titles in recommended)


def test_an_unknown_user_gets_the_most_rated_titles(
    model: SimilarTitles, ratings: pd.DataFrame
) -> None:
    counts = ratings["title"].value_counts()

    titles = model.predict(users(NOBODY))[0]

    assert list(counts[titles]) == sorted(counts, reverse=True)[:10]


def test_a_user_gets_the_same_titles_alone_and_in_a_batch(model: SimilarTitles) -> None:
    ids = [*range(30, 0, -1), NOBODY, 3, 3]

    alone = np.vstack([model.predict(users(user)) for user in ids])

    assert np.array_equal(model.predict(users(*ids)), alone)


def test_it_comes_back_from_skops_with_the_same_titles(model: SimilarTitles) -> None:
    loaded = skops.io.loads(
        skops.io.dumps(model), trusted=[*TRUSTED_TYPES, "scipy.sparse._csr.csr_array"]
    )

    everyone = users(*range(1, 31), NOBODY)
    assert np.array_equal(loaded.predict(everyone), model.predict(everyone))


def test_scores_are_those_of_regressing_titles_on_titles(model: SimilarTitles) -> None:
    preferences = (model.ratings_.toarray() / 5) ** model.rating_power
    inverse = np.linalg.inv(preferences.T @ preferences + model.shrinkage * np.eye(40))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)

    scores = model._scores(np.arange(30))

    unrated = preferences[:30] == 0
    np.testing.assert_allclose(scores[unrated], (preferences[:30] @ weights)[unrated])


def test_who_has_rated_nearly_everything_gets_empty_texts_at_the_end() -> None:
    table = pd.DataFrame({"userId": [1, 1, 2], "title": ["A", "B", "C"]})

    titles = PopularTitles(n_titles=2).fit(table, [5.0, 4.0, 3.0]).predict(users(1, 2))

    assert titles.tolist() == [["C", ""], ["A", "B"]]


@pytest.mark.parametrize(
    ("user", "message"),
    [(float("nan"), "NaN"), (float("inf"), "infinity"), ("somebody", "could not convert")],
)
def test_a_user_id_that_is_no_number_is_refused(
    model: SimilarTitles, user: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(pd.DataFrame({"userId": [1, user]}))


@pytest.mark.parametrize(
    ("title", "message"), [("A", "twice"), (None, "no title"), ("B", "fewer than 3")]
)
def test_ratings_that_make_no_sense_are_refused(title: str | None, message: str) -> None:
    table = pd.DataFrame({"userId": [1, 1], "title": ["A", title]})

    with pytest.raises(ValueError, match=message):
        PopularTitles(n_titles=3).fit(table, [5.0, 4.0])
