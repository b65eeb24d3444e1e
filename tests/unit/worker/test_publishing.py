"""What `publish` learns of a model and its sample, and how it is put in place."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shared.errors import ManifestError, ModelNotFoundError, PublishError
from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import ModelRepository, file_sha256
from shared.signature import Dtype, Feature, OutputKind
from tests.onnx_graphs import identity
from worker.onnx_model import OnnxModel
from worker.publishing import publish
from worker.signature_learning import MAX_CATEGORIES, learn_signature

X = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
PEOPLE = pd.DataFrame(
    {
        "age": [20, 50, 30, 40],
        "height": [1.5, 2.0, 1.75, 1.6],
        "city": ["Kiel", "Bonn", "Ulm", "Bonn"],
        "member": [True, False, False, True],
    }
)


class Lenient(BaseEstimator):
    """Takes whatever it gets and always predicts the same."""

    def __init__(self, answer: Any = 1.0) -> None:
        self.answer = answer
        self.feature_names_in_ = np.array([])

    def predict(self, X: pd.DataFrame) -> Any:
        return np.array([self.answer] * len(X))


def people_model(*, unseen: str = "error") -> Pipeline:
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown=unseen), ["city"]), remainder="passthrough"
    )
    return make_pipeline(encoder, LinearRegression()).fit(PEOPLE, [1.0, 2.0, 3.0, 4.0])


def feature(sample: pd.DataFrame, name: str, *, estimator: Any = None) -> Feature:
    """What is learned of one column."""
    signature = learn_signature(estimator or Lenient(), sample)
    return next(f for f in signature.features if f.name == name)


def publish_line(repository: Path, *, slope: float = 10.0, **options: Any) -> Manifest:
    estimator = LinearRegression().fit(X, X["x"] * slope)
    return publish(estimator, name="line", sample=X, repository=repository, **options)


def files_of(repository: Path) -> set[str]:
    return {path.name for path in repository.rglob("*")}


# --- features


def test_dtypes_bounds_categories_and_examples_are_learned() -> None:
    features = learn_signature(people_model(), PEOPLE).features

    assert [f.name for f in features] == ["age", "height", "city", "member"]
    assert [f.dtype for f in features] == [Dtype.INT, Dtype.FLOAT, Dtype.STRING, Dtype.BOOL]
    assert [(f.minimum, f.maximum) for f in features[:2]] == [(20, 50), (1.5, 2.0)]
    assert features[2].categories == ("Bonn", "Kiel", "Ulm")
    assert [f.example for f in features] == [20, 1.5, "Kiel", True]


@pytest.mark.parametrize(("unseen", "expected"), [("error", False), ("ignore", True)])
def test_whether_unseen_categories_are_taken_is_tried(unseen: str, *, expected: bool) -> None:
    city = feature(PEOPLE, "city", estimator=people_model(unseen=unseen))

    assert city.accepts_unseen is expected


def test_whether_missing_values_are_taken_is_tried_column_by_column() -> None:
    nullable = {f.name: f.nullable for f in learn_signature(people_model(), PEOPLE).features}
    lenient = [f.nullable for f in learn_signature(Lenient(), PEOPLE).features]

    assert not any(nullable.values())
    assert lenient == [True] * 4


def test_gaps_in_the_sample_are_in_no_bound_and_no_category() -> None:
    sample = pd.DataFrame({"n": [np.nan, 2.0, 1.0], "s": [None, "b", "a"]})

    n, s = feature(sample, "n"), feature(sample, "s")

    assert (n.minimum, n.maximum, n.example) == (1, 2, 2)
    assert (s.categories, s.example) == (("a", "b"), "b")


def test_gaps_change_no_type() -> None:
    sample = pd.DataFrame({"b": [True, None, False], "s": [None, "b", "a"]}, dtype=object)

    assert [feature(sample, name).dtype for name in ("b", "s")] == [Dtype.BOOL, Dtype.STRING]


def test_a_text_column_with_too_many_values_is_free_text() -> None:
    few = pd.DataFrame({"s": [f"v{i}" for i in range(MAX_CATEGORIES)]})
    many = pd.DataFrame({"s": [f"v{i}" for i in range(MAX_CATEGORIES + 1)]})

    assert len(feature(few, "s").categories or ()) == MAX_CATEGORIES
    assert feature(many, "s").categories is None


def test_columns_without_names_are_named_by_their_position() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    estimator = LinearRegression().fit(values, [1.0, 2.0, 3.0])

    signature = learn_signature(estimator, pd.DataFrame(values))

    assert signature.feature_names == ("0", "1")


# --- outputs


@pytest.mark.parametrize(
    ("answer", "dtype"),
    [(1.5, Dtype.FLOAT), (1, Dtype.INT), (True, Dtype.BOOL), ("yes", Dtype.STRING)],
)
def test_the_type_of_a_prediction_is_that_of_its_values(answer: Any, dtype: Dtype) -> None:
    outputs = learn_signature(Lenient(answer), X).outputs

    assert [(o.name, o.dtype) for o in outputs[OutputKind.PREDICT]] == [("prediction", dtype)]


def test_a_classifier_offers_a_probability_for_each_class() -> None:
    classifier = LogisticRegression().fit(X, ["no", "yes", "yes"])

    outputs = learn_signature(classifier, X).outputs

    assert [o.name for o in outputs[OutputKind.PREDICT_PROBA]] == ["proba_no", "proba_yes"]


def test_several_outputs_are_columns_of_their_own() -> None:
    estimator = LinearRegression().fit(X, [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])

    numbered = learn_signature(estimator, X).outputs[OutputKind.PREDICT]
    named = learn_signature(estimator, X, output_names=["low", "high"]).outputs[OutputKind.PREDICT]

    assert [column.name for column in numbered] == ["prediction_1", "prediction_2"]
    assert [column.name for column in named] == ["low", "high"]


def test_a_classifier_of_several_outputs_offers_the_probabilities_of_each() -> None:
    targets = [[0, 1], [1, 0], [1, 1]]
    classifier = RandomForestClassifier(n_estimators=2, random_state=0).fit(X, targets)

    outputs = learn_signature(classifier, X, output_names=["b", "c"]).outputs

    names = [column.name for column in outputs[OutputKind.PREDICT_PROBA]]
    assert names == ["proba_b_0", "proba_b_1", "proba_c_0", "proba_c_1"]


# --- refusals


@pytest.mark.parametrize(
    ("sample", "options", "message"),
    [
        (X[:0], {}, "sample is empty"),
        (X.rename(columns={"x": "y"}), {}, "can't score its sample"),
        (X.assign(x=np.nan), {}, "can't score its sample"),
        (X, {"output_names": ["a", "b"]}, "2 output names for 1"),
        (X, {"output_names": ["error"]}, "must differ"),
    ],
)
def test_what_can_not_be_served_is_not_published(
    tmp_path: Path, sample: pd.DataFrame, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PublishError, match=message):
        publish_line_with(tmp_path, sample, **options)

    assert files_of(tmp_path) == set()


def publish_line_with(repository: Path, sample: pd.DataFrame, **options: Any) -> Manifest:
    estimator = LinearRegression().fit(X, [10.0, 20.0, 30.0])
    return publish(estimator, name="line", sample=sample, repository=repository, **options)


def test_without_a_repository_nothing_is_written_to_some_other_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PublishError, match="root of the project"):
        publish(LinearRegression().fit(X, [10.0, 20.0, 30.0]), name="line", sample=X)

    assert files_of(tmp_path) == set()


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(PublishError, match="same name"):
        learn_signature(Lenient(), pd.concat([X, X], axis="columns"))


def test_a_column_that_is_empty_in_the_whole_sample_is_refused_by_name() -> None:
    with pytest.raises(PublishError, match="'gap'"):
        learn_signature(Lenient(), X.assign(gap=np.nan))


@pytest.mark.parametrize("name", ["", "Line", "a/b", "../a", ".a", "a" * 65, "line:1"])
def test_a_name_that_is_no_directory_name_is_refused(tmp_path: Path, name: str) -> None:
    estimator = LinearRegression().fit(X, [10.0, 20.0, 30.0])

    with pytest.raises(PublishError):
        publish(estimator, name=name, sample=X, repository=tmp_path)

    assert files_of(tmp_path) == set()


# --- in place


def test_the_manifest_tells_all_about_the_version(tmp_path: Path) -> None:
    manifest = publish_line(tmp_path, description="A line.", metrics={"r2": 1.0})

    assert ModelRepository(tmp_path).resolve("line:1") == manifest
    path = ModelRepository(tmp_path).artifact_path(manifest)
    assert manifest.artifact.sha256 == file_sha256(path)
    assert manifest.artifact.bytes == path.stat().st_size
    assert (manifest.description, manifest.metrics) == ("A line.", {"r2": 1.0})
    assert {"python", "scikit-learn", "skops"} <= set(manifest.libraries)


def test_a_graph_is_published_as_it_is(tmp_path: Path) -> None:
    data = identity(shape=("rows", 1))

    manifest = publish(OnnxModel(data), name="graph", sample=X, repository=tmp_path)

    assert manifest.artifact.format is ArtifactFormat.ONNX
    assert ModelRepository(tmp_path).artifact_path(manifest).read_bytes() == data
    assert manifest.artifact.file == "model.onnx"
    assert manifest.fingerprint == manifest.artifact.sha256
    assert set(manifest.libraries) == {"python", "onnxruntime", "numpy", "pandas"}


def test_an_estimator_is_not_published_as_a_graph(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="LinearRegression is no ONNX graph"):
        publish_line(tmp_path, artifact_format=ArtifactFormat.ONNX)

    assert ModelRepository(tmp_path).names() == []


def test_versions_count_up_and_older_ones_stay_as_they_are(tmp_path: Path) -> None:
    before = publish_line(tmp_path)

    slopes = range(1, 11)
    versions = [before.version, *(publish_line(tmp_path, slope=n).version for n in slopes)]

    repository = ModelRepository(tmp_path)
    assert versions == repository.versions("line") == [str(n) for n in range(1, 12)]
    assert repository.resolve("line").version == "11"
    assert repository.resolve("line:1") == before


@pytest.mark.parametrize("artifact_format", [ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB])
def test_the_same_model_is_published_once(tmp_path: Path, artifact_format: ArtifactFormat) -> None:
    first = publish_line(tmp_path, artifact_format=artifact_format)

    assert publish_line(tmp_path, artifact_format=artifact_format) == first
    assert ModelRepository(tmp_path).versions("line") == ["1"]


@pytest.mark.parametrize("artifact_format", [ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB])
def test_the_same_model_is_stamped_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact_format: ArtifactFormat
) -> None:
    publish_line(tmp_path, artifact_format=artifact_format)
    keys = ["secret", "secret", "", "other"]
    versions = []
    for key in keys:
        monkeypatch.setenv("ROWMILL_TRUST_KEY", key)
        versions.append(publish_line(tmp_path, artifact_format=artifact_format).version)

    assert versions == ["2", "2", "2", "3"]


@pytest.mark.parametrize(
    "change",
    [
        {"slope": 2.0},
        {"metrics": {"r2": 1.0}},
        {"description": "A line."},
        {"output_names": ["y"]},
        {"artifact_format": ArtifactFormat.JOBLIB},
    ],
)
def test_what_differs_in_anything_is_another_version(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    publish_line(tmp_path)

    assert publish_line(tmp_path, **change).version == "2"


def test_the_model_of_an_older_version_can_be_the_newest_again(tmp_path: Path) -> None:
    slopes = [1.0, 2.0, 1.0]

    assert [publish_line(tmp_path, slope=slope).version for slope in slopes] == ["1", "2", "3"]


def test_publishing_at_the_same_time_gives_every_model_a_version_of_its_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        manifests = list(pool.map(lambda slope: publish_line(tmp_path, slope=slope), range(12)))

    versions = sorted(int(manifest.version) for manifest in manifests)
    assert versions == list(range(1, 13))
    assert files_of(tmp_path) == {"line", "manifest.json", "model.skops", *map(str, versions)}


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    publish_line(tmp_path)

    class Unwritable(Lenient):
        def __getstate__(self) -> dict[str, Any]:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        publish(Unwritable(), name="line", sample=X, repository=tmp_path)

    assert files_of(tmp_path) == {"line", "1", "manifest.json", "model.skops"}


def test_a_directory_that_is_no_version_is_no_version(tmp_path: Path) -> None:
    publish_line(tmp_path)
    for name in ("2", "3.5", "x", ".publishing-1", "0123456789"):
        (tmp_path / "line" / name).mkdir()
    (tmp_path / "line" / "x" / "manifest.json").write_text("{}")
    (tmp_path / "line" / ".publishing-1" / "manifest.json").write_text("{}")

    repository = ModelRepository(tmp_path)
    assert repository.versions("line") == ["1"]
    assert publish_line(tmp_path, slope=2).version == "3"


def spoiled(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text(""),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("[]"),
        spoiled(lambda document: document.pop("signature")),
        spoiled(lambda document: document.update(surprise=1)),
        spoiled(lambda document: document.update(version="2")),
    ],
)
def test_a_broken_manifest_keeps_no_other_model_from_being_served(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    publish_line(tmp_path)
    publish(Lenient(), name="other", sample=X, repository=tmp_path, trusted_types=TRUSTED)
    spoil(tmp_path / "line" / "1" / "manifest.json")

    repository = ModelRepository(tmp_path)
    assert repository.resolve("other").version == "1"
    with pytest.raises(ManifestError, match="line/1"):
        repository.resolve("line")


TRUSTED = [f"{Lenient.__module__}.{Lenient.__name__}"]


@pytest.mark.parametrize("reference", ["no", "line:7", "line:", "Line", "../line", "", "line:1:2"])
def test_a_reference_to_nothing_says_what_there_is(tmp_path: Path, reference: str) -> None:
    publish_line(tmp_path)

    with pytest.raises(ModelNotFoundError, match=r"line|name:version|1"):
        ModelRepository(tmp_path).resolve(reference)


def test_a_repository_that_is_not_there_is_empty(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "nowhere")

    assert repository.names() == []


def test_a_model_that_works_in_place_leaves_the_sample_as_it_was() -> None:
    sample = pd.DataFrame(np.arange(8.0).reshape(4, 2), columns=["a", "b"])
    model = make_pipeline(StandardScaler(copy=False), LinearRegression())
    model.fit(sample.copy(), range(4))
    before = sample.copy()

    signature = learn_signature(model, sample)

    assert sample.equals(before)
    assert (signature.features[0].minimum, signature.features[0].maximum) == (0, 6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_metric_that_no_manifest_can_hold_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(PublishError, match=r"The metric 'r2' is (nan|inf)"):
        publish_line(tmp_path, metrics={"r2": value})

    assert files_of(tmp_path) == set()
