"""Requests about what is not there, and options that can't be."""

from typing import Any

import pytest
import requests

from tests.contract.answers import Document, accepted, assert_problem
from tests.live_stack import Api
from tests.raw_http import answer_on, connected

UNKNOWN_JOB = "job_" + "0" * 32


# --- requests about things that are not there


def request(api: Api, method: str, path: str) -> requests.Response:
    return requests.request(method, f"{api.url}{path}", json={"only": "failed"}, timeout=60)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nope", ["no model 'nope'", "line"]),
        ("line:9", ["no version '9'", "it has 1"]),
        ("line@", ["'line@'", "'name:version'"]),
        ("../line", ["'../line'", "'name:version'"]),
        ("", ["?model=", "line", "forest"]),
    ],
)
def test_an_unknown_model_is_answered_with_those_there_are(
    api: Api, reference: str, words: list[str]
) -> None:
    assert_problem(api.submit("x\n6\n", model=reference), 404, "model_not_found", *words)


@pytest.mark.parametrize("job_id", [UNKNOWN_JOB, "job_1", "%00", "{}", "x" * 500])
@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/results"),
        ("GET", "/errors"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    ],
)
def test_an_unknown_job_is_not_found(api: Api, method: str, suffix: str, job_id: str) -> None:
    answer = request(api, method, f"/jobs/{job_id}{suffix}")

    assert_problem(answer, 404, "job_not_found", "no job", "GET /jobs")


@pytest.mark.parametrize("path", ["/nope", "/jobs/", f"/jobs/{UNKNOWN_JOB}/nope", "/models/"])
def test_an_unknown_route_is_not_found(api: Api, path: str) -> None:
    assert_problem(api.get(path), 404, "not_found", "not found", "check your spelling")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", {"GET", "POST"}),
        ("DELETE", "/jobs", {"GET", "POST"}),
        ("PATCH", f"/jobs/{UNKNOWN_JOB}", {"GET", "DELETE"}),
        ("POST", f"/jobs/{UNKNOWN_JOB}/results", {"GET"}),
        ("GET", f"/jobs/{UNKNOWN_JOB}/cancel", {"POST"}),
        ("GET", f"/jobs/{UNKNOWN_JOB}/retry", {"POST"}),
        ("POST", "/models", {"GET"}),
        ("POST", "/healthz", {"GET"}),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_ones(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    answer = request(api, method, path)

    assert_problem(answer, 405, "method_not_allowed", "method")
    assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.parametrize("what", ["results", "errors"])
def test_results_are_not_there_before_the_end(api: Api, running: Document, what: str) -> None:
    answer = api.get(running["urls"][what])

    assert_problem(answer, 409, "job_not_finished", running["id"], "Retry-After")
    assert int(answer.headers["Retry-After"]) >= 1


# --- query strings


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("color=red", ["no parameter 'color'", "delimiter", "error_threshold"]),
        ("model=line&model=echo", ["'model'", "'line, echo'", "once"]),
        ("output=transform", ["'output'", "'transform'", "offers predict"]),
        ("output=classes", ["'output'", "'classes'", "predict_proba"]),
        ("output=predict_proba", ["'output'", "can't be 'predict_proba'", "offers predict"]),
        ("join=all", ["'join'", "'all'", "'input'"]),
        ("delimiter=x", ["'delimiter'", "'x'", "%09"]),
        ("delimiter=", ["'delimiter'", "''"]),
        ("error_threshold=-2", ["'error_threshold'", "'-2'", "-1"]),
        ("error_threshold=half", ["'error_threshold'", "'half'", "whole number"]),
        ("expires_in=0", ["'expires_in'", "'0'", "seconds"]),
        ("deadline=0", ["'deadline'", "'0'", "seconds"]),
        ("deadline=soon", ["'deadline'", "'soon'", "whole number"]),
        ("strict=maybe", ["'strict'", "'maybe'", "'true'"]),
    ],
)
def test_a_wrong_option_is_refused_by_name(api: Api, query: str, words: list[str]) -> None:
    model = "" if query.startswith("model") else "model=line&"

    answer = requests.post(
        f"{api.url}/jobs?{model}{query}",
        data="x\n6\n",
        headers={"Content-Type": "text/csv"},
        timeout=60,
    )

    assert_problem(answer, 422, "invalid_parameter", *words)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", ["'limit'", "'0'", "1 to 100"]),
        ("limit=101", ["'limit'", "'101'", "1 to 100"]),
        ("limit=ten", ["'limit'", "'ten'", "whole number"]),
        ("limit=1&limit=2", ["'limit'", "once"]),
        ("status=done", ["'status'", "'done'", "partially_succeeded"]),
        ("after=x", ["'after'", "'x'", "id of a job"]),
        ("page=2", ["no parameter 'page'", "after"]),
    ],
)
def test_a_wrong_parameter_of_the_list_is_refused_by_name(
    api: Api, query: str, words: list[str]
) -> None:
    assert_problem(api.get(f"/jobs?{query}"), 422, "invalid_parameter", *words)


def test_a_parameter_that_results_do_not_know_is_refused(api: Api) -> None:
    job: dict[str, Any] = accepted(api.submit("x\n6\n", model="line"))

    answer = api.get(f"{job['urls']['results']}?page=2")

    assert_problem(answer, 422, "invalid_parameter", "no parameter 'page'")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (f"GET /jobs?model={'a' * 9000} HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (f"GET /jobs HTTP/1.1\r\nX: {'a' * 9000}\r\n\r\n", 431, "headers_too_large"),
        (
            "POST /jobs HTTP/1.1\r\nTransfer-Encoding: zip\r\n\r\n",
            501,
            "unsupported_transfer_coding",
        ),
        ("GET /jobs HTTP/1.1\r\nExpect: cake\r\n\r\n", 417, "expectation_failed"),
        ("what is this\r\n\r\n", 400, "bad_request"),
    ],
)
def test_what_is_no_http_is_a_problem_too(api: Api, request_: str, status: int, code: str) -> None:
    with connected(api) as connection:
        connection.sendall(request_.encode())
        answered, problem = answer_on(connection)

    assert (answered, problem["status"], problem["code"]) == (status, status, code)
    assert api.get("/healthz").ok
