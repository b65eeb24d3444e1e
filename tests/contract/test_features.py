"""`GET /jobs/{id}/features` and the warnings: what the rows of a job show beside training."""

import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from tests.contract.answers import Document, accepted, assert_problem, row_errors, shown
from tests.live_stack import Api
from worker.publishing import publish

MEMBERS = ["name", "missing", "missing_in_training", "outside", "unseen", "psi"]
WAIT = {"Prefer": "wait=20"}


def csv_of(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


def features(api: Api, job: Document) -> dict[str, Document]:
    """What is shown of the job's features, by their names."""
    answer = api.get(job["urls"]["features"])
    assert answer.status_code == 200, answer.text
    return {feature["name"]: feature for feature in answer.json()["features"]}


def rows_seen(api: Api, job: Document) -> int:
    return int(api.get(job["urls"]["features"]).json()["rows"])


@pytest.fixture(scope="module")
def gaps(models_dir: Path) -> str:
    """A model of 1,000 rows that takes missing values: `x` has 10 % of them, `y` none."""
    generator = np.random.default_rng(3)
    table = pd.DataFrame({"x": generator.random(1000), "y": generator.random(1000)})
    table.loc[:99, "x"] = np.nan
    model = HistGradientBoostingRegressor(max_iter=2).fit(table, table["y"])
    publish(model, name="gaps", sample=table, repository=models_dir)
    return "gaps"


@pytest.fixture
def own_model(models_dir: Path) -> Path:
    """The directory of a model of one feature, from 0 to 1, that no other test knows."""
    name = f"own-{uuid.uuid4().hex[:8]}"
    x = pd.DataFrame({"x": np.linspace(0, 1, 1000)})
    publish(LinearRegression().fit(x, x["x"]), name=name, sample=x, repository=models_dir)
    return models_dir / name


# --- the document


def test_features_are_shown_in_the_order_of_the_signature(api: Api, numbers: pd.DataFrame) -> None:
    job = accepted(api.submit(csv_of(numbers[["b", "c", "a"]]), model="forest"))

    document = api.get(job["urls"]["features"]).json()

    assert list(document) == ["rows", "features"]
    assert [feature["name"] for feature in document["features"]] == ["a", "b", "c"]
    assert [list(feature) for feature in document["features"]] == [MEMBERS] * 3


def test_the_rows_of_training_show_no_drift(api: Api, numbers: pd.DataFrame) -> None:
    job = accepted(api.submit(csv_of(numbers), model="forest"))

    found = features(api, job)

    assert job["warnings"] == []
    assert rows_seen(api, job) == 1000
    gap = round(float(numbers["c"].isna().mean()), 6)
    assert (found["c"]["missing"], found["c"]["missing_in_training"]) == (gap, gap)
    for name in ("a", "b", "c"):
        assert found[name]["outside"] == 0
        assert found[name]["psi"] == pytest.approx(0, abs=1e-6)


def test_shares_of_a_small_table_are_exact(api: Api, gaps: str) -> None:
    job = accepted(
        api.submit("x,y\n0.5,0.5\n,0.5\n,0.5\n,7\n0.5,0.5\n-3,0.5\n8,0.5\n,", model=gaps)
    )

    found = features(api, job)

    assert rows_seen(api, job) == 8
    assert (found["x"]["missing"], found["x"]["outside"]) == (0.5, 0.25)
    assert (found["y"]["missing"], found["y"]["outside"]) == (0.125, 0.125)
    assert (found["x"]["missing_in_training"], found["x"]["psi"]) == (0.1, None)


def test_a_clean_small_job_shows_zero_shares(api: Api, gaps: str) -> None:
    job = accepted(api.submit("x,y\n0.5,0.5\n0.4,0.6\n", model=gaps))

    assert rows_seen(api, job) == 2
    for feature in features(api, job).values():
        assert (feature["missing"], feature["outside"]) == (0, 0)


def test_cells_that_made_row_errors_are_counted(api: Api) -> None:
    body = "age,city,member\n30,Bonn,true\n,Bonn,true\n30,Rom,false\n30,,true\n31,Kiel,true,1\n"

    job = accepted(api.submit(body, model="churn"))

    assert {error["row"] for error in row_errors(api, job)} >= {2, 3, 5}
    found = features(api, job)
    # The last row could not be read at all.
    assert rows_seen(api, job) == 4
    assert found["age"]["missing"] == 0.25
    assert (found["city"]["missing"], found["city"]["unseen"]) == (0.25, 0.25)
    assert (found["member"]["outside"], found["member"]["unseen"]) == (None, None)


# --- warnings


def test_a_drifted_table_is_warned_of_by_the_name_of_its_column(
    api: Api, numbers: pd.DataFrame
) -> None:
    table = pd.concat([numbers[["a", "b"]]] * 2)

    shifted = accepted(api.submit(csv_of(table.assign(a=table["a"] / 2)), model="linear"))
    beyond = accepted(api.submit(csv_of(table.assign(b=table["b"] * 10)), model="linear"))

    (warning,) = shifted["warnings"]
    assert "Column 'a' is distributed otherwise than in training" in warning
    assert features(api, shifted)["a"]["psi"] > 0.2 > features(api, shifted)["b"]["psi"]
    (warning,) = beyond["warnings"]
    assert "Column 'b'" in warning
    assert "outside" in warning


def test_unseen_texts_and_missing_values_are_warned_of(api: Api, gaps: str) -> None:
    unseen = accepted(api.submit("age,city,member\n30,Rom,true\n30,Bonn,true\n", model="churn"))
    missing = accepted(api.submit("x,y\n" + "0.5,\n" * 5, model=gaps))

    assert "Column 'city': 50 % of the rows" in unseen["warnings"][0]
    assert missing["warnings"] == [
        "Column 'y' is missing in 100 % of the rows; in training it was in 0 %."
    ]


def test_a_job_has_its_warnings_wherever_it_is_shown(api: Api, gaps: str) -> None:
    told = accepted(api.submit("x,y\n" + "0.5,99\n" * 5, model=gaps))

    listed = api.get(f"/jobs?model={gaps}").json()["jobs"]

    assert len(told["warnings"]) == 1
    assert shown(api, told) == told == listed[0]


def test_a_job_of_many_chunks_is_seen_by_rows_of_each(api: Api) -> None:
    job = accepted(api.submit("x\n" + "1\n" * 150_000, model="echo"))

    assert 1000 <= rows_seen(api, job) <= 150_000
    assert features(api, job)["x"]["outside"] == 0


def test_a_job_that_runs_shows_the_rows_that_are_done(api: Api, running: Document) -> None:
    before = shown(api, running)["counts"]["succeeded"]

    assert before <= rows_seen(api, running) < 20_000
    assert features(api, running)["x"]["outside"] == 1


def test_small_jobs_that_come_together_get_each_its_own(api: Api, gaps: str) -> None:
    def sent(number: int) -> Document:
        body = "x,y\n" + "9,0.5\n" * number + "0.5,0.5\n" * (10 - number)
        return accepted(api.submit(body, model=gaps))

    with ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(sent, [n % 11 for n in range(44)]))

    outside = [features(api, job)["x"]["outside"] for job in jobs]
    assert outside == [(n % 11) / 10 for n in range(44)]
    assert [bool(job["warnings"]) for job in jobs] == [n % 11 > 2 for n in range(44)]


def test_a_retry_shows_its_own_rows(api: Api) -> None:
    body = "age,city,member\n" + "30,Bonn,true\n" * 3 + "30,Rom,true\n"
    job = accepted(api.submit(body, model="churn"))

    child = accepted(api.post(job["urls"]["retry"], json={"only": "failed"}, **WAIT))

    assert (rows_seen(api, job), rows_seen(api, child)) == (4, 1)
    assert features(api, job)["city"]["unseen"] == 0.25
    assert features(api, child)["city"]["unseen"] == 1


# --- models that changed


def test_without_statistics_there_are_shares(api: Api, own_model: Path) -> None:
    path = own_model / "1" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"statistics": None}
    path.write_text(json.dumps(manifest))

    job = accepted(api.submit("x\n" + "2\n" * 600 + "0.5\n" * 600, model=own_model.name))

    found = features(api, job)["x"]
    assert (found["outside"], found["missing_in_training"], found["psi"]) == (0.5, None, None)
    assert len(job["warnings"]) == 1


def test_a_job_outlives_its_model(api: Api, own_model: Path) -> None:
    job = accepted(api.submit("x\n2\n2\n2\n", model=own_model.name))
    assert job["warnings"]
    shutil.rmtree(own_model)

    assert api.get(job["urls"]["features"]).json() == {"rows": 3, "features": []}
    assert shown(api, job) == job | {"warnings": []}


# --- refusals


def test_there_are_no_features_of_a_job_that_is_not_there(api: Api) -> None:
    job = accepted(api.submit("x\n1\n", model="echo"))
    api.delete(job["urls"]["self"])

    assert_problem(api.get(job["urls"]["features"]), 410, "job_gone")
    assert_problem(api.get(f"/jobs/job_{'0' * 32}/features"), 404, "job_not_found")


def test_features_take_no_parameters(api: Api) -> None:
    job = accepted(api.submit("x\n1\n", model="echo"))

    answer = api.get(f"{job['urls']['features']}?limit=1")

    assert_problem(answer, 422, "invalid_parameter", "'limit'")
