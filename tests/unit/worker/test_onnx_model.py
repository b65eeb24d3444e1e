"""An ONNX graph predicts what the estimator does that it was exported from, and opens nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples.petrol.train import GRID, SEED, load
from shared.errors import ModelLoadError
from shared.signature import OutputKind
from tests.factories import make_manifest
from tests.onnx_graphs import (
    FLOAT,
    exported,
    graph,
    identity,
    largest_difference,
    petrol_network,
)
from worker.onnx_model import OnnxModel
from worker.predictor import Predictor
from worker.signature_learning import learn_signature

ROOT = Path(__file__).parents[3]
RELATIVE = 1e-5

X, CONSUMPTION = load()
LEVELS = pd.cut(CONSUMPTION, 3, labels=["low", "middle", "high"]).astype(str)
PEOPLE = pd.DataFrame(
    {
        "age": [20.0, 30, np.nan, 50],
        "children": [0, 1, 2, 3],
        "city": ["Bonn", "Kiel", "Bonn", "Ulm"],
        "member": [True, False, False, True],
    }
)
PEOPLE_TYPES = {
    "age": FloatTensorType([None, 1]),
    "children": Int64TensorType([None, 1]),
    "city": StringTensorType([None, 1]),
    "member": BooleanTensorType([None, 1]),
}


def states(count: int) -> pd.DataFrame:
    """Rows like those of the petrol table."""
    random = np.random.default_rng(5)
    return pd.DataFrame({c: random.uniform(X[c].min(), X[c].max(), count) for c in X})


def forest(max_features: int = 2) -> RandomForestRegressor:
    """The petrol forest, as one of the two that its search chooses from."""
    estimator = RandomForestRegressor(
        n_estimators=100, max_features=max_features, random_state=SEED
    )
    return estimator.fit(X, CONSUMPTION)


def classifier() -> Pipeline:
    network = MLPClassifier(
        hidden_layer_sizes=(8,), solver="lbfgs", alpha=1.0, max_iter=5000, random_state=SEED
    )
    return make_pipeline(StandardScaler(), network).fit(X, LEVELS)


def people_model(unseen: str = "ignore") -> Pipeline:
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown=unseen), ["city"]),
        (SimpleImputer(), ["age"]),
        (StandardScaler(), ["children"]),
        remainder="passthrough",
    )
    model = make_pipeline(encoder, LogisticRegression())
    return model.fit(PEOPLE, ["stay", "go", "stay", "go"])


def offered(model: OnnxModel, sample: pd.DataFrame) -> dict[str, list[str]]:
    """The columns of each output that a signature would have."""
    outputs = learn_signature(model, sample).outputs
    return {str(kind): [column.name for column in columns] for kind, columns in outputs.items()}


# --- the same predictions


@pytest.mark.parametrize("max_features", GRID["max_features"])
def test_the_petrol_forest_predicts_the_same(max_features: int) -> None:
    estimator = forest(max_features)
    model = OnnxModel(exported(estimator, 4))

    for rows in (X, states(5_000)):
        assert largest_difference(model.predict(rows), estimator.predict(rows)) < RELATIVE


def test_a_forest_turns_the_same_way_at_its_own_thresholds_and_beside_them() -> None:
    # Both take a feature as float32, and the exporter rounds a threshold so that all of them fall
    # on the same side of it.
    estimator = forest()
    nodes = [
        (feature, threshold)
        for tree in (one.tree_ for one in estimator.estimators_)
        for feature, threshold in zip(tree.feature, tree.threshold, strict=True)
        if feature >= 0
    ]
    rows = np.array(states(len(nodes)))
    features, thresholds = (np.array(values) for values in zip(*nodes, strict=True))
    model = OnnxModel(exported(estimator, 4))

    for beside in (-np.inf, 0, np.inf):
        rows[np.arange(len(nodes)), features] = (
            np.nextafter(thresholds.astype(np.float32), np.float32(beside))
            if beside
            else thresholds
        )
        expected = estimator.predict(pd.DataFrame(rows, columns=X.columns))
        assert largest_difference(model.predict(rows), expected) < RELATIVE


def test_a_forest_predicts_the_same_in_batches_of_every_size() -> None:
    model = OnnxModel(exported(forest(), 4))
    rows = states(300)

    one_by_one = [model.predict(rows.iloc[[row]])[0] for row in range(len(rows))]

    assert np.array_equal(one_by_one, model.predict(rows))


@pytest.mark.parametrize("type_", [FloatTensorType, DoubleTensorType])
def test_a_network_predicts_the_same_for_its_table(type_: Any) -> None:
    estimator, _ = petrol_network()
    model = OnnxModel(exported(estimator, {"X": type_([None, 4])}))

    assert largest_difference(model.predict(X), estimator.predict(X)) < RELATIVE


def test_a_network_predicts_the_same_for_any_rows_if_it_was_exported_with_doubles() -> None:
    estimator, _ = petrol_network()
    rows = states(5_000)
    doubles = OnnxModel(exported(estimator, {"X": DoubleTensorType([None, 4])}))
    floats = OnnxModel(exported(estimator, 4))

    expected = estimator.predict(rows)

    assert largest_difference(doubles.predict(rows), expected) < RELATIVE
    # With floats, too, but for sums that nearly cancel out: of the largest prediction.
    assert np.abs(floats.predict(rows) - expected).max() < RELATIVE * np.abs(expected).max()


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_a_network_that_classifies_gives_the_same_labels_and_probabilities(zipmap: object) -> None:
    estimator = classifier()
    model = OnnxModel(exported(estimator, 4, zipmap=zipmap))

    assert model.predict(X).tolist() == estimator.predict(X).tolist()
    assert model.predict_proba(X) == pytest.approx(
        estimator.predict_proba(X), rel=RELATIVE, abs=1e-7
    )


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_forest_that_classifies_by_numbers_gives_them(*, zipmap: bool) -> None:
    estimator = RandomForestClassifier(n_estimators=10, random_state=SEED)
    estimator.fit(X, pd.cut(CONSUMPTION, 3, labels=False))
    model = OnnxModel(exported(estimator, 4, zipmap=zipmap))

    assert model.predict(X).tolist() == estimator.predict(X).tolist()
    assert model.predict_proba(X) == pytest.approx(estimator.predict_proba(X), rel=RELATIVE)


def test_several_outputs_are_columns() -> None:
    y = np.column_stack([CONSUMPTION, 2 * CONSUMPTION])
    estimator = LinearRegression().fit(X, y)
    model = OnnxModel(exported(estimator, 4))

    assert largest_difference(model.predict(X), estimator.predict(X)) < RELATIVE


def test_a_pipeline_takes_a_column_for_each_input_by_its_name() -> None:
    estimator = people_model()
    model = OnnxModel(exported(estimator, PEOPLE_TYPES))
    others = PEOPLE.assign(city="Oslo", member=[False] * 4)

    assert model.feature_names_in_.tolist() == list(PEOPLE)
    for table in (PEOPLE, others):
        found = model.predict_proba(table[table.columns[::-1]])
        assert found == pytest.approx(estimator.predict_proba(table), rel=RELATIVE)


# --- what a signature learns


def test_classes_are_known_where_probabilities_have_names_and_where_they_are_given() -> None:
    named, silent = (exported(classifier(), 4, zipmap=zipmap) for zipmap in (True, False))
    names = ["proba_high", "proba_low", "proba_middle"]

    assert offered(OnnxModel(named), X)["predict_proba"] == names
    assert offered(OnnxModel(silent), X)["predict_proba"] == ["proba_1", "proba_2", "proba_3"]
    told = OnnxModel(silent, classes=["high", "low", "middle"])
    assert offered(told, X)["predict_proba"] == names


def test_scores_that_are_no_probabilities_are_not_offered() -> None:
    model = OnnxModel(exported(KMeans(3, n_init=1, random_state=0).fit(X), 4))

    assert offered(model, X) == {"predict": ["prediction"]}
    with pytest.raises(ValueError, match="no probabilities"):
        model.predict_proba(X)


def test_a_graph_without_labels_has_no_probabilities() -> None:
    assert not hasattr(OnnxModel(identity()), "predict_proba")


def test_a_missing_number_is_taken_only_where_a_prediction_comes_of_it() -> None:
    table = PEOPLE.dropna()
    people = learn_signature(OnnxModel(exported(people_model(), PEOPLE_TYPES)), table)
    network = learn_signature(OnnxModel(exported(petrol_network()[0], 4)), X)
    # Its label is one of the classes all the same.
    labels = learn_signature(OnnxModel(exported(classifier(), 4)), X)

    assert [f.name for f in people.features if f.nullable] == ["age"]
    assert not any(f.nullable for f in (*network.features, *labels.features))


@pytest.mark.parametrize(("unseen", "expected"), [("error", False), ("ignore", True)])
def test_whether_unseen_categories_are_taken_is_tried(unseen: str, *, expected: bool) -> None:
    model = OnnxModel(exported(people_model(unseen), PEOPLE_TYPES))

    city = learn_signature(model, PEOPLE).features[2]

    assert city.accepts_unseen is expected


# --- values that do not fit


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (FLOAT, 1e39),
        (FLOAT, "Kiel"),
        (TensorProto.INT64, 1.5),
        (TensorProto.INT64, np.nan),
        (TensorProto.UINT8, 256),
        (TensorProto.UINT8, -1),
        (TensorProto.BOOL, 2),
        (TensorProto.BOOL, np.nan),
        (TensorProto.STRING, 1.0),
        (TensorProto.STRING, np.nan),
    ],
)
def test_a_value_that_its_input_can_not_hold_is_refused(type_: int, value: object) -> None:
    model = OnnxModel(identity(type_))

    with pytest.raises(ValueError, match=r"too large|takes|convert"):
        model.predict(np.array([[value, value]]))


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (FLOAT, [1, 2.5]),
        (FLOAT, [True, 2]),
        (TensorProto.INT64, [1.0, 2.0]),
        (TensorProto.UINT8, [0, 255]),
        (TensorProto.BOOL, [1.0, 0.0]),
        (TensorProto.STRING, ["Kiel", ""]),
    ],
)
def test_a_value_that_its_input_can_hold_is_the_same_there(type_: int, values: list[Any]) -> None:
    model = OnnxModel(identity(type_))

    assert model.predict(np.array([values], dtype=object)).tolist() == [values]


def test_only_the_row_that_does_not_fit_is_refused() -> None:
    model = OnnxModel(exported(petrol_network()[0], 4))
    predictor = Predictor(model, make_manifest(signature=learn_signature(model, X)))
    table = X.astype(float)
    table.iloc[3, 0] = 1e39

    prediction = predictor.predict(table, OutputKind.PREDICT)

    assert [refusal.position for refusal in prediction.refusals] == [3]
    assert "too large for float32" in prediction.refusals[0].message
    assert len(prediction.columns[0]) == len(X) - 1


def test_tables_with_other_columns_are_refused() -> None:
    by_name = OnnxModel(exported(people_model(), PEOPLE_TYPES))

    for table in (PEOPLE.assign(more=1), PEOPLE.drop(columns="age"), PEOPLE.to_numpy()):
        with pytest.raises(ValueError, match="columns age, children, city, member"):
            by_name.predict(table)
    with pytest.raises(ValueError, match="2 columns, not 3"):
        OnnxModel(identity()).predict(np.zeros((1, 3)))


# --- files that can't be served


@pytest.mark.parametrize("data", [b"", b"not a model", b"PK\x03\x04", b"\x80\x05K\x01."])
def test_a_file_that_is_no_onnx_model_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ModelLoadError, match=r"onnxruntime [\d.]+ can't open this as an") as caught:
        OnnxModel(data)

    assert len(str(caught.value).splitlines()) == 1


def test_a_file_is_read_or_said_to_be_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(identity())

    assert OnnxModel.read(path).predict([[1, 2]]).tolist() == [[1, 2]]
    with pytest.raises(ModelLoadError, match=r"none\.onnx"):
        OnnxModel.read(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (identity(shape=(1, 2)), "takes exactly 1 rows"),
        (identity(shape=("rows", 3, 8, 8)), "one or two dimensions"),
        (identity(shape=()), "one or two dimensions"),
        (identity(TensorProto.COMPLEX64), "one or two dimensions|as an ONNX model"),
        (
            graph(
                [helper.make_node("Concat", ["a", "b"], ["y"], axis=1)],
                {"a": (FLOAT, (None, 3)), "b": (FLOAT, (None, 1))},
                {"y": (FLOAT, (None, 4))},
            ),
            "Inputs a of the ONNX graph take more columns",
        ),
        (
            graph(
                [helper.make_node("SequenceConstruct", ["x"], ["y"])],
                {"x": (FLOAT, (None, 2))},
                {},
            ),
            "no predictions|as an ONNX model",
        ),
    ],
)
def test_a_graph_that_rows_can_not_be_put_into_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        OnnxModel(data)


@pytest.mark.parametrize("location", ["weights", "../weights", "link", "{}/weights"])
def test_a_graph_reads_no_file(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for folder in (here, tmp_path):
        (folder / "weights").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (here / "link").symlink_to(tmp_path / "weights")
    monkeypatch.chdir(here)
    weights = TensorProto(
        name="W", data_type=FLOAT, dims=[2, 2], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location.format(tmp_path)), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    multiply = helper.make_node("MatMul", ["x", "W"], ["y"])
    kind = (FLOAT, (None, 2))

    with pytest.raises(ModelLoadError, match="names other files") as caught:
        OnnxModel(graph([multiply], {"x": kind}, {"y": kind}, [weights]))

    assert str(tmp_path) not in str(caught.value)


# --- processes


FORKING = """
import os, sys
from pathlib import Path
import numpy as np
from worker.onnx_model import OnnxModel

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
model = OnnxModel.read(sys.argv[1])
rows = np.array([[9.0, 3571, 1976, 0.525]] * 3)
expected = model.predict(rows).tolist() if sys.argv[2] == "used" else None
assert threads() == before, "a thread was started"
for _ in range(2):
    child = os.fork()
    if not child:
        found = model.predict(rows).tolist()
        os._exit(0 if found == (expected or found) and len(found) == 3 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert len(model.predict(rows)) == 3
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux shows them")
@pytest.mark.parametrize("state", ["new", "used"])
def test_a_model_predicts_in_forked_processes_and_tells_nobody(state: str, tmp_path: Path) -> None:
    path, home = tmp_path / "net.onnx", tmp_path / "home"
    path.write_bytes(exported(petrol_network()[0], 4))
    home.mkdir()
    # Nothing of what keeps onnxruntime's telemetry off by itself, as CI does.
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)}

    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, path, state],
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (run.returncode, run.stdout + run.stderr) == (0, "")
    assert list(home.rglob("*")) == []
