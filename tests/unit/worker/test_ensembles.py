"""An ensemble predicts what its members' predictions make by hand, or says why it can't."""

import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shared.errors import ManifestError, ModelLoadError, ModelNotFoundError, PublishError
from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import ModelRepository, file_sha256
from shared.signature import OutputKind
from tests.estimators import Describing
from worker.ensemble_model import majority, mean, median, shares
from worker.ensembles import MAX_MODELS, publish_ensemble
from worker.model_loader import ModelLoader
from worker.predictor import Predictor
from worker.publishing import publish

TREES = [f"tree-{seed}" for seed in range(9)]
CLASSIFIERS = ["by-a", "by-b", "bayes"]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, numbers: pd.DataFrame
) -> Path:
    """A repository of members: regressors, and classifiers of texts."""
    home = tmp_path_factory.mktemp("members")
    for name in ("forest", "linear", "boosted"):
        shutil.copytree(models_dir / name, home / name)
    ab = numbers[["a", "b"]]
    for seed, name in enumerate(TREES):
        tree = DecisionTreeRegressor(max_depth=5, random_state=seed)
        noise = np.random.default_rng(seed).normal(size=len(ab))
        publish(tree.fit(ab, ab["a"] + noise), name=name, sample=ab,
                repository=home)  # fmt: skip
    kind = species(ab)
    for name, model, columns in [
        ("by-a", DecisionTreeClassifier(max_depth=2, random_state=0), ["a"]),
        ("by-b", DecisionTreeClassifier(max_depth=2, random_state=0), ["b"]),
        ("bayes", GaussianNB(), ["b", "a"]),
        ("ridge", RidgeClassifier(), ["a", "b"]),
    ]:
        X = ab[columns]
        publish(model.fit(X, kind), name=name, sample=X, repository=home)
    return home


@pytest.fixture
def repository(trained: Path, tmp_path: Path) -> Path:
    """A copy to publish into, and to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "models"))


@pytest.fixture(scope="module")
def complete(numbers: pd.DataFrame) -> pd.DataFrame:
    """The rows without gaps, laid out in memory as the table reader gives them."""
    return as_read(numbers.dropna())


def as_read(table: pd.DataFrame) -> pd.DataFrame:
    """A table in which each column has its own memory: last bits depend on it."""
    return pd.DataFrame({name: table[name].to_numpy(copy=True) for name in table}, copy=False)


def species(table: pd.DataFrame) -> np.ndarray:
    """A text for each row, which depends on `a` and `b`."""
    return np.select([table["a"] > 0.5, table["b"] > 0], ["lynx", "bear"], "elk")


def open_version(repository: Path, reference: str) -> Predictor:
    models = ModelRepository(repository)
    return ModelLoader(models, allow_pickle=False).load(models.resolve(reference))


def combined(repository: Path, members: Sequence[str], combination: str, **rest: Any) -> Manifest:
    options = {"name": "both", "combination": combination, "repository": repository}
    return publish_ensemble(members, **options | rest)


def answer(repository: Path, reference: str, X: pd.DataFrame, output: str = "predict") -> Any:
    """What a version answers to its own features of all rows: one array a column."""
    predictor = open_version(repository, reference)
    rows = X[list(predictor.manifest.signature.feature_names)]
    prediction = predictor.predict(rows, OutputKind(output))
    assert prediction.refusals == []
    return prediction.columns


def answers(repository: Path, members: Sequence[str], X: pd.DataFrame) -> np.ndarray:
    """What each member predicts, one row a member."""
    return np.stack([answer(repository, member, X)[0] for member in members])


def output_names(manifest: Manifest) -> dict[str, list[str]]:
    outputs = manifest.signature.outputs
    return {str(kind): [column.name for column in columns] for kind, columns in outputs.items()}


def publish_city(repository: Path, name: str, cities: Sequence[str], *, unseen: str) -> Manifest:
    """A regressor of `city` that refuses other cities, or not."""
    X = pd.DataFrame({"city": list(cities)})
    encoder = make_column_transformer((OneHotEncoder(handle_unknown=unseen), ["city"]))
    model = make_pipeline(encoder, LinearRegression()).fit(X, np.arange(len(X), dtype=float))
    return publish(model, name=name, sample=X, repository=repository)


def publish_constant(repository: Path, name: str, value: Any, *others: Any) -> Manifest:
    """A classifier of `a` that says the same of every row, and knows other classes."""
    X = pd.DataFrame({"a": [float(i) for i in range(1 + len(others))]})
    model = DummyClassifier(strategy="constant", constant=[value]).fit(X, [value, *others])
    return publish(model, name=name, sample=X, repository=repository)


# --- means and medians


@pytest.mark.parametrize(("combination", "by_numpy"), [("mean", np.mean), ("median", np.median)])
@pytest.mark.parametrize("members", [["forest", "linear"], ["linear", "forest", *TREES]])
def test_numbers_are_combined_as_numpy_would_to_the_last_bit(
    repository: Path, complete: pd.DataFrame, members: list[str], combination: str, by_numpy: Any
) -> None:
    manifest = combined(repository, members, combination)

    (found,) = answer(repository, "both", complete)
    assert np.array_equal(found, by_numpy(answers(repository, members, complete), axis=0))
    assert output_names(manifest) == {"predict": ["prediction"]}


@pytest.mark.parametrize("combination", ["mean", "median"])
def test_probabilities_of_the_same_classes_are_combined_and_add_up_to_one(
    repository: Path, complete: pd.DataFrame, combination: str
) -> None:
    manifest = combined(repository, CLASSIFIERS, combination)

    found = np.column_stack(answer(repository, "both", complete, "predict_proba"))
    each = [answer(repository, name, complete, "predict_proba") for name in CLASSIFIERS]
    middle = getattr(np, combination)(each, axis=0).T
    expected = middle / middle.sum(axis=1, keepdims=True)
    # Texts have no mean, so there is no `predict`.
    assert output_names(manifest) == {"predict_proba": ["proba_bear", "proba_elk", "proba_lynx"]}
    assert found == pytest.approx(expected)
    assert found.sum(axis=1) == pytest.approx(1)


def test_a_median_of_probabilities_that_are_all_zero_is_the_mean(repository: Path) -> None:
    for name, own, *others in [("x", "a", "b", "c"), ("y", "b", "a", "c"), ("z", "c", "a", "b")]:
        publish_constant(repository, name, own, *others)
    combined(repository, ["x", "y", "z"], "median")

    found = answer(repository, "both", pd.DataFrame({"a": [1.0]}), "predict_proba")

    assert np.ravel(found).tolist() == pytest.approx([1 / 3] * 3)


def test_probabilities_are_matched_by_class_and_not_by_place(
    repository: Path, complete: pd.DataFrame
) -> None:
    # As a model of another origin might name them.
    swap_classes(repository, "bayes")
    combined(repository, ["by-b", "bayes"], "mean")

    found = answer(repository, "both", complete, "predict_proba")

    bear, elk, lynx = answer(repository, "by-b", complete, "predict_proba")
    elk_2, bear_2, lynx_2 = answer(repository, "bayes", complete, "predict_proba")
    expected = [(bear + bear_2) / 2, (elk + elk_2) / 2, (lynx + lynx_2) / 2]
    assert np.array_equal(found, expected)


def swap_classes(repository: Path, name: str) -> None:
    """Say in the manifest that the first two columns of probabilities are each other."""
    path = repository / name / "1" / "manifest.json"
    document = json.loads(path.read_text())
    columns = document["signature"]["outputs"]["predict_proba"]
    columns[:2] = reversed(columns[:2])
    path.write_text(json.dumps(document))


def test_a_mean_of_many_does_not_depend_on_the_number_of_rows() -> None:
    columns = list(np.random.default_rng(0).normal(size=(MAX_MODELS, 200)))

    one_by_one = [mean([column[[row]] for column in columns])[0] for row in range(200)]

    assert np.array_equal(mean(columns), one_by_one)


def test_a_prediction_that_is_no_number_makes_the_combined_one_none() -> None:
    columns = [np.array([1.0, np.nan]), np.array([2, 2])]

    assert np.array_equal(mean(columns), [1.5, np.nan], equal_nan=True)
    assert np.array_equal(median(columns), [1.5, np.nan], equal_nan=True)


# --- votes


def test_a_vote_gives_the_class_that_most_members_predict_and_the_shares_of_all(
    repository: Path, complete: pd.DataFrame
) -> None:
    manifest = combined(repository, CLASSIFIERS, "vote")

    (found,) = answer(repository, "both", complete)
    shares_ = np.column_stack(answer(repository, "both", complete, "predict_proba"))
    votes = answers(repository, CLASSIFIERS, complete)
    assert found.tolist() == [most_frequent(row) for row in votes.T.tolist()]
    classes = ["bear", "elk", "lynx"]
    assert output_names(manifest)["predict_proba"] == [f"proba_{name}" for name in classes]
    expected = [[row.count(name) / 3 for name in classes] for row in votes.T.tolist()]
    assert np.array_equal(shares_, expected)


def most_frequent(votes: list[str]) -> str:
    """The first of the most frequent."""
    return max(votes, key=votes.count)


def test_a_tie_goes_to_the_member_that_is_named_first() -> None:
    votes = [
        ["a", "b", "c", "a"],
        ["b", "a", "b", "bb"],
        ["b", "c", "b", "c"],
        ["a", "c", "a", "d"],
    ]

    assert majority([np.array(vote) for vote in votes]).tolist() == ["a", "c", "b", "a"]


def test_the_order_of_the_members_decides_a_tie(repository: Path) -> None:
    publish_constant(repository, "says-yes", "yes", "no")
    publish_constant(repository, "says-no", "no", "yes")
    rows = pd.DataFrame({"a": [1.0, 2.0]})

    combined(repository, ["says-yes", "says-no"], "vote", name="one")
    combined(repository, ["says-no", "says-yes"], "vote", name="other")

    assert answer(repository, "one", rows)[0].tolist() == ["yes", "yes"]
    assert answer(repository, "other", rows)[0].tolist() == ["no", "no"]


@pytest.mark.parametrize("classes", [(1, 0), (True, False), (1.0, 2.0), ("x", "longer")])
def test_classes_of_every_type_can_be_voted_on(repository: Path, classes: tuple[Any, Any]) -> None:
    publish_constant(repository, "first", *classes)
    publish_constant(repository, "second", *reversed(classes))
    manifest = combined(repository, ["first", "second"], "vote")
    rows = pd.DataFrame({"a": [1.0]})

    assert answer(repository, "both", rows)[0].tolist() == [classes[0]]
    assert np.ravel(answer(repository, "both", rows, "predict_proba")).tolist() == [0.5, 0.5]
    names = {f"proba_{label}" for label in classes}
    assert set(output_names(manifest)["predict_proba"]) == names


def test_a_class_that_one_member_does_not_know_is_a_column_all_the_same(repository: Path) -> None:
    publish_constant(repository, "two", "a", "b")
    publish_constant(repository, "three", "a", "c", "d")

    manifest = combined(repository, ["two", "three"], "vote")

    expected = ["proba_a", "proba_b", "proba_c", "proba_d"]
    assert output_names(manifest)["predict_proba"] == expected
    found = answer(repository, "both", pd.DataFrame({"a": [1.0]}), "predict_proba")
    assert np.ravel(found).tolist() == [1, 0, 0, 0]


def test_shares_of_a_vote_for_a_class_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="'z'"):
        shares([np.array(["a", "z"])], ["a", "b"])


def test_without_the_classes_of_all_members_a_vote_has_no_shares(repository: Path) -> None:
    assert output_names(combined(repository, ["by-a", "ridge"], "vote")).keys() == {"predict"}


# --- stacks


def publish_final(repository: Path, members: Sequence[str], complete: pd.DataFrame) -> Manifest:
    """A line through what the members predict; its features are in another order than they."""
    names = list(reversed(members))
    X = pd.DataFrame(dict(zip(members, answers(repository, members, complete), strict=True)))[names]
    model = LinearRegression().fit(X, complete["a"] + complete["b"])
    return publish(model, name="final", sample=X, repository=repository)


def test_a_stack_gives_what_its_final_model_makes_of_the_predictions(
    repository: Path, complete: pd.DataFrame
) -> None:
    members = ["forest", "linear", "tree-4"]
    publish_final(repository, members, complete)
    manifest = combined(repository, members, "stack", final="final")

    (found,) = answer(repository, "both", complete)
    by_name = dict(zip(members, answers(repository, members, complete), strict=True))
    assert np.array_equal(found, answer(repository, "final", pd.DataFrame(by_name))[0])
    assert output_names(manifest) == {"predict": ["prediction"]}


def test_a_stack_of_classifiers_offers_all_that_its_final_model_does(
    repository: Path, complete: pd.DataFrame
) -> None:
    members = ["by-a", "by-b"]
    X = pd.DataFrame(dict(zip(members, answers(repository, members, complete), strict=True)))
    encoder = make_column_transformer((OneHotEncoder(), members))
    model = make_pipeline(encoder, LogisticRegression()).fit(X, species(complete))
    publish(model, name="final", sample=X, repository=repository)

    manifest = combined(repository, members, "stack", final="final")

    assert output_names(manifest).keys() == {"predict", "predict_proba", "decision_function"}
    for output in output_names(manifest):
        found = answer(repository, "both", complete, output)
        assert np.array_equal(found, answer(repository, "final", X, output)), output


def test_two_versions_of_one_model_are_told_apart_in_a_stack(
    repository: Path, complete: pd.DataFrame
) -> None:
    shutil.copytree(repository / "tree-3" / "1", repository / "tree-4" / "2")
    rename(repository / "tree-4" / "2", "tree-4", "2")
    X = pd.DataFrame({"tree-4_1": [1.0, 2.0, 4.0], "tree-4_2": [1.0, 3.0, 1.0]})
    publish(LinearRegression().fit(X, [1.0, 2.0, 3.0]), name="final", sample=X,
            repository=repository)  # fmt: skip

    combined(repository, ["tree-4:1", "tree-4:2"], "stack", final="final")

    inner = answers(repository, ["tree-4:1", "tree-4:2"], complete)
    expected = answer(repository, "final", pd.DataFrame(dict(zip(X.columns, inner, strict=True))))
    assert np.array_equal(answer(repository, "both", complete)[0], expected[0])


def rename(version: Path, name: str, number: str) -> None:
    document = json.loads((version / "manifest.json").read_text())
    (version / "manifest.json").write_text(json.dumps(document | {"name": name, "version": number}))


def test_a_stack_keeps_texts_and_numbers_apart(repository: Path, complete: pd.DataFrame) -> None:
    X = pd.DataFrame({"by-a": ["lynx", "elk"]})
    publish(Describing().fit(X), name="final", sample=X, repository=repository,
            trusted_types=["tests.estimators.Describing"])  # fmt: skip
    combined(repository, ["by-a"], "stack", final="final")

    texts, numbers_ = answer(repository, "both", complete)

    expected = [f"a {name}" for name in answer(repository, "by-a", complete)[0]]
    assert texts.tolist() == expected
    assert numbers_.tolist() == [len(text) / 10 for text in expected]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame({"forest": [1.0, 2.0]}), "'final/1' takes 'forest'.*'forest', 'linear'"),
        (pd.DataFrame({"forest": [1.0, 2], "linear": [1.0, 2], "x": [0.0, 1]}), "must take"),
        (pd.DataFrame({"forest": [1.0, 2.0], "linear": [1, 2]}), "int64 in 'linear'"),
    ],
)
def test_a_final_model_that_does_not_take_the_predictions_is_refused(
    repository: Path, X: pd.DataFrame, message: str
) -> None:
    publish(LinearRegression().fit(X, [1.0, 2.0]), name="final", sample=X, repository=repository)

    with pytest.raises(PublishError, match=message):
        combined(repository, ["forest", "linear"], "stack", final="final")


# --- what an ensemble takes


def test_the_features_are_those_of_all_members_in_order_of_first_appearance(
    repository: Path,
) -> None:
    manifest = combined(repository, ["linear", "forest"], "mean")

    a, b, c = manifest.signature.features
    forest = ModelRepository(repository).resolve("forest").signature.features
    assert [f.name for f in (a, b, c)] == ["a", "b", "c"]
    # The forest takes gaps everywhere, the linear model nowhere.
    assert [f.nullable for f in (a, b, c)] == [False, False, True]
    assert c == forest[2]


def test_each_member_gets_its_features_in_its_own_order(
    repository: Path, complete: pd.DataFrame
) -> None:
    manifest = combined(repository, ["ridge", "bayes"], "vote")

    assert manifest.signature.feature_names == ("a", "b")
    # Of two who disagree the first is right; so the second must be asked, too, to be told apart.
    combined(repository, ["bayes", "ridge"], "vote", name="other")
    assert np.array_equal(
        answer(repository, "both", complete)[0], answers(repository, ["ridge"], complete)[0]
    )
    assert np.array_equal(
        answer(repository, "other", complete)[0], answers(repository, ["bayes"], complete)[0]
    )


def test_a_gap_in_a_feature_reaches_the_members_that_take_it(
    repository: Path, numbers: pd.DataFrame
) -> None:
    combined(repository, ["forest", "linear"], "mean")

    rows = as_read(numbers)

    (found,) = answer(repository, "both", rows)

    assert rows["c"].isna().any()
    assert np.array_equal(found, answers(repository, ["forest", "linear"], rows).mean(axis=0))


def test_bounds_are_the_widest(repository: Path) -> None:
    for name, low, high in [("low", -5.0, 1.0), ("high", 0.0, 9.0)]:
        X = pd.DataFrame({"x": [low, high]})
        publish(LinearRegression().fit(X, X["x"]), name=name, sample=X, repository=repository)

    (x,) = combined(repository, ["low", "high"], "mean").signature.features

    assert (x.minimum, x.maximum, x.example) == (-5, 9, -5)


@pytest.mark.parametrize(
    ("unseen", "categories", "accepts_unseen"),
    [
        (("error", "error"), ("Kiel", "Ulm"), False),
        (("error", "ignore"), ("Bonn", "Kiel", "Ulm"), False),
        (("ignore", "error"), ("Jena", "Kiel", "Ulm"), False),
        (("ignore", "ignore"), ("Bonn", "Jena", "Kiel", "Ulm"), True),
    ],
)
def test_a_text_is_taken_if_every_member_takes_it(
    repository: Path, unseen: tuple[str, str], categories: tuple[str, ...], *, accepts_unseen: bool
) -> None:
    publish_city(repository, "one", ["Bonn", "Kiel", "Ulm"], unseen=unseen[0])
    publish_city(repository, "other", ["Jena", "Kiel", "Ulm"], unseen=unseen[1])

    (city,) = combined(repository, ["one", "other"], "mean").signature.features

    assert (city.categories, city.accepts_unseen) == (categories, accepts_unseen)
    assert city.example in categories


def test_texts_of_which_no_member_takes_those_of_another_are_refused(repository: Path) -> None:
    publish_city(repository, "one", ["Bonn"], unseen="error")
    publish_city(repository, "other", ["Jena"], unseen="error")

    with pytest.raises(PublishError, match="'city' has no value that all"):
        combined(repository, ["one", "other"], "mean")


def test_members_that_disagree_on_a_type_are_refused(repository: Path) -> None:
    X = pd.DataFrame({"a": [1, 2]})
    publish(LinearRegression().fit(X, [1.0, 2.0]), name="whole", sample=X, repository=repository)

    with pytest.raises(PublishError, match="'a' is float64 to 'linear/1' and int64 to 'whole/1'"):
        combined(repository, ["linear", "whole"], "mean")


def test_statistics_are_those_of_the_first_member_that_takes_the_feature(repository: Path) -> None:
    models = ModelRepository(repository)

    found = combined(repository, ["linear", "forest"], "mean").statistics

    linear, forest = (models.resolve(name).statistics for name in ("linear", "forest"))
    assert found
    assert linear
    assert forest
    assert found.features == (*linear.features, forest.features[2])
    assert found.rows == 1000


def test_without_statistics_of_all_members_there_are_none(repository: Path) -> None:
    path = repository / "forest" / "1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"statistics": None}))

    assert combined(repository, ["linear", "forest"], "mean").statistics is None


# --- rows


def test_a_row_that_one_member_refuses_costs_no_other_row_its_prediction(
    repository: Path, models_dir: Path
) -> None:
    shutil.copytree(models_dir / "fussy", repository / "fussy")
    shutil.copytree(models_dir / "echo", repository / "echo")
    combined(repository, ["echo", "fussy"], "mean")

    rows = pd.DataFrame({"x": [1.0, -1.0, 2.0]})
    prediction = open_version(repository, "both").predict(rows, OutputKind.PREDICT)

    assert prediction.positions.tolist() == [0, 2]
    assert prediction.columns[0].tolist() == [10, 20]
    (refusal,) = prediction.refusals
    assert (refusal.position, refusal.message) == (1, "ValueError: a value is below zero")


@pytest.fixture(scope="module")
def ensembles(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Predictor]:
    """One of each combination, all of trees: what those predict depends on no other row."""
    home = Path(shutil.copytree(trained, tmp_path_factory.mktemp("ensembles") / "models"))
    combined(home, TREES, "mean", name="mean")
    combined(home, TREES, "median", name="median")
    combined(home, CLASSIFIERS[:2], "vote", name="vote")
    X = pd.DataFrame({"mean": [1.0, 2.0, 3.0], "median": [3.0, 1.0, 2.0]})
    tree = DecisionTreeRegressor().fit(X, [1.0, 2.0, 3.0])
    publish(tree, name="final", sample=X, repository=home)
    combined(home, ["mean", "median"], "stack", final="final", name="stack")
    return [open_version(home, name) for name in ("mean", "median", "vote", "stack")]


@settings(max_examples=25)
@given(data=st.data(), size=st.integers(1, 40))
def test_neither_the_order_of_rows_nor_a_cut_changes_a_bit(
    ensembles: list[Predictor], complete: pd.DataFrame, data: st.DataObject, size: int
) -> None:
    order = data.draw(st.permutations(range(size)))
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, size), max_size=5))), size]
    shuffled = complete.iloc[order]

    for predictor in ensembles:
        for output in predictor.manifest.signature.outputs:
            rows = complete[list(predictor.manifest.signature.feature_names)]
            whole = predictor.predict(rows, output).columns
            pieces = [
                predictor.predict(shuffled[list(rows)].iloc[start:stop], output).columns
                for start, stop in pairwise(cuts)
                if start < stop
            ]
            for column, parts in zip(whole, zip(*pieces, strict=True), strict=True):
                assert np.array_equal(np.concatenate(parts), column[list(order)])


# --- publishing


def test_an_ensemble_is_a_version_like_any_other(repository: Path) -> None:
    combined(repository, ["linear", "forest:1"], "mean")
    manifest = combined(repository, ["linear", "forest:1"], "mean", metrics={"r2": 0.5})

    models = ModelRepository(repository)
    path = models.artifact_path(manifest)
    assert models.resolve("both") == manifest
    assert (manifest.version_id, path.name) == ("both/2", "model.ensemble")
    assert manifest.artifact.format is ArtifactFormat.ENSEMBLE
    assert (manifest.artifact.sha256, manifest.artifact.bytes) == (
        file_sha256(path),
        path.stat().st_size,
    )
    assert manifest.fingerprint == models.resolve("both:1").fingerprint
    assert (manifest.metrics, manifest.description) == ({"r2": 0.5}, "Mean of linear/1, forest/1.")


def test_members_are_pinned_to_the_versions_that_they_are_now(
    repository: Path, complete: pd.DataFrame
) -> None:
    manifest = combined(repository, ["linear", "tree-1"], "mean")
    (before,) = answer(repository, "both", complete)
    X = complete[["a", "b"]]
    publish(LinearRegression().fit(X, X["a"]), name="linear", sample=X, repository=repository)

    models = ModelRepository(repository)
    pinned = [models.resolve(reference) for reference in ("linear:1", "tree-1")]
    assert manifest.ensemble
    assert [(m.name, m.version, m.sha256) for m in manifest.ensemble.members] == [
        (member.name, member.version, member.artifact.sha256) for member in pinned
    ]
    assert np.array_equal(answer(repository, "both", complete)[0], before)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ([], {}, "name at least one"),
        (["linear", "linear:1"], {}, "'linear/1' is named twice"),
        (["linear"], {"combination": "sum"}, "'sum' is no combination; there are mean"),
        (["linear"], {"combination": "stack"}, "needs a final model"),
        (["linear"], {"final": "forest"}, "needs a final model"),
        (["linear", "by-a"], {}, "neither; for classes there is 'vote'"),
        (["linear", "by-a"], {"combination": "vote"}, "hardly ever agree"),
        (["by-a", "boosted"], {"combination": "vote"}, "string and 'boosted/1' bool"),
        (["linear"], {"sample": pd.DataFrame({"a": [1.0]})}, "no column 'b'"),
        (["linear"], {"sample": pd.DataFrame({"a": [np.nan], "b": [1.0]})}, "score its sample"),
        (["linear"], {"sample": pd.DataFrame({"a": ["?"], "b": [1.0]})}, "score its sample"),
        (["pair"], {}, "'pair/1' predicts 2 columns"),
        (["linear"], {"name": "No"}, "can't name a model"),
    ],
)
def test_what_can_not_be_served_is_not_published(
    repository: Path, members: list[str], options: dict[str, Any], message: str
) -> None:
    X = pd.DataFrame({"a": [1.0, 2.0]})
    pair = LinearRegression().fit(X, [[1.0, 2.0], [2.0, 1.0]])
    publish(pair, name="pair", sample=X, repository=repository)
    names = ModelRepository(repository).names()

    with pytest.raises(PublishError, match=message):
        combined(repository, members, **{"combination": "mean"} | options)

    assert sorted(path.name for path in repository.iterdir()) == names


def test_a_row_of_examples_that_can_not_be_scored_asks_for_a_sample(
    repository: Path, models_dir: Path
) -> None:
    shutil.copytree(models_dir / "fussy", repository / "fussy")
    path = repository / "fussy" / "1" / "manifest.json"
    document = json.loads(path.read_text())
    document["signature"]["features"][0]["example"] = -1
    path.write_text(json.dumps(document))

    with pytest.raises(PublishError, match="pass a sample: ValueError: a value is below zero"):
        combined(repository, ["fussy"], "mean")
    assert combined(repository, ["fussy"], "mean", sample=pd.DataFrame({"x": [1.0]}))


def test_a_reference_to_nothing_is_refused(repository: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="'nope'"):
        combined(repository, ["linear", "nope"], "mean")


def test_an_ensemble_of_columns_of_every_type_scores_its_examples(
    repository: Path, models_dir: Path
) -> None:
    shutil.copytree(models_dir / "churn", repository / "churn")

    manifest = combined(repository, ["churn"], "vote")

    assert [str(f.dtype) for f in manifest.signature.features] == ["int64", "string", "bool"]


# --- ensembles of ensembles


def test_an_ensemble_can_be_a_member(repository: Path, complete: pd.DataFrame) -> None:
    combined(repository, ["forest", "linear"], "mean", name="inner")
    combined(repository, ["inner", "tree-4"], "mean")

    forest, linear, tree = answers(repository, ["forest", "linear", "tree-4"], complete)

    expected = ((forest + linear) / 2 + tree) / 2
    assert np.array_equal(answer(repository, "both", complete)[0], expected)


def test_an_ensemble_that_is_too_deep_is_refused(repository: Path) -> None:
    combined(repository, ["linear"], "mean", name="one")
    combined(repository, ["one", "forest"], "mean", name="two")
    combined(repository, ["two"], "mean", name="three")

    with pytest.raises(PublishError, match="4 ensembles would stand on one another, 3 may"):
        combined(repository, ["three"], "mean", name="four")


def test_an_ensemble_of_too_many_models_is_refused_whoever_names_them(repository: Path) -> None:
    for name in ("left", "right"):
        combined(repository, TREES, "mean", name=name)
    others = ["forest", "linear"]
    combined(repository, ["left", "right", *others], "mean")

    with pytest.raises(PublishError, match=f"open {MAX_MODELS + 1} models, {MAX_MODELS} may"):
        combined(repository, ["left", "right", *others, "tree-0"], "mean")


def test_a_member_of_a_member_that_is_gone_is_named(repository: Path) -> None:
    combined(repository, ["linear", "tree-1"], "mean", name="inner")
    combined(repository, ["inner", "forest"], "mean")
    shutil.rmtree(repository / "tree-1")

    with pytest.raises(
        ModelLoadError, match=r"Member 'inner/1' .* Member 'tree-1/1' .* 'tree-1/1'"
    ):
        open_version(repository, "both")
    with pytest.raises(ManifestError, match="'tree-1/1'"):
        combined(repository, ["inner", "forest"], "mean")


# --- opening


@pytest.mark.parametrize("what", ["manifest.json", "model.skops"])
def test_a_member_that_is_gone_is_named(repository: Path, what: str) -> None:
    combined(repository, ["forest", "linear"], "mean")
    (repository / "linear" / "1" / what).unlink()

    with pytest.raises(ModelLoadError, match="Member 'linear/1' can't be opened"):
        open_version(repository, "both")


def test_a_member_that_was_replaced_is_named(repository: Path, complete: pd.DataFrame) -> None:
    combined(repository, ["forest", "linear"], "mean")
    shutil.rmtree(repository / "linear")
    X = complete[["a", "b"]]
    publish(LinearRegression().fit(X, X["a"]), name="linear", sample=X, repository=repository)

    with pytest.raises(ModelLoadError, match=r"Member 'linear/1' .* not the one"):
        open_version(repository, "both")


def test_a_member_whose_artifact_was_changed_is_named(repository: Path) -> None:
    combined(repository, ["forest", "linear"], "mean")
    with (repository / "linear" / "1" / "model.skops").open("ab") as file:
        file.write(b"?")

    with pytest.raises(ModelLoadError, match=r"Member 'linear/1' .* checksum"):
        open_version(repository, "both")


def test_an_artifact_that_was_changed_is_not_opened(repository: Path) -> None:
    manifest = combined(repository, ["forest", "linear"], "mean")
    path = ModelRepository(repository).artifact_path(manifest)
    path.write_text(path.read_text().replace("mean", "median"))

    with pytest.raises(ModelLoadError, match="'both/1' does not have the checksum"):
        open_version(repository, "both")


@pytest.mark.parametrize("content", ["", "[]", '{"members": [], "combination": "mean"}'])
def test_an_artifact_that_is_no_ensemble_is_not_opened(repository: Path, content: str) -> None:
    manifest = combined(repository, ["forest", "linear"], "mean")

    with pytest.raises(ModelLoadError, match="'both/1' can't be opened"):
        open_forged(repository, manifest, content)


def test_an_artifact_that_names_other_members_than_its_manifest_is_not_opened(
    repository: Path,
) -> None:
    manifest = combined(repository, ["forest", "linear"], "mean")
    other = combined(repository, ["linear", "tree-1"], "mean", name="other").ensemble
    assert other

    with pytest.raises(ModelLoadError, match="'both/1' names other members"):
        open_forged(repository, manifest, other.model_dump_json())


def open_forged(repository: Path, manifest: Manifest, content: str) -> Predictor:
    """Open a version with another artifact, for which the manifest vouches."""
    models = ModelRepository(repository)
    path = models.artifact_path(manifest)
    path.write_text(content)
    artifact = manifest.artifact.model_copy(update={"sha256": file_sha256(path)})
    forged = manifest.model_copy(update={"artifact": artifact})
    return ModelLoader(models, allow_pickle=False).load(forged)
