"""`validate_only=true`: the rows are checked as they would be scored, and no model is called."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    assert_sound,
    records,
    row_errors,
    shown,
)
from tests.estimators import Fussy
from tests.live_stack import Api
from worker.publishing import publish

MIXED = 'id,x\na,1\nb,-2\n\n"c\nc",3\nd,bad\ne,inf\nf\ng,6\n'
"""For a model of one number: rows 4, 5 and 6 are faulty, and `fussy` raises an error on row 2."""

BAD = "x\n6\nbad\n"


@pytest.fixture
def unused(models_dir: Path) -> str:
    """A model of which there was no job yet: it raises on any batch with a value below zero."""
    name = f"unused-{uuid.uuid4().hex[:8]}"
    types = [f"tests.estimators.{Fussy.__name__}"]
    x = pd.DataFrame({"x": [1.0, 2.0]})
    publish(Fussy().fit(x), name=name, sample=x, repository=models_dir, trusted_types=types)
    return name


def validated(api: Api, body: str, **query: str) -> Document:
    """The job that checks these rows, when it has ended."""
    return accepted(api.submit(body, validate_only="true", **query))


def test_rows_are_checked_and_the_model_is_not_called(api: Api) -> None:
    job = validated(api, MIXED, model="fussy")
    real = accepted(api.submit(MIXED, model="fussy"))

    assert_sound(job)
    assert (job["validate_only"], real["validate_only"]) == (True, False)
    assert job["status"] == "partially_succeeded"
    assert job["counts"] == {"total": 7, "succeeded": 4, "failed": 3, "pending": 0}
    found, all_errors = row_errors(api, job), row_errors(api, real)
    assert [error["row"] for error in found] == [4, 5, 6]
    assert found == [e for e in all_errors if e["code"] != "prediction_failed"]
    assert [e["row"] for e in all_errors if e not in found] == [2]


def test_result_lines_hold_what_was_carried_and_no_prediction(api: Api) -> None:
    job = validated(api, MIXED, model="fussy", key="id")

    found = records(api, job)
    assert found[2:4] == [
        {"row": 3, "id": "c\nc", "error": None},
        {"row": 4, "id": "d", "error": "not_a_number"},
    ]
    assert [line["row"] for line in found] == [1, 2, 3, 4, 5, 6, 7]


def test_predict_answers_with_what_was_found(api: Api) -> None:
    answer = api.predict(BAD, model="line", validate_only="true")

    assert (answer.status_code, answer.text) == (200, "row,error\n1,\n2,not_a_number\n")


def test_a_table_without_a_fault_succeeds(api: Api) -> None:
    job = validated(api, "x\n" + "-5\n" * 3000, model="fussy")

    assert job["status"] == "succeeded"
    assert job["counts"] == {"total": 3000, "succeeded": 3000, "failed": 0, "pending": 0}
    assert api.get(job["urls"]["errors"]).text == "row,line,column,code,message\n"


def test_what_fails_a_job_fails_its_validation(api: Api) -> None:
    all_failed = validated(api, "x\nbad\nworse\n", model="line")
    too_many = validated(api, BAD, model="line", error_threshold="0")

    assert all_failed["error"]["code"] == "all_rows_failed"
    assert too_many["error"]["code"] == "error_threshold_exceeded"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"model": "churn"}, "header_mismatch"),
        ({"model": "line", "key": "y"}, "header_mismatch"),
        ({"model": "line", "output": "predict_proba"}, "invalid_parameter"),
        ({"model": "line", "validate_only": "perhaps"}, "invalid_parameter"),
    ],
)
def test_what_is_refused_is_refused_before_a_row_is_checked(
    api: Api, query: dict[str, str], code: str
) -> None:
    answer = api.submit(BAD, **{"validate_only": "true"} | query)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_contributions_are_validated_without_being_computed(api: Api) -> None:
    job = validated(api, BAD, model="line", output="contributions")

    assert api.get(job["urls"]["results"]).text == "row,error\n1,\n2,not_a_number\n"


def test_a_validation_says_nothing_of_the_version_nor_of_its_features(
    api: Api, unused: str
) -> None:
    body = "x\n" + "-1000\n" * 3000
    job = validated(api, body, model=unused)

    before = api.get(f"/models/{unused}").json()["versions"][0]
    features = api.get(job["urls"]["features"]).json()
    accepted(api.submit(body.replace("-", ""), model=unused))
    after = api.get(f"/models/{unused}").json()["versions"][0]
    assert (before["jobs"], before["rows"], before["rows_per_second"]) == (0, 0, None)
    assert (after["jobs"], after["rows"]) == (1, 3000)
    assert features["rows"] == 0
    assert shown(api, job)["warnings"] == []


def test_small_validations_are_done_together_with_others(api: Api) -> None:
    """And each with what is its own."""
    bodies = ["x\n-1\n", "x\nbad\n", "x\n2\n", "x\n3\nbad\n"] * 8
    with ThreadPoolExecutor(len(bodies)) as pool:
        texts = list(
            pool.map(lambda body: api.predict(body, model="fussy", validate_only="true"), bodies)
        )

    assert [answer.text for answer in texts] == [
        "row,error\n1,\n",
        "row,error\n1,not_a_number\n",
        "row,error\n1,\n",
        "row,error\n1,\n2,not_a_number\n",
    ] * 8


def test_a_retry_of_a_validation_is_one(api: Api) -> None:
    job = validated(api, MIXED, model="fussy", key="id")

    order: dict[str, Any] = {"only": "failed"}
    child = accepted(api.post(job["urls"]["retry"], json=order, Prefer="wait=20"))

    assert child["validate_only"] is True
    assert [tuple(line.values()) for line in records(api, child)] == [
        (4, "d", "not_a_number"),
        (5, "e", "not_finite"),
        (6, "f", "wrong_field_count"),
    ]


def test_a_key_of_a_validation_is_not_one_of_a_job(api: Api) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    job = accepted(api.submit(BAD, model="line", validate_only="true", headers=headers))

    again = api.submit(BAD, model="line", validate_only="true", headers=headers)
    for_real = api.submit(BAD, model="line", headers=headers)

    assert accepted(again)["id"] == job["id"]
    assert_problem(for_real, 422, "idempotency_key_reused")
