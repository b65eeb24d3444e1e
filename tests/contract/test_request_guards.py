"""What every route refuses, and which headers keep every answer from other sites."""

import itertools
import json

import pytest
import requests

from tests.contract.routes import WRITES, requests_of
from tests.live_stack import Api
from tests.raw_http import connected

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def job_id(api: Api) -> str:
    return str(api.submit("x\n6\nsix\n", model="line").json()["id"])


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_no_other_site_can_have_a_browser_write(api: Api, method: str, path: str) -> None:
    answer = requests.request(
        method, api.url + path, data="x\n6\n", timeout=30,
        headers={"Sec-Fetch-Site": "cross-site", "Content-Type": "text/csv"},
    )  # fmt: skip

    assert answer.status_code == 403
    assert "cross_site_request" in answer.text


def test_what_a_program_sends_is_not_taken_for_a_sites(api: Api) -> None:
    assert api.submit("x\n6\n", model="line").status_code == 202


def test_every_route_refuses_a_host_that_is_a_strangers(api: Api) -> None:
    for method, path in requests_of(("GET", "POST", "DELETE")):
        answer = requests.request(
            method, api.url + path, headers={"Host": "evil.example"}, timeout=30
        )

        assert answer.status_code == 421, (method, path)


def assert_kept_from_others(answer: requests.Response, told: str) -> None:
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff", told
    assert headers["Referrer-Policy"] == "same-origin", told
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin", told
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], told
    assert "unsafe" not in headers["Content-Security-Policy"], told
    assert headers["Cache-Control"], told
    assert "Strict-Transport-Security" not in headers, told


def test_every_answer_of_every_route_has_the_headers(api: Api, job_id: str) -> None:
    known = requests_of(("GET", "HEAD", "OPTIONS", "PATCH"), job_id=job_id)
    unknown = requests_of()
    for method, path in itertools.chain(known, unknown, [("PATCH", "/jobs"), ("GET", "/no")]):
        with requests.request(
            method, api.url + path, headers=FORM, allow_redirects=False, stream=True, timeout=30
        ) as answer:
            assert_kept_from_others(answer, f"{method} {path} {answer.status_code}")


def test_what_is_no_page_loads_nothing_in_a_browser(api: Api, job_id: str) -> None:
    for path in (
        f"/jobs/{job_id}",
        f"/jobs/{job_id}/results",
        "/jobs/none",
        "/no",
        "/openapi.json",
    ):
        policy = api.get(path).headers["Content-Security-Policy"]

        assert policy.startswith("default-src 'none'"), path


def test_no_cache_keeps_jobs_and_one_may_ask_whether_they_changed(api: Api, job_id: str) -> None:
    shown = api.get(f"/jobs/{job_id}")

    assert shown.headers["Cache-Control"] == "private, no-cache"
    assert api.get(f"/jobs/{job_id}", **{"If-None-Match": shown.headers["ETag"]}).status_code == 304
    for path in ("/jobs", f"/jobs/{job_id}/results", f"/jobs/{job_id}/errors", "/jobs/none", "/"):
        assert api.get(path).headers["Cache-Control"] == "no-store", path


def test_what_is_no_http_is_refused_with_the_headers_too(api: Api) -> None:
    with connected(api) as connection:
        connection.sendall(b"NO HTTP\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["code"] == "bad_request"
    for header in (b"X-Content-Type-Options: nosniff", b"Content-Security-Policy: default-src 'no",
                   b"Cache-Control: no-store"):  # fmt: skip
        assert header in head


def test_nobody_is_believed_to_be_a_proxy_unless_one_is_set_up(api: Api) -> None:
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "SCRIPT_NAME": "/x",
    }

    answer = api.get("/healthz", **headers)

    assert answer.status_code == 200
    assert "Strict-Transport-Security" not in answer.headers
