"""Which callbacks are taken in, and how that is answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_stack import Api, api_process, environment, redis_server
from tests.receivers import SECRET

TABLE = "x\n1\n"


@pytest.fixture(scope="module")
def strict(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API that has a secret and lets callbacks go to public hosts only."""
    directory = run_directory / "strict"
    with redis_server(directory / "r") as redis_url:
        env = environment(redis_url, models_dir, webhook_secret=SECRET)
        with api_process(env, directory / "api.log") as api:
            yield api


@pytest.mark.parametrize("route", ["jobs", "predict"])
def test_without_a_secret_there_are_no_callbacks(route: str, api: Api) -> None:
    send = api.submit if route == "jobs" else api.predict

    answer = send(TABLE, model="line", callback_url="https://example.com/")

    assert answer.status_code == 422
    assert answer.json()["code"] == "webhooks_not_configured"
    assert "ROWMILL_WEBHOOK_SECRET" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "invalid_parameter"),
        ("example.com", "invalid_parameter"),
        ("https://example.com/#x", "invalid_parameter"),
        ("https://example.com/" + "x" * 2100, "invalid_parameter"),
        ("http://example.com/", "callback_refused"),
        ("https://127.0.0.1/", "callback_refused"),
        ("https://169.254.169.254/latest/meta-data", "callback_refused"),
        ("https://[::1]/", "callback_refused"),
        ("https://me:pass@example.com/", "callback_refused"),
    ],
)
def test_a_url_that_is_not_called_makes_no_job(url: str, code: str, strict: Api) -> None:
    answer = strict.submit(TABLE, model="line", callback_url=url)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert strict.get("/jobs").json()["jobs"] == []


def test_a_job_shows_its_callback_and_that_it_is_still_to_be_told(strict: Api) -> None:
    url = "https://example.com/hook?token=1"

    job = strict.submit(TABLE, wait=0, model="line", callback_url=url).json()
    other = strict.submit(TABLE, wait=0, model="line").json()

    assert (job["callback_url"], other["callback_url"]) == (url, None)
    assert strict.get(job["urls"]["deliveries"]).json() == {
        "state": "pending",
        "url": url,
        "attempts": [],
        "next_attempt_at": None,
    }
    assert strict.get(other["urls"]["deliveries"]).json()["state"] == "none"
    for document in (job, other):
        assert strict.delete(document["urls"]["self"]).status_code == 204
    assert strict.get(job["urls"]["deliveries"]).status_code == 410
    assert strict.get("/jobs/job_x/deliveries").status_code == 404
    assert strict.get("/jobs/job_x/deliveries?a=1").status_code == 404


def test_the_same_request_with_another_callback_is_another_request(strict: Api) -> None:
    headers = {"Idempotency-Key": "one"}
    url = "https://example.com/"

    first = strict.submit(TABLE, wait=0, headers=headers, model="line", callback_url=url)
    again = strict.submit(TABLE, wait=0, headers=headers, model="line", callback_url=url)
    other = strict.submit(TABLE, wait=0, headers=headers, model="line", callback_url=f"{url}2")

    assert again.json()["id"] == first.json()["id"]
    assert other.json()["code"] == "idempotency_key_reused"
    assert strict.delete(first.json()["urls"]["self"]).status_code == 204
