"""`POST /predict`: predictions in one request, or the job where they take longer."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    assert_sound,
    newer_job,
    newest_job,
    row_errors,
    shown,
)
from tests.contract.bodies import FILE, FORM, GZIP, MEBIBYTE, PACKED, WIDE_ROW, form
from tests.live_stack import Api
from tests.waiting import wait_until

NDJSON = {"Accept": "application/x-ndjson"}


def job_of(api: Api, answer: requests.Response) -> Document:
    """The job whose predictions these are."""
    assert answer.status_code == 200, answer.text
    path = answer.headers["Content-Location"].removesuffix("/results")
    return dict(api.get(path).json())


def lines(answer: requests.Response) -> list[Document]:
    return [json.loads(line) for line in answer.text.splitlines()]


# --- predictions


def test_a_small_table_is_answered_with_its_predictions(api: Api) -> None:
    answer = api.predict("name,x\nfirst,6\nsecond,7\n", model="line", key="name")

    assert answer.status_code == 200
    assert answer.text == "row,name,prediction,error\n1,first,15,\n2,second,17,\n"
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert "Content-Disposition" not in answer.headers
    assert not {"Location", "Retry-After", "Idempotent-Replayed"} & answer.headers.keys()


def test_the_predictions_are_those_of_a_job_that_is_kept(api: Api) -> None:
    answer = api.predict("x\n6\n7\n", model="line")

    job = job_of(api, answer)
    assert_sound(job)
    assert (job["status"], job["counts"]["total"]) == ("succeeded", 2)
    assert api.get(answer.headers["Content-Location"]).text == answer.text


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        ({}, "text/csv"),
        ({"Accept": "*/*"}, "text/csv"),
        ({"Accept": "application/x-ndjson, text/csv;q=0.5"}, "application/x-ndjson"),
        (NDJSON, "application/x-ndjson"),
    ],
)
def test_predictions_come_in_the_format_that_is_liked_best(
    api: Api, headers: dict[str, str], media_type: str
) -> None:
    answer = api.predict("x\n6\n", model="line", headers=headers)

    assert answer.headers["Content-Type"].partition(";")[0] == media_type
    assert answer.text in (
        "row,prediction,error\n1,15,\n",
        '{"row": 1, "prediction": 15.0, "error": null}\n',
    )


def test_options_are_those_of_a_job(api: Api) -> None:
    body = "age;city;member\n20;Bonn;true\n40;Ulm;false\n"
    options = {"model": "churn", "output": "predict_proba", "join": "input", "delimiter": ";"}

    answer = api.predict(body, headers=NDJSON, **options)

    job = accepted(api.submit(body, **options))
    assert answer.text == api.get(job["urls"]["results"], **NDJSON).text
    assert list(lines(answer)[0]) == [
        "row", "age", "city", "member", "proba_go", "proba_stay", "error",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers"), [(PACKED, GZIP), (form((FILE, b"x\n6\n7\n")), FORM)], ids=["gzip", "form"]
)
def test_a_table_may_be_wrapped(api: Api, body: bytes, headers: dict[str, str]) -> None:
    answer = api.predict(body, model="line", headers=headers)

    assert answer.text == "row,prediction,error\n1,15,\n2,17,\n"


@pytest.mark.parametrize(
    ("body", "expected", "codes"),
    [
        ("x\n1\nsix\n-2\n3", [10.0, None, None, 30.0], ["not_a_number", "prediction_failed"]),
        ("x\nsix\n", [None], ["not_a_number"]),
        ("x\n1,2\n\n\n2\n", [None, 20.0], ["wrong_field_count"]),
    ],
)
def test_rows_that_fail_are_no_failure_of_the_request(
    api: Api, body: str, expected: list[float | None], codes: list[str]
) -> None:
    answer = api.predict(body, model="fussy", headers=NDJSON)

    assert [line["prediction"] for line in lines(answer)] == expected
    assert [line["error"] for line in lines(answer) if line["error"]] == codes
    assert [error["code"] for error in row_errors(api, job_of(api, answer))] == codes


def test_a_small_job_over_its_error_threshold_has_an_outcome_for_each_row(api: Api) -> None:
    answer = api.predict("x\n1\nsix\n", model="line", headers=NDJSON, error_threshold="0")

    assert [line["error"] for line in lines(answer)] == [None, "not_a_number"]
    assert job_of(api, answer)["error"]["code"] == "error_threshold_exceeded"


def test_a_large_table_is_answered_with_its_predictions(api: Api) -> None:
    answer = api.predict(b"x,t\n" + WIDE_ROW * 12_000, model="line")

    assert answer.status_code == 200
    assert answer.text.splitlines()[1:] == [f"{row},15," for row in range(1, 12_001)]
    assert job_of(api, answer)["progress"]["chunks_total"] > 1


def test_each_of_many_at_once_gets_their_own_predictions(api: Api) -> None:
    def predict(number: int) -> tuple[int, str]:
        rows = "".join(f"{number}\n" for _ in range(number % 5 + 1))
        wrong = "x\n" if number % 7 == 0 else ""
        return number, api.predict(f"x\n{rows}{wrong}", model="echo").text

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(predict, range(150)))

    for number, text in answers:
        rows = [f"{row},{number * 10}," for row in range(1, number % 5 + 2)]
        wrong = [f"{number % 5 + 2},,not_a_number"] if number % 7 == 0 else []
        assert text.splitlines() == ["row,prediction,error", *rows, *wrong]


# --- a job that takes longer


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=0", "wait=0"), ("wait=1", "wait=1"), ("respond-async", None), ("wait=soon", None)],
)
def test_a_job_that_takes_longer_is_answered_with_itself(
    api: Api, slow: str, prefer: str, applied: str | None
) -> None:
    answer = api.predict("x\n" + "3\n" * 20_000, model=slow, headers={"Prefer": prefer})

    job = accepted(answer)
    assert answer.headers["Location"] == job["urls"]["self"]
    assert answer.headers.get("Preference-Applied") == applied
    assert int(answer.headers["Retry-After"]) >= 1
    assert job["finished_at"] is None
    assert_sound(job)
    api.delete(job["urls"]["self"])


def test_what_takes_longer_can_be_had_later(api: Api) -> None:
    job = accepted(api.predict("x\n6\n", model="line", headers={"Prefer": "wait=0"}))

    ended = api.ended(job)

    assert api.get(ended["urls"]["results"]).text == "row,prediction,error\n1,15,\n"


# --- sent again


def test_a_request_sent_again_gets_the_same_predictions(api: Api) -> None:
    headers = {"Idempotency-Key": "predict-again"}

    first, *others = (api.predict("x\n6\n", model="line", headers=headers) for _ in range(3))

    assert "Idempotent-Replayed" not in first.headers
    for answer in others:
        assert (answer.status_code, answer.text) == (200, first.text)
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert answer.headers["Content-Location"] == first.headers["Content-Location"]


def test_a_request_sent_again_while_its_job_runs_waits_for_the_same_job(
    api: Api, slow: str
) -> None:
    body, headers = "x\n" + "3\n" * 900, {"Idempotency-Key": "predict-meanwhile"}
    job = accepted(api.predict(body, model=slow, headers=headers | {"Prefer": "wait=0"}))

    again = api.predict(body, model=slow, headers=headers)

    assert again.headers["Idempotent-Replayed"] == "true"
    assert job_of(api, again)["id"] == job["id"]
    assert len(again.text.splitlines()) == 901


def test_predictions_can_be_had_again_without_waiting(api: Api) -> None:
    headers = {"Idempotency-Key": "predict-no-wait"}
    api.predict("x\n6\n", model="line", headers=headers)

    again = api.predict("x\n6\n", model="line", headers=headers | {"Prefer": "wait=0"})

    assert (again.status_code, again.text) == (200, "row,prediction,error\n1,15,\n")


def test_a_key_is_one_key_for_jobs_and_predictions(api: Api) -> None:
    headers = {"Idempotency-Key": "predict-or-job"}
    answer = api.predict("x\n6\n", model="line", headers=headers)

    job = accepted(api.submit("x\n6\n", model="line", headers=headers))

    assert job["id"] == job_of(api, answer)["id"]
    reused = api.predict("x\n7\n", model="line", headers=headers)
    assert_problem(reused, 422, "idempotency_key_reused", job["id"])


# --- no predictions


def test_a_format_that_there_is_not_is_refused_before_a_job_is_made(api: Api) -> None:
    before = newest_job(api)

    answer = api.predict("x\n6\n", model="line", headers={"Accept": "application/xml"})

    assert_problem(answer, 406, "not_acceptable", "text/csv", "application/x-ndjson")
    assert newer_job(api, before) is None


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_job_that_somebody_ends_has_no_predictions(api: Api, slow: str, how: str) -> None:
    before = newest_job(api)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.predict, "x\n" + "3\n" * 20_000, model=slow)
        job = wait_until(lambda: newer_job(api, before))
        wait_until(lambda: shown(api, job)["status"] == "running")
        if how == "cancel":
            api.post(job["urls"]["cancel"])
        else:
            api.delete(job["urls"]["self"])

        answer = waiting.result(timeout=60)

    if how == "cancel":
        assert_problem(answer, 409, "job_stopped", job["id"], "cancelled", f"/jobs/{job['id']}")
    else:
        assert_problem(answer, 410, "job_gone", job["id"])


def test_a_job_that_misses_its_deadline_has_no_predictions(api: Api, slow: str) -> None:
    answer = api.predict("x\n" + "3\n" * 20_000, model=slow, deadline="1")

    assert_problem(answer, 409, "job_stopped", "failed", "deadline_exceeded")


REFUSED: dict[str, dict[str, Any]] = {
    "unknown model": {"query": {"model": "nope"}},
    "no model": {"query": {}},
    "unknown parameter": {"query": {"model": "line", "color": "red"}},
    "wrong output": {"query": {"model": "line", "output": "transform"}},
    "wrong deadline": {"query": {"model": "line", "deadline": "0"}},
    "empty": {"body": b""},
    "no row": {"body": b"x\n"},
    "UTF-16": {"body": "x\n6\n".encode("utf-16")},
    "unclosed quote": {"body": b'x\n"6\n'},
    "missing column": {"body": b"y\n6\n"},
    "too many columns": {"body": b"," * 5000 + b"\n6\n"},
    "long record": {"body": b"x,t\n6," + b"a" * 5 * MEBIBYTE + b"\n"},
    "large body": {"body": bytes(64 * MEBIBYTE + 1)},
    "unknown type": {"headers": {"Content-Type": "application/json"}},
    "unknown encoding": {"headers": {"Content-Encoding": "br"}},
    "no gzip": {"headers": GZIP},
    "no form": {"headers": FORM},
    "empty key": {"headers": {"Idempotency-Key": ""}},
    "long key": {"headers": {"Idempotency-Key": "k" * 256}},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_makes_no_job_is_refused_as_there(api: Api, kind: str) -> None:
    parts = REFUSED[kind]
    body, headers = parts.get("body", b"x\n6\n"), parts.get("headers", {})
    query = parts.get("query", {"model": "line"})
    before = newest_job(api)

    answer = api.predict(body, headers=headers, **query)

    there = api.submit(body, headers=headers, **query)
    assert answer.status_code == there.status_code >= 400
    extra = frozenset({"errors"} & there.json().keys())
    assert_problem(answer, there.status_code, there.json()["code"], extra=extra)
    # Among the parameters that there are, it has one more.
    assert answer.text.replace(", format", "") == there.text
    assert newer_job(api, before) is None


def test_predict_takes_nothing_but_a_post(api: Api) -> None:
    answer = api.get("/predict")

    assert_problem(answer, 405, "method_not_allowed", "method")
    assert "POST" in answer.headers["Allow"]
