"""Whatever has scikit-learn's interface is published and served, and gives what it gives itself."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_selection,
    gaussian_process,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union

from shared.errors import PublishError
from shared.manifest import ArtifactFormat
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from tests.estimators import Notes, Ratio
from tests.factories import make_plan, make_spec
from worker.model_loader import ModelLoader
from worker.publishing import publish
from worker.scoring import Slice

Make = Callable[[], Any]

ROWS = 40
GENERATOR = np.random.default_rng(3)
X = pd.DataFrame(np.abs(GENERATOR.normal(size=(ROWS, 3))), columns=["a", "b", "c"])
Y = X["a"] * 3 + X["b"] ** 2
TWO = np.column_stack([Y, Y - X["c"]])
CLASSES = np.where(X["a"] > 1, "high", np.where(X["b"] > 0.7, "middle", "low"))
IS_HIGH = CLASSES == "high"
TWO_CLASSES = np.column_stack([CLASSES, np.where(X["c"] > 0.5, "yes", "no")])
TWO_LABELS = np.column_stack([X["a"] > 1, X["c"] > 0.5]).astype(int)

PEOPLE = pd.DataFrame(
    {
        "age": [20, 30, 40, 50] * 10,
        "city": ["Bonn", "Kiel", "Ulm", "Bonn"] * 10,
        "member": [True, False, False, True, True] * 8,
        "note": ["pays late", "pays, in time", 'calls "often"', "late again"] * 10,
    }
)
STAYS = ["stay", "go"] * 20
TEXTS = PEOPLE[["note"]]


def columns(*, notes: bool = False) -> compose.ColumnTransformer:
    parts: list[tuple[Any, Any]] = [
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (preprocessing.StandardScaler(), ["age", "member"]),
    ]
    if notes:
        parts.append((TfidfVectorizer(), "note"))
    return compose.make_column_transformer(*parts)


REGRESSORS: list[Make] = [
    lambda: linear_model.LinearRegression().fit(X, Y),
    lambda: linear_model.TweedieRegressor(power=1).fit(X, Y),
    lambda: tree.DecisionTreeRegressor(random_state=0).fit(X, Y),
    lambda: ensemble.RandomForestRegressor(5, random_state=0).fit(X, Y),
    lambda: ensemble.HistGradientBoostingRegressor(max_iter=5).fit(X, Y),
    lambda: svm.SVR().fit(X, Y),
    lambda: neighbors.KNeighborsRegressor().fit(X, Y),
    lambda: gaussian_process.GaussianProcessRegressor().fit(X, Y),
    lambda: compose.TransformedTargetRegressor(func=np.log1p, inverse_func=np.expm1).fit(X, Y),
    lambda: cross_decomposition.PLSRegression().fit(X, TWO),
    lambda: linear_model.Ridge().fit(X, TWO),
    lambda: multioutput.MultiOutputRegressor(svm.LinearSVR(random_state=0)).fit(X, TWO),
    lambda: multioutput.RegressorChain(linear_model.Ridge()).fit(X, TWO),
    lambda: ensemble.VotingRegressor([("r", linear_model.Ridge()), ("s", svm.SVR())]).fit(X, Y),
    lambda: ensemble.StackingRegressor([("r", linear_model.Ridge()), ("s", svm.SVR())]).fit(X, Y),
]

CLASSIFIERS: list[Make] = [
    lambda: linear_model.LogisticRegression().fit(X, CLASSES),
    lambda: linear_model.LogisticRegression().fit(X, IS_HIGH),
    lambda: linear_model.RidgeClassifier().fit(X, IS_HIGH.astype(int)),
    lambda: naive_bayes.GaussianNB().fit(X, CLASSES),
    lambda: svm.LinearSVC().fit(X, CLASSES),
    lambda: ensemble.RandomForestClassifier(5, random_state=0).fit(X, CLASSES),
    lambda: discriminant_analysis.LinearDiscriminantAnalysis().fit(X, CLASSES),
    lambda: neural_network.MLPClassifier((4,), solver="lbfgs", max_iter=9999).fit(X, TWO_LABELS),
    lambda: ensemble.RandomForestClassifier(5, random_state=0).fit(X, TWO_CLASSES),
    lambda: neighbors.KNeighborsClassifier().fit(X, TWO_LABELS),
    lambda: multiclass.OneVsRestClassifier(linear_model.LogisticRegression()).fit(X, TWO_LABELS),
    lambda: multioutput.MultiOutputClassifier(naive_bayes.GaussianNB()).fit(X, TWO_CLASSES),
    lambda: multioutput.ClassifierChain(linear_model.LogisticRegression()).fit(X, TWO_LABELS),
    lambda: calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2).fit(X, IS_HIGH),
    lambda: ensemble.VotingClassifier(
        [("l", linear_model.LogisticRegression()), ("n", naive_bayes.GaussianNB())], voting="soft"
    ).fit(X, CLASSES),
    lambda: ensemble.VotingClassifier(
        [("l", linear_model.LogisticRegression()), ("n", naive_bayes.GaussianNB())]
    ).fit(X, CLASSES),
    lambda: ensemble.StackingClassifier(
        [("l", linear_model.LogisticRegression()), ("n", naive_bayes.GaussianNB())], cv=2
    ).fit(X, IS_HIGH),
    lambda: model_selection.GridSearchCV(
        linear_model.LogisticRegression(), {"C": [0.1, 1.0]}, cv=2
    ).fit(X, CLASSES),
    lambda: model_selection.RandomizedSearchCV(
        ensemble.RandomForestClassifier(3, random_state=0),
        {"max_depth": [1, 2, None]},
        n_iter=2,
        cv=2,
        random_state=0,
    ).fit(X, CLASSES),
]

OTHERS: list[Make] = [
    lambda: cluster.KMeans(3, n_init=1, random_state=0).fit(X),
    lambda: mixture.GaussianMixture(2, random_state=0).fit(X),
    lambda: ensemble.IsolationForest(n_estimators=5, random_state=0).fit(X),
    lambda: svm.OneClassSVM().fit(X),
    lambda: preprocessing.StandardScaler().fit(X),
    lambda: decomposition.PCA(2).fit(X),
    lambda: preprocessing.StandardScaler().set_output(transform="pandas").fit(X),
    lambda: preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf").fit(X),
    lambda: preprocessing.PolynomialFeatures(2).fit(X),
    lambda: preprocessing.FunctionTransformer(np.log1p).fit(X),
    lambda: preprocessing.TargetEncoder(cv=2).fit(X, Y),
    lambda: feature_selection.SelectKBest(k=1).fit(X, IS_HIGH),
    lambda: make_union(preprocessing.StandardScaler(), decomposition.PCA(1)).fit(X),
    lambda: make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(2)).fit(X),
    lambda: make_pipeline("passthrough", linear_model.LinearRegression()).fit(X, Y),
    lambda: make_pipeline(Ratio(), linear_model.LinearRegression()).fit(X, Y),
]

ARRAYS: list[Make] = [
    lambda: linear_model.LinearRegression().fit(X.to_numpy(), Y),
    lambda: ensemble.RandomForestClassifier(5, random_state=0).fit(X.to_numpy(), CLASSES),
    lambda: cluster.KMeans(3, n_init=1, random_state=0).fit(X.to_numpy()),
    lambda: make_pipeline(preprocessing.StandardScaler(), svm.SVR()).fit(X.to_numpy(), Y),
    lambda: model_selection.GridSearchCV(svm.SVR(), {"C": [1.0, 2.0]}, cv=2).fit(X.to_numpy(), Y),
    lambda: preprocessing.StandardScaler().set_output(transform="pandas").fit(X.to_numpy()),
]

TABLES: list[Make] = [
    lambda: preprocessing.OneHotEncoder().fit(PEOPLE),
    lambda: preprocessing.OrdinalEncoder().fit(PEOPLE),
    lambda: columns().fit(PEOPLE),
    lambda: make_pipeline(columns(), linear_model.LogisticRegression()).fit(PEOPLE, STAYS),
    lambda: make_pipeline(columns(notes=True), svm.LinearSVC()).fit(PEOPLE, STAYS),
    lambda: make_pipeline(Notes(), TfidfVectorizer(), svm.LinearSVC()).fit(PEOPLE, STAYS),
    lambda: model_selection.GridSearchCV(
        make_pipeline(columns(notes=True), linear_model.LogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        cv=2,
    ).fit(PEOPLE, STAYS),
]

VECTORIZERS: list[Make] = [
    lambda: TfidfVectorizer().fit(TEXTS["note"]),
    lambda: make_pipeline(TfidfVectorizer(), linear_model.LogisticRegression()).fit(
        TEXTS["note"], STAYS
    ),
    lambda: make_pipeline(
        make_union(CountVectorizer(), HashingVectorizer(n_features=8)), svm.LinearSVC()
    ).fit(TEXTS["note"], STAYS),
    lambda: model_selection.GridSearchCV(
        make_pipeline(TfidfVectorizer(), linear_model.LogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        cv=2,
    ).fit(TEXTS["note"], STAYS),
]

TRUSTED = [f"tests.estimators.{cls.__name__}" for cls in (Notes, Ratio)]


def as_is(table: pd.DataFrame) -> pd.DataFrame:
    return table


def array(table: pd.DataFrame) -> Any:
    return table.to_numpy()


def texts(table: pd.DataFrame) -> Any:
    return table["note"]


@pytest.mark.parametrize(
    ("make", "sample", "form"),
    [
        *((make, X, as_is) for make in (*REGRESSORS, *CLASSIFIERS, *OTHERS)),
        *((make, X, array) for make in ARRAYS),
        *((make, PEOPLE, as_is) for make in TABLES),
        *((make, TEXTS, texts) for make in VECTORIZERS),
        pytest.param(
            lambda: neighbors.LocalOutlierFactor(novelty=True).fit(X),
            X,
            as_is,
            # It says so itself of what it hands on itself.
            marks=pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
        ),
    ],
)
def test_a_job_gets_what_the_estimator_gives(
    tmp_path: Path, make: Make, sample: pd.DataFrame, form: Callable[[pd.DataFrame], Any]
) -> None:
    estimator = make()
    manifest = publish(
        estimator, name="model", sample=sample, repository=tmp_path, trusted_types=TRUSTED
    )
    table = pd.read_csv(io.StringIO(sample.to_csv(index=False)))

    for output in set(manifest.signature.outputs) - {OutputKind.CONTRIBUTIONS}:
        given = own_values(estimator, output, form(table))
        assert_same(served(tmp_path, sample, output), given)


def served(repository: Path, rows: pd.DataFrame, output: OutputKind) -> pd.DataFrame:
    """The predictions that a job gets for all rows."""
    models = ModelRepository(repository)
    manifest = models.resolve("model")
    header = tuple(rows.columns)
    spec = make_spec(
        header=header, output=output, result_columns=manifest.signature.outputs[output]
    )
    data = rows.to_csv(index=False, header=False, lineterminator="\n").encode()
    predictor = ModelLoader(models, allow_pickle=True).load(manifest)
    result = Slice(data, make_plan(rows=len(rows)), spec=spec, predictor=predictor).score()
    assert result.failed == 0, result.errors
    lines = pd.read_csv(io.BytesIO(result.results), header=None)
    return lines.iloc[:, 1:-1]


def own_values(estimator: Any, output: OutputKind, given: Any) -> pd.DataFrame:
    """What the estimator says by itself, a column for each value of a row."""
    values = getattr(estimator, output)(given)
    if isinstance(values, list):
        values = np.hstack(values)
    values = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    return pd.DataFrame(values.reshape(len(values), -1)).infer_objects()


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert found.shape == expected.shape
    for (_, values), (_, own) in zip(found.items(), expected.items(), strict=True):
        if pd.api.types.is_numeric_dtype(own):
            np.testing.assert_allclose(values.astype(float), own.astype(float), rtol=1e-9)
        else:
            assert values.tolist() == own.tolist()


def test_what_skops_can_not_write_is_published_as_joblib(tmp_path: Path) -> None:
    birch = cluster.Birch(n_clusters=2).fit(X)

    with pytest.raises(PublishError, match=r"skops can't write .*--format joblib.*ALLOW_PICKLE"):
        publish(birch, name="model", sample=X, repository=tmp_path)
    joblib = ArtifactFormat.JOBLIB
    publish(birch, name="model", sample=X, repository=tmp_path, artifact_format=joblib)

    assert_same(served(tmp_path, X, OutputKind.PREDICT), own_values(birch, OutputKind.PREDICT, X))


@pytest.mark.parametrize(
    ("make", "sample", "reason"),
    [
        (lambda: cluster.DBSCAN().fit(X), X, r"^DBSCAN has neither predict nor transform, so it"),
        (lambda: cluster.AgglomerativeClustering().fit(X), X, "^AgglomerativeClustering has nei"),
        (lambda: neighbors.LocalOutlierFactor().fit(X), X, r"Use novelty=True"),
        (lambda: neighbors.NearestNeighbors().fit(X), X, "has neither predict nor transform"),
        (linear_model.LinearRegression, X, "NotFittedError: This LinearRegression"),
        (lambda: {"model": 1}, X, "dict has neither predict nor transform"),
        (lambda: TfidfVectorizer().fit(TEXTS["note"]), PEOPLE, "one column of texts and got 4"),
        (
            lambda: linear_model.LinearRegression().fit(X.to_numpy(), Y),
            X[["a", "b"]],
            r"X has 2 features.* knows no names of columns: the sample must hold what it was",
        ),
        (
            lambda: feature_selection.SelectFdr(alpha=1e-99).fit(X[["c"]], Y > 1),
            X[["c"]],
            r"transform gives shape \(40, 0\)",
        ),
        (
            lambda: preprocessing.FunctionTransformer(lambda X: X).fit(X),
            X,
            "in a module that workers can import; a lambda is not",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:No features were selected:UserWarning")
def test_what_can_not_be_served_is_refused_with_the_reason(
    tmp_path: Path, make: Make, sample: pd.DataFrame, reason: str
) -> None:
    with pytest.raises(PublishError, match=reason):
        publish(make(), name="model", sample=sample, repository=tmp_path)


def test_a_search_is_published_once(tmp_path: Path) -> None:
    for _ in range(2):
        search = model_selection.GridSearchCV(svm.SVR(), {"C": [1.0, 2.0]}, cv=2).fit(X, Y)
        search.cv_results_ = {k: v for k, v in search.cv_results_.items() if "time" not in k}
        search.refit_time_ = 0.0
        publish(search, name="model", sample=X, repository=tmp_path)

    assert ModelRepository(tmp_path).versions("model") == ["1"]
