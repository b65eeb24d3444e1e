"""Each key has its own limits: requests a minute, rows a day, jobs in flight; headers tell."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.api_keys import KeyLimits, NewKey, Scope
from shared.errors import StoreUnavailableError
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.job_store.limit_storage import URI, LimitStorage, limit_storage
from shared.jobs import new_job_id
from tests.live_stack import Api, live_stack

ROW = "x\n6\n"
SLOW = "x\n" + "1\n" * 20_000
"""Takes the model `slow` twenty seconds, if nobody cancels it."""


@pytest.fixture(scope="module")
def stack(run_directory: Path, few_models: Path) -> Iterator[Api]:
    own = {"auth": "required", "key_rows_per_day": "100000", "default_model": "line"}
    with live_stack(run_directory / "limits", few_models, **own) as api:
        yield api


def caller(stack: Api, **limits: int) -> Api:
    """The stack as somebody with these limits speaks to it."""
    with closing(connect(stack.redis_url)) as redis:
        new = NewKey(name="k", scopes=[Scope.SUBMIT, Scope.READ], limits=KeyLimits(**limits))
        _, token = ApiKeys(redis).create(new)
    return stack.sent_with(token.text)


def problem(answer: requests.Response, code: str) -> dict[str, Any]:
    """The document of a refusal that says when to come back."""
    assert answer.status_code == 429, answer.text
    assert answer.json()["code"] == code
    assert int(answer.headers["Retry-After"]) >= 1
    return dict(answer.json())


def left(answer: requests.Response, policy: str) -> int:
    """What the header says is left of a policy."""
    parts = dict(part.strip().split(";", 1) for part in answer.headers["RateLimit"].split(","))
    return int(parts[f'"{policy}"'].partition("r=")[2].partition(";")[0])


def test_requests_are_counted_and_refused(stack: Api) -> None:
    one, other = caller(stack, requests_per_minute=5), caller(stack, requests_per_minute=5)

    answers = [one.get("/models") for _ in range(7)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert [left(answer, "requests") for answer in answers] == [4, 3, 2, 1, 0, 0, 0]
    assert '"requests";q=5;w=60' in answers[0].headers["RateLimit-Policy"]
    assert "5 requests a minute" in problem(answers[-1], "rate_limited")["detail"]
    assert other.get("/models").ok


def test_requests_that_nobody_has_to_sign_are_not_counted(stack: Api) -> None:
    one = caller(stack, requests_per_minute=1)

    assert all(one.get("/healthz").ok for _ in range(3))
    assert one.get("/models").ok


def test_requests_that_are_refused_are_counted_too(stack: Api) -> None:
    one = caller(stack, requests_per_minute=3)

    guesses = [one.get(f"/jobs/{new_job_id()}") for _ in range(2)]
    beyond = one.get("/status")

    assert [answer.status_code for answer in (*guesses, beyond)] == [404, 404, 403]
    assert [left(answer, "requests") for answer in (*guesses, beyond)] == [2, 1, 0]
    problem(one.get(f"/jobs/{new_job_id()}"), "rate_limited")


def test_rows_are_counted_by_whoever_takes_them_in(stack: Api) -> None:
    one = caller(stack, rows_per_day=10)

    small = one.submit("x\n" + "6\n" * 4)
    page = one.predict("x\n" + "6\n" * 5)
    refused = one.submit("x\n1\n2\n")
    last = one.submit(ROW)

    assert small.status_code == 202
    assert left(small, "rows") == 6
    assert page.status_code == 200
    assert left(page, "rows") == 1
    assert (
        "10 rows scored a day, of which 1 are left"
        in (problem(refused, "row_quota_exceeded")["detail"])
    )
    assert last.status_code == 202
    assert left(last, "rows") == 0


def test_rows_of_a_huge_job_are_counted_chunk_by_chunk(stack: Api) -> None:
    one = caller(stack, rows_per_day=3_000_000)
    wide = b"x,t\n" + (b"6," + b"a" * 1021 + b"\n") * 6000

    first = one.submit(wide)
    few = caller(stack, rows_per_day=5_000)
    refused = few.submit(wide)

    assert first.json()["counts"]["succeeded"] == 6000
    assert left(first, "rows") == 3_000_000 - 6000
    problem(refused, "row_quota_exceeded")
    # What had been taken in of it ended as failed, and holds no place.
    jobs = few.get("/jobs").json()["jobs"]
    assert [job["error"]["code"] for job in jobs] == ["upload_incomplete"]


def test_a_replay_takes_nothing(stack: Api) -> None:
    one = caller(stack, rows_per_day=10)
    key = {"Idempotency-Key": "once"}

    first = one.submit("x\n" + "6\n" * 8, headers=key)
    again = one.submit("x\n" + "6\n" * 8, headers=key)

    assert again.json()["id"] == first.json()["id"]
    assert one.submit("x\n1\n2\n").status_code == 202


def test_failed_rows_that_are_tried_again_count_again(stack: Api) -> None:
    one = caller(stack, rows_per_day=4)

    job = one.submit("x\n1\nsix\nseven\n").json()
    refused = one.post(f"/jobs/{job['id']}/retry", json={"only": "failed"})

    assert job["counts"]["failed"] == 2
    problem(refused, "row_quota_exceeded")


def test_jobs_in_flight_are_bounded_and_free_their_place(stack: Api) -> None:
    one = caller(stack, jobs_in_flight=2)

    slow = [one.submit(SLOW, wait=0, model="slow").json() for _ in range(2)]
    refused = one.submit(ROW)
    one.post(f"/jobs/{slow[0]['id']}/cancel")
    taken = one.submit(ROW)
    one.delete(f"/jobs/{slow[1]['id']}")
    more = [one.submit(ROW) for _ in range(3)]

    assert "2 jobs at a time" in problem(refused, "too_many_jobs")["detail"]
    assert taken.json()["status"] == "succeeded"
    assert [answer.json()["status"] for answer in more] == ["succeeded"] * 3


def test_where_the_store_is_full_one_may_still_read_and_make_room(stack: Api) -> None:
    one = caller(stack, requests_per_minute=100, rows_per_day=100)
    job = one.submit(ROW).json()

    with full_store(stack):
        read = one.get(f"/jobs/{job['id']}/results")
        refused = one.submit(ROW)
        deleted = one.delete(f"/jobs/{job['id']}")

    assert (read.status_code, deleted.status_code) == (200, 204), read.text
    problem(refused, "store_full")
    assert left(one.submit(ROW), "rows") == 98


def test_a_store_that_is_away_is_told_of_as_everywhere() -> None:
    with closing(connect("unix:///nowhere")) as redis:
        storage = LimitStorage(URI, **limit_storage(redis))

        with pytest.raises(StoreUnavailableError):
            storage.acquire_sliding_window_entry("requests", 5, 60)
        with pytest.raises(StoreUnavailableError):
            storage.get_sliding_window("requests", 60)


@contextmanager
def full_store(stack: Api) -> Iterator[None]:
    """A server of the store that has no memory left for anything new."""
    with closing(connect(stack.redis_url)) as redis:
        before = redis.config_get("maxmemory")["maxmemory"]
        redis.config_set("maxmemory", 1)
        try:
            yield
        finally:
            redis.config_set("maxmemory", before)


@pytest.mark.parametrize("wait", [0, 20])
def test_a_job_that_is_refused_takes_no_rows(stack: Api, wait: int) -> None:
    one = caller(stack, jobs_in_flight=1, rows_per_day=20_100)
    slow = one.submit(SLOW, wait=0, model="slow").json()

    refused = [one.submit("x\n" + "6\n" * 40, wait=wait) for _ in range(2)]
    one.delete(f"/jobs/{slow['id']}")

    assert [problem(answer, "too_many_jobs")["status"] for answer in refused] == [429, 429]
    assert left(one.submit(ROW), "rows") == 99


def test_a_limit_of_all_holds_for_keys_without_one(stack: Api) -> None:
    one = caller(stack)

    answer = one.submit(ROW)

    assert '"rows";q=100000;w=86400' in answer.headers["RateLimit-Policy"]
    assert "requests" not in answer.headers["RateLimit-Policy"]
