"""A CSV goes in, predictions come out: through real processes, compared with the model itself."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.model_repository import ModelRepository
from tests.live_stack import Api
from worker.artifact_loader import load_artifact


def predictions(api: Api, job: dict[str, Any]) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(api.get(job["urls"]["results"]).text))


def in_process(repository: ModelRepository, name: str) -> Any:
    """The estimator itself, loaded as a worker loads it."""
    manifest = repository.resolve(name)
    return load_artifact(repository.artifact_path(manifest), manifest, allow_pickle=False)


@pytest.fixture(scope="module")
def repository(models_dir: Path) -> ModelRepository:
    return ModelRepository(models_dir)


def test_a_csv_is_scored_like_the_model_itself_would(api: Api) -> None:
    job = api.submit("x\n6\n7\n", model="line").json()

    assert job["status"] == "succeeded"
    assert job["counts"] == {"total": 2, "succeeded": 2, "failed": 0, "pending": 0}
    assert predictions(api, job)["prediction"].tolist() == pytest.approx([15, 17])


@pytest.mark.parametrize("name", ["forest", "boosted"])
def test_predictions_of_trees_equal_in_process_ones_to_the_last_bit(
    api: Api, repository: ModelRepository, numbers: pd.DataFrame, name: str
) -> None:
    job = api.submit(numbers.to_csv(index=False), model=name).json()

    expected = in_process(repository, name).predict(numbers)
    assert predictions(api, job)["prediction"].to_numpy() == pytest.approx(expected, abs=0, rel=0)


def test_probabilities_equal_in_process_ones_to_the_last_bit(
    api: Api, repository: ModelRepository, numbers: pd.DataFrame
) -> None:
    job = api.submit(numbers.to_csv(index=False), model="boosted", output="predict_proba").json()

    scored = predictions(api, job)[["proba_False", "proba_True"]].to_numpy()
    assert np.array_equal(scored, in_process(repository, "boosted").predict_proba(numbers))


def test_several_models_are_served_at_once(api: Api) -> None:
    names = ["echo", "line"] * 5
    jobs = [api.submit("x\n6\n", model=name, wait=0).json() for name in names]

    ended = [api.get(job["urls"]["self"], Prefer="wait=50").json() for job in jobs]
    found = [predictions(api, job)["prediction"][0] for job in ended]
    assert found == pytest.approx([60, 15] * 5)


def test_a_job_of_many_chunks_keeps_the_order_of_its_rows(api: Api) -> None:
    x = np.random.default_rng(3).permutation(800_000)  # more than 4 MiB

    job = api.submit("x\n" + "\n".join(map(str, x)), model="echo").json()

    scored = predictions(api, job)
    assert job["progress"]["chunks_done"] == job["progress"]["chunks_total"] > 1
    assert np.array_equal(scored["row"], np.arange(1, 800_001))
    assert np.array_equal(scored["prediction"], x * 10.0)


BAD_ROWS = {17: "a,1,2", 500: "1,,2", 501: "1,2", 4_999: "1,2,3,4", 5_000: "inf,1,2",
            9_998: "1,b,2", 10_000: "1,\0,2"}  # fmt: skip
CODES = ["not_a_number", "missing_value", "wrong_field_count", "wrong_field_count", "not_finite",
         "not_a_number", "nul_byte"]  # fmt: skip
COLUMNS = ["a", "b", "", "", "a", "b", "b"]


def test_seven_bad_rows_of_ten_thousand_cost_no_good_one(
    api: Api, repository: ModelRepository
) -> None:
    good = pd.DataFrame(np.random.default_rng(1).normal(size=(10_000, 2)), columns=["a", "b"])
    lines = [f"{a!r},{b!r},text" for a, b in good.to_numpy().tolist()]
    for row, text in BAD_ROWS.items():
        lines[row - 1] = text

    job = api.submit("a,b,note\n" + "\n".join(lines), model="linear").json()

    errors = pd.read_csv(io.StringIO(api.get(job["urls"]["errors"]).text), keep_default_na=False)
    assert job["status"] == "partially_succeeded"
    assert job["counts"] == {"total": 10_000, "succeeded": 9_993, "failed": 7, "pending": 0}
    assert errors["row"].tolist() == list(BAD_ROWS)
    assert errors["line"].tolist() == [row + 1 for row in BAD_ROWS]
    assert errors["code"].tolist() == CODES
    assert errors["column"].tolist() == COLUMNS
    scored = predictions(api, job).set_index("row")["prediction"].drop(list(BAD_ROWS))
    expected = in_process(repository, "linear").predict(good)[scored.index - 1]
    assert scored.to_numpy() == pytest.approx(expected, rel=1e-9)
