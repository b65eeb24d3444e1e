"""Who follows a job has one of the seats of those who wait, and leaves it whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.factories import make_result
from tests.job_steps import JobSteps, steps_on
from tests.live_stack import Api, api_process, environment, redis_server
from tests.waiting import wait_until

MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def narrow(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API with one seat that bears a second of silence; nobody works but the test."""
    # A second process would have a seat of its own, and the system says which of them is asked.
    settings = {"api_processes": "1", "max_waiting_requests": "1", "max_silence_seconds": "1"}
    with redis_server(run_directory / "f") as url:
        env = environment(url, models_dir, **settings)
        with api_process(env, run_directory / "narrow.log") as api:
            yield api


@pytest.fixture
def steps(narrow: Api) -> Iterator[JobSteps]:
    """Steps on that API's server."""
    with steps_on(narrow.redis_url) as steps:
        yield steps


def path_of(job_id: str) -> str:
    return f"/jobs/{job_id}/results?follow=true"


def answer_to(api: Api, job_id: str, *, method: str = "GET", **headers: str) -> requests.Response:
    """The beginning of the stream of a job's results, or why there is none."""
    url = f"{api.url}{path_of(job_id)}"
    return requests.request(method, url, headers=headers, stream=True, timeout=30)


@contextmanager
def follower(api: Api, job_id: str, **headers: str) -> Iterator[requests.Response]:
    """The stream of a job's results, as soon as the seat is free."""

    def seated() -> requests.Response | None:
        answer = answer_to(api, job_id, **headers)
        return None if answer.status_code == 429 else answer

    with wait_until(seated, timeout=10) as answer:
        assert answer.ok, answer.text
        yield answer


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
def test_headers_are_sent_before_there_is_a_line(
    narrow: Api, steps: JobSteps, media_type: str
) -> None:
    job_id = steps.submit()

    with follower(narrow, job_id, Accept=media_type) as answer:
        assert answer.headers["Content-Type"].split(";")[0] == media_type

    assert not steps.store.get(job_id).has_ended


def test_who_finds_no_seat_is_told_to_come_back(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with follower(narrow, job_id) as first:
        second = answer_to(narrow, job_id)
        waiting = narrow.get(f"/jobs/{job_id}", Prefer="wait=60")

        assert (second.status_code, second.json()["code"]) == (429, "too_many_waiting")
        assert int(second.headers["Retry-After"]) >= 1
        assert "Preference-Applied" not in waiting.headers
        steps.run_all()
        assert first.text == "prediction\nchunk 0\n"


def test_a_job_that_has_ended_takes_no_seat(narrow: Api, steps: JobSteps) -> None:
    ended = steps.submit()
    steps.run_all()
    with follower(narrow, steps.submit()):
        assert answer_to(narrow, ended).text == "prediction\nchunk 0\n"


# --- leaving


def assert_seat_is_left(api: Api, steps: JobSteps) -> None:
    with follower(api, steps.submit()):
        # Of all that were there before, nobody is any more.
        wait_until(lambda: len(steps.redis.client_list(_type="pubsub")) <= 1)


def test_the_end_of_a_job_leaves_the_seat(narrow: Api, steps: JobSteps) -> None:
    with follower(narrow, steps.submit()) as answer:
        steps.run_all()

        assert answer.text == "prediction\nchunk 0\n"
        assert_seat_is_left(narrow, steps)


def test_the_deletion_of_a_job_leaves_the_seat(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with follower(narrow, job_id):
        steps.store.delete(job_id)

        assert_seat_is_left(narrow, steps)


def test_a_client_that_goes_leaves_its_seat(narrow: Api, steps: JobSteps) -> None:
    with follower(narrow, steps.submit()):
        pass

    assert_seat_is_left(narrow, steps)


def test_a_request_for_the_headers_alone_leaves_its_seat(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()

    head = wait_until(lambda: answer_to(narrow, job_id, method="HEAD"), timeout=10)

    assert (head.status_code, head.content) == (200, b"")
    assert_seat_is_left(narrow, steps)


def test_a_client_that_stops_reading_is_cut_off_and_leaves_its_seat(
    narrow: Api, steps: JobSteps
) -> None:
    job_id = steps.submit(chunks=9)
    with follower(narrow, job_id):
        for _ in range(8):
            result = make_result(results=b"x" * 4 * MEBIBYTE)
            steps.leases.commit(steps.leased(), result)

        assert_seat_is_left(narrow, steps)

    assert not steps.store.get(job_id).has_ended
