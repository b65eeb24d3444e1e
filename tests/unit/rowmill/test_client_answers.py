"""What the client makes of the server's answers, good and bad."""

import socket

import pytest

from rowmill.client import Client
from rowmill.errors import (
    InvalidUrlError,
    ProblemError,
    TransportError,
    UnexpectedAnswerError,
)

PETROL = {
    "name": "petrol",
    "version": "1",
    "versions": [
        {"version": "1", "state": "ready", "error": None, "jobs": 3, "rows": 9, "error_rate": 0.0},
        {
            "version": "2",
            "state": "failed",
            "error": {"code": "model_load_failed", "detail": "It was changed."},
            "jobs": 0,
            "rows": 0,
            "error_rate": None,
        },
    ],
    "latest": "2",
    "aliases": {"champion": "1", "canary": {"version": "2", "weight": 0.05}},
    "comparisons": [],
    "description": "Petrol consumption",
    "metrics": {"r2": 0.9},
    "signature": {
        "features": [{"name": "tax", "dtype": "float64", "nullable": True, "example": 9.0}],
        "outputs": {"predict": [{"name": "prediction", "dtype": "float64"}]},
    },
}


def test_a_problem_document_becomes_an_error_with_all_it_says(client, server):
    missing = {"row": None, "line": 1, "column": "tax", "code": "missing_column", "detail": "No."}
    document = {"code": "header_mismatch", "detail": "It\ndiffers.", "errors": [missing]}
    server.say("GET", "/models", status=422, json_body=document)

    with pytest.raises(ProblemError, match=r"^It differs\.$") as caught:
        client.models()

    assert (caught.value.status, caught.value.code) == (422, "header_mismatch")
    assert caught.value.document["errors"] == [missing]


def test_a_problem_says_when_to_try_again(client, server):
    problem = {"code": "store_full", "detail": "Full."}
    server.say("GET", "/models", status=429, json_body=problem, headers={"Retry-After": "12"})

    with pytest.raises(ProblemError, match=r"^Full\. Try again in 12 s\.$") as caught:
        client.models()

    assert caught.value.retry_after_seconds == 12


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b"{}", b""])
def test_an_error_of_a_proxy_is_told_by_its_status(client, server, body):
    later = "Wed, 01 Jan 2025 12:00:30 GMT"
    server.say("GET", "/models", status=502, body=body, headers={"Retry-After": later})

    with pytest.raises(ProblemError, match=r"answered 502 Bad Gateway\.$") as caught:
        client.models()

    assert caught.value.code == "http_502"


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1]", b"3", b'{"id": "job_1"}'])
def test_an_answer_of_some_other_service_is_called_that(client, server, body):
    server.say("GET", "/jobs/job_1", body=body)

    with pytest.raises(UnexpectedAnswerError, match="Is the URL right"):
        client.job("job_1")


def test_a_redirect_is_not_followed_but_told(client, server):
    server.say("POST", "/jobs", status=301, headers={"Location": "https://example.org/jobs"})

    with pytest.raises(UnexpectedAnswerError, match=r"https://example\.org/jobs"):
        client.submit(b"a\n1\n")


def test_no_server_is_told_with_the_systems_reason():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nothing else can take the port
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        with Client(url) as client, pytest.raises(TransportError, match=r"Can't .* refused"):
            client.models()


def test_an_answer_that_breaks_off_is_a_lost_connection(client, server):
    server.say("GET", "/models", body=b'{"models"', claimed_bytes=100)

    with pytest.raises(TransportError, match="broke off"):
        client.models()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "", "ftp://host", "http://", "http://host:port", "http://h/?a=1"]
)
def test_what_is_no_url_is_refused_at_once(url):
    with pytest.raises(InvalidUrlError, match="write it like http"):
        Client(url)


def test_a_url_may_have_a_path_and_a_slash_at_its_end(server):
    server.say("GET", "/scoring/models", json_body={"models": []})

    with Client(server.url + "/scoring/") as client:
        assert client.models() == ()


def test_models_are_read_with_their_features(client, server):
    server.say("GET", "/models", json_body={"models": [PETROL]})

    (model,) = client.models()

    assert (model.name, model.version, model.latest) == ("petrol", "1", "2")
    assert model.aliases == {"champion": "1", "canary": "2 5.00%"}
    assert [str(version) for version in model.versions] == [
        "1 (ready, 3 jobs, 9 rows)",
        "2 (failed, 0 jobs, 0 rows): It was changed.",
    ]
    assert model.outputs == ("predict",)
    assert str(model.features[0]) == "tax (float64, may be empty, like 9.0)"


def test_a_page_of_jobs_asks_for_what_is_given_alone(client, server, job_document):
    jobs = [job_document(id="job_2"), job_document(id="job_1")]
    server.say("GET", "/jobs", json_body={"jobs": jobs, "has_more": True})

    page = client.jobs(status="running", limit=2)

    assert [job.id for job in page.jobs] == ["job_2", "job_1"]
    assert page.has_more
    assert server.requests[0].target == "/jobs?status=running&limit=2"


def test_an_odd_id_stays_one_part_of_the_path(client, server, job_document):
    server.say("GET", "/jobs/a%2Fb%3F", json_body=job_document(id="a/b?"))

    assert client.job("a/b?").id == "a/b?"


def test_delete_tells_the_server(client, server):
    server.say("DELETE", "/jobs/job_1", status=204)

    client.delete("job_1")

    assert server.requests[0].method == "DELETE"
