"""Base value and contributions add up to the prediction, feature by feature, or are not offered."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, tree
from sklearn.base import is_classifier
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from shared.errors import ModelLoadError
from shared.job_store.model_reports import ModelReports
from shared.jobs import JobErrorCode, JobStatus, Lane
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from shared.statistics import TrainingStatistics
from tests.factories import make_manifest
from tests.job_steps import JobSteps
from tests.live_stack import ROOT, environment
from worker import contributions
from worker.chunk_runner import ChunkRunner
from worker.contributions import Explainer, contribution_columns, learn_contributions
from worker.explainable import LINEAR, TREES, explainable
from worker.model_cache import ModelCache
from worker.model_loader import ModelLoader
from worker.predictor import Prediction, Predictor
from worker.shadowing import Shadows
from worker.signature_learning import learn_signature

ROWS = 400
RANDOM = np.random.default_rng(5)
X = pd.DataFrame(RANDOM.normal(size=(ROWS, 4)), columns=["a", "b", "c", "noise"])
Y = 3 * X["a"] - X["b"] ** 2 + X["a"] * X["c"]
PEOPLE = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 80, ROWS),
        "city": RANDOM.choice(["Bonn", "Kiel", "Ulm"], ROWS),
        "height": RANDOM.normal(1.7, 0.1, ROWS),
        "member": RANDOM.random(ROWS) < 0.5,
    }
)
INCOME = PEOPLE["age"] * 10 + (PEOPLE["city"] == "Kiel") * 500 - PEOPLE["member"] * 100
KNOWN = sorted(TREES | LINEAR, key=lambda estimator: str(estimator.__name__))


class OwnForest(ensemble.RandomForestRegressor):
    """A class that may predict anything."""


class OwnScaler(StandardScaler):
    """A class that may mix features."""


def encoder(**options: Any) -> Any:
    one_hot = OneHotEncoder(**options)
    return make_column_transformer((one_hot, ["city"]), remainder="passthrough")


def offered(estimator: Any, sample: pd.DataFrame) -> Manifest | None:
    """The manifest of a model that offers contributions, as far as they need one."""
    signature = learn_signature(estimator, sample)
    background = learn_contributions(estimator, sample, signature)
    if background is None:
        return None
    more = {OutputKind.CONTRIBUTIONS: contribution_columns(signature)}
    signature = signature.model_copy(update={"outputs": signature.outputs | more})
    statistics = TrainingStatistics(rows=len(sample), features=(), background=background)
    return make_manifest(signature=signature, statistics=statistics)


def predictor_of(estimator: Any, sample: pd.DataFrame) -> Predictor:
    manifest = offered(estimator, sample)
    assert manifest is not None
    return Predictor(estimator, manifest)


def explained(estimator: Any, sample: pd.DataFrame, rows: pd.DataFrame | None = None) -> Any:
    """Columns of contributions of rows, by default of the sample."""
    predictor = predictor_of(estimator, sample)
    prediction = predictor.predict(sample if rows is None else rows, OutputKind.CONTRIBUTIONS)
    assert prediction.refusals == []
    return as_table(predictor, prediction)


def as_table(predictor: Predictor, prediction: Prediction) -> pd.DataFrame:
    names = [c.name for c in predictor.manifest.signature.outputs[OutputKind.CONTRIBUTIONS]]
    return pd.DataFrame(dict(zip(names, prediction.columns, strict=True)))


def score(estimator: Any, table: pd.DataFrame) -> Any:
    """What is explained, asked of the estimator itself."""
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(table)
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(table)[:, 1]
    return estimator.predict(table)


def assert_adds_up(found: pd.DataFrame, expected: Any) -> None:
    assert found["prediction"].to_numpy() == pytest.approx(np.ravel(expected), rel=1e-12, abs=1e-12)
    sums = found.drop(columns="prediction").sum(axis=1)
    assert sums.to_numpy() == pytest.approx(np.ravel(expected), rel=1e-9, abs=1e-9)


# --- what is offered


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of defaults that will change
@pytest.mark.parametrize("make", KNOWN, ids=lambda make: make.__name__)
def test_every_known_estimator_is_taken_apart(make: Any) -> None:
    estimator = make(random_state=0) if "random_state" in make().get_params() else make()
    model = estimator.fit(X, Y > 0 if is_classifier(estimator) else Y)

    found = explained(model, X)

    assert list(found)[:2] == ["prediction", "base_value"]
    assert list(found)[2:] == [f"contribution_{name}" for name in X]
    assert found["base_value"].nunique() == 1
    assert_adds_up(found, score(model, X))


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(copy=False), "passthrough", LinearRegression()),
        make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()),
        make_pipeline(SimpleImputer(), ensemble.RandomForestRegressor(5, random_state=0)),
        make_pipeline(make_pipeline(StandardScaler()), ensemble.GradientBoostingRegressor()),
    ],
    ids=["linear", "in place", "tables", "imputed", "nested"],
)
def test_a_pipeline_is_taken_apart_by_its_input(model: Any) -> None:
    expected = model.fit(X.copy(), Y).predict(X.copy())

    assert_adds_up(explained(model, X), expected)


@pytest.mark.parametrize("fit_on", [X, X.to_numpy()], ids=["names", "no names"])
def test_names_make_no_difference(fit_on: Any) -> None:
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(fit_on, Y)

    found = explained(model, X)

    coefficients = model[-1].coef_ / model[0].scale_
    expected = (X - X.mean()).to_numpy() * coefficients
    assert found.iloc[:, 2:].to_numpy() == pytest.approx(expected, abs=1e-9)
    assert found["base_value"][0] == pytest.approx(Y.mean())


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("drop", [None, "first"])
def test_contributions_of_categories_are_those_of_their_feature(
    sparse: bool, drop: str | None
) -> None:
    model = make_pipeline(encoder(sparse_output=sparse, drop=drop), Ridge(1e-9))
    model.fit(PEOPLE, INCOME)

    found = explained(model, PEOPLE)

    is_kiel = PEOPLE["city"] == "Kiel"
    assert_adds_up(found, model.predict(PEOPLE))
    city, age = found["contribution_city"], found["contribution_age"]
    assert city.to_numpy() == pytest.approx((is_kiel - is_kiel.mean()).to_numpy() * 500, abs=1e-3)
    assert age.to_numpy() == pytest.approx((PEOPLE["age"] - PEOPLE["age"].mean()) * 10, abs=1e-3)
    assert found["contribution_height"].to_numpy() == pytest.approx(0, abs=1e-3)


def test_a_sparse_table_is_spread_out_a_few_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_pipeline(OneHotEncoder(), Ridge()).fit(PEOPLE[["city", "age"]], INCOME)
    at_once = explained(model, PEOPLE[["city", "age"]])

    monkeypatch.setattr(contributions, "BLOCK_VALUES", 200)

    assert explained(model, PEOPLE[["city", "age"]]).equals(at_once)


def test_trees_behind_an_encoder_are_taken_apart() -> None:
    forest = ensemble.RandomForestRegressor(10, max_features=None, random_state=0)
    others = make_column_transformer(
        (OrdinalEncoder(), ["city"]), (StandardScaler(), ["age"]), remainder="drop"
    )
    model = make_pipeline(others, forest).fit(PEOPLE, INCOME)

    found = explained(model, PEOPLE)

    assert_adds_up(found, model.predict(PEOPLE))
    assert not found[["contribution_height", "contribution_member"]].to_numpy().any()
    assert (found["contribution_city"][PEOPLE["city"] == "Kiel"] > 100).all()


def test_a_feature_that_no_split_looks_at_adds_nothing() -> None:
    model = tree.DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, X["a"].round())

    found = explained(model, X)

    assert not found[["contribution_b", "contribution_c", "contribution_noise"]].to_numpy().any()
    assert found["contribution_a"].abs().max() > 1


@pytest.mark.parametrize("rising", ["a", "b"])
def test_contributions_speak_of_the_second_class(rising: str) -> None:
    for model in (LogisticRegression(), ensemble.ExtraTreesClassifier(20, random_state=0)):
        model.fit(X, np.where(X[rising] > 0, "yes", "no"))

        found = explained(model, X)

        assert list(model.classes_) == ["no", "yes"]
        assert np.corrcoef(found[f"contribution_{rising}"], X[rising])[0, 1] > 0.7


@pytest.mark.parametrize(
    "model",
    [
        tree.DecisionTreeRegressor(random_state=0),
        ensemble.RandomForestRegressor(5, random_state=0),
        ensemble.HistGradientBoostingRegressor(max_iter=5),
        ensemble.HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("in_training", [True, False])
def test_a_missing_value_has_its_contribution(model: Any, in_training: bool) -> None:
    gaps = X.mask(RANDOM.random(X.shape) < 0.1)
    model.fit(gaps if in_training else X, Y > 0 if is_classifier(model) else Y)

    found = explained(model, gaps if in_training else X, gaps)

    assert_adds_up(found, score(model, gaps))


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (KNeighborsRegressor(), Y),
        (PoissonRegressor(), Y - Y.min()),
        (LogisticRegression(), X["a"].round()),
        (ensemble.RandomForestClassifier(3), X["a"].round()),
        (ensemble.RandomForestClassifier(3), np.column_stack([Y > 0, Y > 1])),
        (ensemble.RandomForestRegressor(3), np.column_stack([Y, Y])),
        (LinearRegression(), np.column_stack([Y, Y])),
        (ensemble.RandomForestClassifier(3), np.ones(ROWS)),
        (OwnForest(3), Y),
        (make_pipeline(OwnScaler(), LinearRegression()), Y),
        (make_pipeline(PCA(), LinearRegression()), Y),
        (GridSearchCV(Ridge(), {"alpha": [1, 2]}), Y),
        (StandardScaler(), Y),
        (ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=3), Y - Y.min()),
        (ensemble.GradientBoostingClassifier(loss="exponential", n_estimators=3), Y > 0),
        (ensemble.GradientBoostingRegressor(init="zero", n_estimators=3), Y),
        (ensemble.HistGradientBoostingRegressor(max_iter=3, categorical_features=[3]),
         Y),
    ],
    ids=["unknown", "not additive", "three classes", "classes of trees", "class targets",
         "tree targets", "targets", "one class", "own", "own step", "mixing step", "search",
         "transformer", "link", "other link", "init", "categories"],
)  # fmt: skip
def test_what_does_not_add_up_or_is_unknown_is_not_offered(model: Any, y: Any) -> None:
    sample = X.assign(noise=(X["noise"] > 0).astype(float))

    assert offered(model.fit(sample, y), sample) is None


def test_a_model_that_orders_its_columns_anew_is_not_offered() -> None:
    sample = PEOPLE.assign(city=PEOPLE["city"].astype("category"))
    model = ensemble.HistGradientBoostingRegressor(max_iter=3).fit(sample, INCOME)

    assert explainable(model, learn_signature(model, sample)) is None


def test_a_slow_model_is_tried_on_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearRegression().fit(X, Y)
    tried: list[int] = []
    explain = Explainer.explain

    def counted(self: Explainer, rows: Any) -> Any:
        tried.append(len(rows))
        return explain(self, rows)

    monkeypatch.setattr(Explainer, "explain", counted)
    assert offered(model, X) is not None
    all_rows = sum(tried)
    tried.clear()
    monkeypatch.setattr(contributions, "MAX_TRIAL_SECONDS", 0)

    assert offered(model, X) is not None
    assert (all_rows, sum(tried)) == (300, 10)


# --- without shap


def test_without_the_extra_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)

    assert offered(LinearRegression().fit(X, Y), X) is None


def test_a_worker_without_the_extra_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(LinearRegression().fit(X, Y), X)
    monkeypatch.setitem(sys.modules, "shap", None)

    with pytest.raises(ModelLoadError, match="without the package shap; install the extra"):
        predictor.predict(X, OutputKind.CONTRIBUTIONS)
    assert len(predictor.predict(X, OutputKind.PREDICT).columns[0]) == ROWS


@pytest.mark.parametrize("lane", Lane)
def test_a_job_fails_as_one_on_a_worker_without_the_extra(
    steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch, lane: Lane
) -> None:
    runner = runner_of(steps, models_dir)
    submit = steps.submit_small if lane is Lane.SMALL else steps.submit
    job_ids = [submit(**spec_of(models_dir, "line")) for _ in range(2)]
    monkeypatch.setitem(sys.modules, "shap", None)

    if lane is Lane.SMALL:
        runner.run_together(steps.take_together().leases)
    else:
        for process in (1, 2):
            runner.run(steps.leased(process))

    for job in map(steps.store.get, job_ids):
        assert (job.status, job.error_code) == (JobStatus.FAILED, JobErrorCode.MODEL_LOAD_FAILED)
        assert "'line/1' can't be explained" in str(job.error_detail)


def runner_of(steps: JobSteps, models_dir: Path) -> ChunkRunner:
    """One that has loaded nothing yet."""
    models = ModelCache(
        ModelLoader(ModelRepository(models_dir), allow_pickle=False), max_bytes=1024**3
    )
    return ChunkRunner(
        store=steps.store,
        leases=steps.leases,
        workers=steps.registry,
        models=models,
        shadows=Shadows(models, ModelReports(steps.redis), time_limit_seconds=60),
        max_losses=8,
        time_limit_seconds=60,
    )


def spec_of(models_dir: Path, name: str) -> dict[str, Any]:
    manifest = ModelRepository(models_dir).resolve(name)
    return {
        "model_name": name,
        "model_version": manifest.version,
        "model_sha256": manifest.artifact.sha256,
        "output": OutputKind.CONTRIBUTIONS,
        "result_columns": manifest.signature.outputs[OutputKind.CONTRIBUTIONS],
    }


# --- scoring


def test_a_row_that_the_model_refuses_costs_no_other_its_contributions() -> None:
    model = make_pipeline(encoder(), LogisticRegression(max_iter=10_000))
    predictor = predictor_of(model.fit(PEOPLE, INCOME > 500), PEOPLE)
    rows = PEOPLE[:9].replace({"city": {PEOPLE["city"][4]: "Rome"}})
    is_bad = (rows["city"] == "Rome").to_numpy()

    prediction = predictor.predict(rows, OutputKind.CONTRIBUTIONS)

    assert [refusal.position for refusal in prediction.refusals] == np.flatnonzero(is_bad).tolist()
    good = rows[~is_bad]
    assert_adds_up(as_table(predictor, prediction), model.decision_function(good))


def test_a_row_whose_contributions_miss_its_prediction_is_refused() -> None:
    model = LinearRegression().fit(X, Y)
    predictor = predictor_of(model, X)
    true_values = predictor._explainer.values
    wrong = replace(predictor._explainer, values=lambda rows: true_values(rows.clip(max=2)))
    predictor.__dict__["_explainer"] = wrong

    prediction = predictor.predict(X, OutputKind.CONTRIBUTIONS)

    is_missed = (X > 2).any(axis=1).to_numpy()
    assert [r.position for r in prediction.refusals] == np.flatnonzero(is_missed).tolist()
    assert "contributions add up to" in prediction.refusals[0].message


def test_small_jobs_are_explained_together_as_each_alone(steps: JobSteps, models_dir: Path) -> None:
    runner = runner_of(steps, models_dir)
    job_ids = [steps.submit_small(**spec_of(models_dir, "line")) for _ in range(3)]

    runner.run_together(steps.take_together().leases)

    line = "{},5,9,-4,\n"
    expected = "".join(line.format(row) for row in range(1, 11)).encode()
    assert [b"".join(steps.results(job_id)) for job_id in job_ids] == [expected] * 3


def test_contributions_have_a_speed_of_their_own(steps: JobSteps, models_dir: Path) -> None:
    runner = runner_of(steps, models_dir)
    steps.submit(**spec_of(models_dir, "line"))
    lease = steps.leased()

    runner.run(replace(lease, plan=replace(lease.plan, rows=100), input=b"1\n" * 100))

    assert steps.registry.speed("line/1/contributions")
    assert steps.registry.speed("line/1") is None


def test_a_worker_does_not_import_the_extra_before_it_forks(models_dir: Path) -> None:
    script = (
        "import sys; from worker.app import model_loader, models;"
        "known = model_loader().repository; models().preload(map(known.resolve, known.names()));"
        "assert len(models().version_ids) > 5; assert 'shap' not in sys.modules"
    )
    env = environment("unix:///nowhere", models_dir)

    subprocess.run((sys.executable, "-c", script), cwd=ROOT, env=env, check=True)
