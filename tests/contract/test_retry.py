"""`POST /jobs/{id}/retry`: the failed rows of a job as another job."""

import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from sklearn.linear_model import LinearRegression

from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    assert_sound,
    newer_job,
    newest_job,
    records,
    results,
    row_errors,
    shown,
)
from tests.estimators import Echo, Fussy
from tests.live_stack import Api
from worker.publishing import publish

FAILED = {"only": "failed"}
WAIT = {"Prefer": "wait=20"}

MIXED = 'id,x\na,1\nb,-2\n\n"c\nc",3\nd,bad\ne,-5\nf\ng,6\n'
"""For a model that refuses negative values: rows 2, 4, 5 and 6 fail."""


def retried(api: Api, job: Document, **order: str) -> Document:
    """The retry's job when it has ended."""
    return accepted(api.post(job["urls"]["retry"], json=FAILED | order, **WAIT))


@pytest.fixture
def mended(models_dir: Path) -> str:
    """A model that refuses values below zero in its first version and takes them in its second."""
    name = f"mended-{uuid.uuid4().hex[:8]}"
    x = pd.DataFrame({"x": [1.0, 2.0]})
    for estimator in (Fussy(), Echo()):
        types = [f"tests.estimators.{type(estimator).__name__}"]
        publish(estimator.fit(x), name=name, sample=x, repository=models_dir, trusted_types=types)
    return name


# --- what a retry is


def test_a_retry_is_a_job_of_its_own_that_names_the_first(api: Api) -> None:
    job = accepted(api.submit(MIXED, model="fussy"))

    answer = api.post(job["urls"]["retry"], json=FAILED, **WAIT)

    child = accepted(answer)
    assert_sound(child)
    assert child["id"] != job["id"]
    assert (child["retry_of"], job["retry_of"]) == (job["id"], None)
    assert answer.headers["Location"] == child["urls"]["self"]
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert child["model"] == job["model"]
    assert child["counts"] == {"total": 4, "succeeded": 0, "failed": 4, "pending": 0}
    assert child["input"]["bytes"] > 0
    assert shown(api, job) == job


def test_a_retry_without_waiting_says_when_to_look(api: Api) -> None:
    job = accepted(api.submit("x\nbad\n", model="line"))

    answer = api.post(job["urls"]["retry"], json=FAILED)

    assert accepted(answer)["status"] in {"queued", "running", "failed"}
    assert "Preference-Applied" not in answer.headers


def test_rows_keep_their_numbers_and_lines(api: Api) -> None:
    job = accepted(api.submit(MIXED, model="fussy"))

    child = retried(api, job)

    places = [(2, 3), (4, 7), (5, 8), (6, 9)]
    assert [(error["row"], error["line"]) for error in row_errors(api, job)] == places
    assert row_errors(api, child) == row_errors(api, job)
    assert [int(line["row"]) for line in results(api, child)] == [row for row, _ in places]


def test_rows_that_a_mended_version_takes_get_their_predictions(api: Api, mended: str) -> None:
    job = accepted(api.submit(MIXED, model=f"{mended}:1"))

    child = retried(api, job, model=mended)

    assert child["model"]["version"] == "2"
    assert child["status"] == "partially_succeeded"
    assert records(api, child) == [
        {"row": 2, "prediction": -20.0, "error": None},
        {"row": 4, "prediction": None, "error": "not_a_number"},
        {"row": 5, "prediction": -50.0, "error": None},
        {"row": 6, "prediction": None, "error": "wrong_field_count"},
    ]


def test_a_retry_of_a_retry_has_the_rows_that_failed_again(api: Api, mended: str) -> None:
    job = accepted(api.submit(MIXED, model=f"{mended}:1"))

    again = retried(api, retried(api, retried(api, job), model=mended))

    assert again["retry_of"] != job["id"]
    assert again["model"]["version"] == "2"
    errors = [(e["row"], e["line"], e["code"]) for e in row_errors(api, again)]
    assert errors == [(4, 7, "not_a_number"), (6, 9, "wrong_field_count")]
    assert [line["row"] for line in results(api, again)] == ["4", "6"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"join": "input"}, [{"id": "b", "x": "-2"}, {"id": "d", "x": "bad"},
                             {"id": "e", "x": "-5"}, {"id": "f", "x": ""}]),
        ({"key": "id"}, [{"id": "b"}, {"id": "d"}, {"id": "e"}, {"id": "f"}]),
    ],
)  # fmt: skip
def test_carried_columns_are_those_of_the_first_job(
    api: Api, mended: str, query: dict[str, str], expected: list[dict[str, str]]
) -> None:
    job = accepted(api.submit(MIXED, model=f"{mended}:1", **query))

    lines = results(api, retried(api, job, model=mended))

    rest = {"row", "prediction", "error"}
    assert [{k: v for k, v in line.items() if k not in rest} for line in lines] == expected
    assert [line["prediction"] for line in lines] == ["-20", "", "-50", ""]


@pytest.mark.parametrize(
    ("body", "query"),
    [
        pytest.param("id;x\r\n1;2\r\n2;-3\r\n3;-4", {"delimiter": ";"}, id="semicolons, CRLF"),
        pytest.param("id,x\r1,2\r2,-3\r3,-4\r", {}, id="lone CR"),
        pytest.param('\ufeffid,x\n1,2\n"a""\r\nb",-3\n,"-4"', {}, id="BOM, quotes"),
    ],
)
def test_rows_are_retried_as_they_were_sent(
    api: Api, mended: str, body: str, query: dict[str, str]
) -> None:
    job = accepted(api.submit(body, model=f"{mended}:1", join="input", **query))

    child = retried(api, job, model=mended)

    lines = results(api, child)
    assert [(line["row"], line["prediction"]) for line in lines] == [("2", "-30"), ("3", "-40")]
    assert [line["id"] for line in lines] == [line["id"] for line in results(api, job)][1:]


def test_failed_rows_of_many_chunks_are_retried_in_order(api: Api, mended: str) -> None:
    rows = [-row if row % 7 == 0 else row for row in range(1, 5_001)]
    job = accepted(api.submit("x\n" + "\n".join(map(str, rows)), model=f"{mended}:1", wait=60))

    child = retried(api, job, model=mended)

    assert job["progress"]["chunks_total"] > 1
    assert child["status"] == "succeeded"
    found = [(int(line["row"]), float(line["prediction"])) for line in results(api, child)]
    assert found == [(row, -10.0 * row) for row in range(7, 5_001, 7)]


def test_a_retry_goes_by_the_options_of_the_first_job(api: Api, mended: str) -> None:
    body = "x\n-1\nbad\nworse\n"
    job = accepted(api.submit(body, model=f"{mended}:1", error_threshold="1", expires_in="90"))

    child = retried(api, job, model=mended)

    assert [j["error"]["code"] for j in (job, child)] == ["error_threshold_exceeded"] * 2
    assert child["counts"] == {"total": 3, "succeeded": 1, "failed": 2, "pending": 0}


def test_a_cancelled_job_gives_the_rows_that_had_failed(api: Api, running: Document) -> None:
    api.post(running["urls"]["cancel"])

    answer = api.post(running["urls"]["retry"], json=FAILED)

    assert_problem(answer, 409, "nothing_to_retry", running["id"], "no failed row")


def test_a_retry_outlives_the_first_job(api: Api) -> None:
    job = accepted(api.submit("x\n6\nbad\n", model="line"))
    child = retried(api, job)
    api.delete(job["urls"]["self"])

    assert shown(api, child) == child
    assert [line["row"] for line in results(api, child)] == ["2"]
    assert [line["row"] for line in results(api, retried(api, child))] == ["2"]


# --- what can't be retried


def test_a_job_without_failed_rows_has_nothing_to_retry(api: Api) -> None:
    before = accepted(api.submit("x\n6\n", model="line"))

    answer = api.post(before["urls"]["retry"], json=FAILED)

    assert_problem(answer, 409, "nothing_to_retry", before["id"])
    assert newer_job(api, before) is None


def test_a_job_must_have_ended(api: Api, running: Document) -> None:
    answer = api.post(running["urls"]["retry"], json=FAILED)

    assert_problem(answer, 409, "job_not_finished", running["id"], "running")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.fixture(scope="module")
def partly_failed(api: Api) -> Document:
    return accepted(api.submit("x\n6\nbad\n", model="line"))


@pytest.mark.parametrize(
    ("order", "status", "code", "words"),
    [
        ({}, 422, "invalid_parameter", ["'only'", "'failed'"]),
        ({"only": "all"}, 422, "invalid_parameter", ["'only'", "'all'", "'failed'"]),
        ({"only": ["failed"]}, 422, "invalid_parameter", ["'only'"]),
        ({"only": "failed", "model": 5}, 422, "invalid_parameter", ["'model'", "'5'"]),
        (
            {"only": "failed", "rows": [1], "model": "line"},
            422,
            "invalid_parameter",
            ["no parameter 'rows'", "only, model"],
        ),
        ({"only": "failed", "model": "nope"}, 404, "model_not_found", ["'nope'", "line"]),
        ({"only": "failed", "model": "line:9"}, 404, "model_not_found", ["no version '9'"]),
        ({"only": "failed", "model": "../line"}, 404, "model_not_found", ["'name:version'"]),
        ([], 400, "invalid_body", ["JSON object", '{"only": "failed"}']),
        ("failed", 400, "invalid_body", ["JSON object"]),
    ],
)
def test_an_order_that_can_not_be_followed_is_refused(
    api: Api, partly_failed: Document, order: Any, status: int, code: str, words: list[str]
) -> None:
    before = newest_job(api)

    answer = api.post(partly_failed["urls"]["retry"], json=order)

    assert_problem(answer, status, code, *words)
    assert newer_job(api, before) is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 400, "invalid_body", id="empty"),
        pytest.param(b'{"only": "failed"', 400, "invalid_body", id="cut"),
        pytest.param(b"\xff\xfe\xfa", 400, "invalid_body", id="no text"),
        pytest.param(b"[" * 60_000, 400, "invalid_body", id="deep"),
        pytest.param(b" " * 100_000 + b'{"only": "failed"}', 413, "body_too_large", id="long"),
    ],
)
def test_what_is_no_order_is_refused(
    api: Api, partly_failed: Document, body: bytes, status: int, code: str
) -> None:
    answer = requests.post(
        f"{api.url}{partly_failed['urls']['retry']}",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=60,
    )

    assert_problem(answer, status, code)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/csv"}])
def test_an_order_is_json(api: Api, partly_failed: Document, headers: dict[str, str]) -> None:
    answer = requests.post(
        f"{api.url}{partly_failed['urls']['retry']}",
        data=b'{"only": "failed"}',
        headers=headers,
        timeout=60,
    )

    assert_problem(answer, 415, "unsupported_media_type", "application/json")


def test_a_model_must_take_the_columns_of_the_first_job(api: Api) -> None:
    job = accepted(api.submit("x\nbad\n", model="line"))

    answer = api.post(job["urls"]["retry"], json={"only": "failed", "model": "linear"})

    assert_problem(answer, 422, "header_mismatch", "'a'", "'b'", extra=frozenset({"errors"}))


def test_a_model_must_offer_the_output_of_the_first_job(api: Api, models_dir: Path) -> None:
    people = pd.DataFrame({"age": [20.0, 30.0], "city": [1.0, 2.0], "member": [0.0, 1.0]})
    regression = LinearRegression().fit(people, [1, 2])
    publish(regression, name="people", sample=people, repository=models_dir)
    body = "age,city,member\n20,Rome,true\n"
    job = accepted(api.submit(body, model="churn", output="predict_proba"))

    answer = api.post(job["urls"]["retry"], json={"only": "failed", "model": "people"})

    assert_problem(answer, 422, "invalid_parameter", "'output'", "offers predict")


def test_a_retry_that_is_sent_again_makes_no_second_job(api: Api, mended: str) -> None:
    job = accepted(api.submit(MIXED, model="fussy"))
    key = {"Idempotency-Key": uuid.uuid4().hex}

    first = api.post(job["urls"]["retry"], json=FAILED, **WAIT, **key)
    again = api.post(job["urls"]["retry"], json=FAILED, **WAIT, **key)
    other = api.post(job["urls"]["retry"], json=FAILED | {"model": mended}, **WAIT, **key)

    assert accepted(again)["id"] == accepted(first)["id"] != job["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(other, 422, "idempotency_key_reused")
