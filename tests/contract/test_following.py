"""`?follow=true`: results as they are committed, and how the stream ends."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    newer_job,
    newest_job,
    results,
    shown,
)
from tests.contract.bodies import LONG, WIDE_ROW
from tests.live_stack import Api
from tests.raw_http import answer_on, connected, head
from tests.waiting import wait_until

NDJSON = "application/x-ndjson"


@contextmanager
def followed(api: Api, job: Document, **headers: str) -> Iterator[requests.Response]:
    """The stream of a job's results."""
    url = f"{api.url}{job['urls']['results']}?follow=true"
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        yield answer


def rows_of(lines: Iterator[bytes]) -> list[dict[str, str]]:
    """Lines of a CSV with its header as records."""
    text = "".join(line.decode() + "\n" for line in lines)
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


# --- a job under way


def test_a_job_under_way_is_followed_to_its_end(api: Api, slow: str) -> None:
    job = accepted(api.submit("x\n" + "3\nbad\n" * 600, wait=0, model=slow))

    with followed(api, job) as answer:
        text = answer.content
        was_begun_in = shown(api, job)["status"]

    ordinary = api.get(job["urls"]["results"])
    assert was_begun_in == "partially_succeeded"
    assert text == ordinary.content
    assert text.count(b"\n") == 1201
    for name in ("Content-Type", "Content-Disposition", "Vary"):
        assert answer.headers[name] == ordinary.headers[name]


def test_a_job_is_followed_in_ndjson(api: Api, slow: str) -> None:
    job = accepted(api.submit("x\n" + "3\n" * 600, wait=0, model=slow))

    with followed(api, job, Accept=NDJSON) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]

    assert answer.headers["Content-Type"] == NDJSON
    assert lines == [{"row": n, "prediction": 30.0, "error": None} for n in range(1, 601)]


def test_the_first_results_are_there_before_the_last_row_is_sent(api: Api) -> None:
    before = newest_job(api)
    with connected(api) as upload:
        upload.sendall(head(f"Content-Length: {len(LONG) + len(WIDE_ROW)}") + LONG)
        job = wait_until(lambda: newer_job(api, before))
        with followed(api, job) as answer:
            lines = answer.iter_lines()
            first = [next(lines) for _ in range(100)]
            status = shown(api, job)["status"]
            upload.sendall(WIDE_ROW)
            rest = list(lines)
        answer_on(upload)

    assert status == "receiving"
    assert first[:2] == [b"row,prediction,error", b"1,15,"]
    assert first + rest == api.get(job["urls"]["results"]).content.splitlines()
    assert len(first + rest) == 6002


def test_a_job_that_has_ended_is_followed_as_it_is_downloaded(api: Api) -> None:
    job = accepted(api.submit("x\n6\nbad\n", model="line"))

    with followed(api, job) as answer:
        assert answer.text == "row,prediction,error\n1,15,\n2,,not_a_number\n"
    plain = api.get(f"{job['urls']['results']}?follow=false")
    assert plain.text == answer.text


def test_who_does_not_follow_is_refused_before_the_end(api: Api, running: Document) -> None:
    answer = api.get(f"{running['urls']['results']}?follow=false")

    assert_problem(answer, 409, "job_not_finished", running["id"])


# --- ends


def test_the_stream_of_a_cancelled_job_ends_with_what_is_finished(
    api: Api, running: Document
) -> None:
    with followed(api, running) as answer:
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(10)]
        api.post(running["urls"]["cancel"])
        found = rows_of(iter([*first, *lines]))

    job = shown(api, running)
    assert job["status"] == "cancelled"
    assert found == results(api, job)
    assert 0 < len(found) == job["counts"]["succeeded"] < job["counts"]["total"]


def test_the_stream_of_a_job_whose_body_breaks_off_ends_with_what_is_finished(api: Api) -> None:
    before = newest_job(api)
    with connected(api) as upload:
        upload.sendall(head(f"Content-Length: {2 * len(LONG)}") + LONG)
        job = wait_until(lambda: newer_job(api, before))
        with followed(api, job) as answer:
            lines = answer.iter_lines()
            first = [next(lines) for _ in range(10)]
            upload.close()
            found = rows_of(iter([*first, *lines]))

    job = shown(api, job)
    assert (job["status"], job["error"]["code"]) == ("failed", "upload_incomplete")
    assert found == results(api, job)


def test_the_stream_of_a_deleted_job_breaks_off(api: Api, running: Document) -> None:
    with followed(api, running) as answer:
        lines = answer.iter_lines()
        next(lines)
        api.delete(running["urls"]["self"])

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(lines)


# --- refusals


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("results?follow=maybe", ["'follow'", "'maybe'", "'true' or 'false'"]),
        ("results?follow=true&follow=true", ["'follow'", "once"]),
        ("errors?follow=true", ["no parameter 'follow'"]),
    ],
)
def test_what_can_not_be_followed_is_refused(
    api: Api, running: Document, path: str, words: list[str]
) -> None:
    answer = api.get(f"{running['urls']['self']}/{path}")

    assert_problem(answer, 422, "invalid_parameter", *words)


def test_a_format_there_is_not_is_refused_before_the_end(api: Api, running: Document) -> None:
    answer = api.get(f"{running['urls']['results']}?follow=true", Accept="text/html")

    assert_problem(answer, 406, "not_acceptable", "text/csv")
