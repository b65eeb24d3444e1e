"""How jobs end but by having all rows scored: cancelled, deleted, expired, failed, too late."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import requests
from redis import Redis

from shared.job_store.connection import connect
from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    assert_sound,
    newer_job,
    newest_job,
    results,
    row_errors,
    shown,
)
from tests.contract.bodies import LONG
from tests.live_stack import Api
from tests.raw_http import answer_on, connected, head
from tests.waiting import wait_until


@pytest.fixture
def redis(api: Api) -> Iterator[Redis]:
    """The stack's server."""
    client = connect(api.redis_url)
    yield client
    client.close()


def chunks_being_run(redis: Redis, job: Document) -> list[bytes]:
    """The leases of a job's chunks that workers hold."""
    leases = [field for key in redis.scan_iter("leases:*") for field in redis.hkeys(key)]
    return [field for field in leases if field.startswith(job["id"].encode())]


def is_waiting_for_more(api: Api, job: Document) -> bool:
    """Whether all that was sent has been taken in: nothing has come of it for 20 looks."""
    looks = [shown(api, job)["counts"]["total"] for _ in range(20)]
    return looks[0] == looks[-1]


# --- cancelling


def test_what_is_finished_stays_downloadable_after_a_cancel(api: Api, running: Document) -> None:
    answer = api.post(running["urls"]["cancel"])

    job = accepted(answer)
    lines = results(api, job)
    assert_sound(job)
    assert job["status"] == "cancelled"
    assert 0 < job["counts"]["succeeded"] == len(lines) < job["counts"]["total"]
    assert {line["prediction"] for line in lines} == {"30"}
    assert len({line["row"] for line in lines}) == len(lines)


def test_workers_turn_away_from_a_cancelled_job_within_two_seconds(
    api: Api, redis: Redis, running: Document
) -> None:
    wait_until(lambda: chunks_being_run(redis, running))

    api.post(running["urls"]["cancel"])

    wait_until(lambda: not chunks_being_run(redis, running), timeout=2)


def test_a_cancel_ends_the_search_for_rows_that_a_model_refuses(api: Api, redis: Redis) -> None:
    job = accepted(api.submit("x\n" + "-1\n" * 900, model="reluctant", wait=0))  # 90 s of search
    wait_until(lambda: chunks_being_run(redis, job))

    api.post(job["urls"]["cancel"])

    wait_until(lambda: not chunks_being_run(redis, job), timeout=2)


def test_a_cancelled_job_stays_as_it_was(api: Api, running: Document) -> None:
    first = accepted(api.post(running["urls"]["cancel"]))
    second = accepted(api.post(running["urls"]["cancel"]))
    # A chunk was being scored; its commit comes too late, and another job is scored after it.
    accepted(api.submit("x\n" + "3\n" * 600, model="slow"))

    assert second == first == shown(api, running)


def test_an_ended_job_can_no_longer_be_cancelled(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    assert accepted(api.post(job["urls"]["cancel"])) == job


# --- deleting and expiry

PARTS = [("GET", ""), ("GET", "/results"), ("GET", "/errors"), ("POST", "/cancel"),
         ("POST", "/retry"), ("DELETE", "")]  # fmt: skip


def assert_gone(api: Api, job: Document, reason: str) -> None:
    for method, part in PARTS:
        url = f"{api.url}{job['urls']['self']}{part}"
        answer = requests.request(method, url, json={"only": "failed"}, timeout=60)
        assert_problem(answer, 410, "job_gone", reason, "Submit it again")
    assert job["id"] not in {other["id"] for other in api.get("/jobs?limit=100").json()["jobs"]}


def test_a_deleted_job_is_gone_and_says_so(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    answer = api.delete(job["urls"]["self"])

    assert (answer.status_code, answer.content) == (204, b"")
    assert_gone(api, job, "deleted")


def test_a_job_can_be_deleted_while_it_runs(api: Api, running: Document) -> None:
    answer = api.delete(running["urls"]["self"])

    assert answer.status_code == 204
    assert_gone(api, running, "deleted")
    assert accepted(api.submit("x\n6\n", model="line"))["status"] == "succeeded"


def test_deleting_a_running_job_frees_its_memory_at_once_and_for_good(
    api: Api, redis: Redis, running: Document
) -> None:
    name = f"job:{{{running['id']}}}"
    wait_until(lambda: chunks_being_run(redis, running))
    before = {key.decode() for key in redis.scan_iter(f"{name}*")}

    api.delete(running["urls"]["self"])

    at_once = {key.decode() for key in redis.scan_iter(f"{name}*")}
    wait_until(lambda: not chunks_being_run(redis, running), timeout=5)
    assert {name, f"{name}:results"} <= before
    assert any(key.startswith(f"{name}:input:") for key in before)
    assert at_once == {f"{name}:tombstone"}
    # The chunks that were being scored meanwhile have left nothing behind, either.
    assert {key.decode() for key in redis.scan_iter(f"{name}*")} == {f"{name}:tombstone"}
    assert not [f for f in redis.hkeys("backlog") if running["id"].encode() in f]


def test_deleting_a_job_whose_body_arrives_is_told_to_who_sends_it(api: Api) -> None:
    rest = b"6,a\n" * 10
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(head(f"Content-Length: {len(LONG) + len(rest)}") + LONG)
        job = wait_until(lambda: newer_job(api, before))
        wait_until(lambda: is_waiting_for_more(api, job))
        api.delete(job["urls"]["self"])
        connection.sendall(rest)
        status, problem = answer_on(connection)

    assert (status, problem["code"]) == (410, "job_gone")


def test_a_job_expires_when_the_caller_wants_it_to(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line", expires_in="2"))

    wait_until(lambda: api.get(job["urls"]["self"]).status_code == 410, timeout=5)

    assert_gone(api, job, "expired")


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({}, timedelta(days=1)),
        ({"expires_in": "90"}, timedelta(seconds=90)),
        ({"expires_in": "99999999999999999999"}, timedelta(days=7)),
    ],
)
def test_a_job_is_kept_for_a_bounded_time_after_its_end(
    api: Api, query: dict[str, str], kept: timedelta
) -> None:
    job = accepted(api.submit("x\n6\n", model="line", **query))

    finished, expires = (datetime.fromisoformat(job[f"{e}_at"]) for e in ("finished", "expires"))
    assert expires - finished == kept


# --- deadlines


def test_a_job_that_misses_its_deadline_fails_and_keeps_what_is_finished(
    api: Api, slow: str
) -> None:
    job = accepted(api.submit("x\n" + "3\n" * 20_000, model=slow, deadline="4"))

    lines = results(api, job)
    created, finished = (
        datetime.fromisoformat(job[f"{event}_at"]) for event in ("created", "finished")
    )
    assert_sound(job)
    assert (job["status"], job["error"]["code"]) == ("failed", "deadline_exceeded")
    assert timedelta(seconds=4) <= finished - created < timedelta(seconds=10)
    assert 0 < job["counts"]["succeeded"] == len(lines) < 20_000
    assert {line["prediction"] for line in lines} == {"30"}


@pytest.mark.parametrize("deadline", ["60", "99999999999999999999"])
def test_a_job_that_meets_its_deadline_is_as_any_other(api: Api, deadline: str) -> None:
    job = accepted(api.submit("x\n6\n", model="line", deadline=deadline))

    assert (job["status"], job["error"]) == ("succeeded", None)


def test_a_body_that_takes_longer_than_the_deadline_is_answered_with_the_failed_job(
    api: Api,
) -> None:
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(head(f"Content-Length: {2 * len(LONG)}", query="model=line&deadline=1"))
        connection.sendall(LONG)
        job = wait_until(lambda: newer_job(api, before))
        wait_until(lambda: shown(api, job)["status"] == "failed")
        connection.sendall(LONG.partition(b"\n")[2] + b"\n" * 4)
        status, answer = answer_on(connection)

    assert status == 202
    assert (answer["id"], answer["status"]) == (job["id"], "failed")
    assert answer["error"]["code"] == "deadline_exceeded"


# --- jobs that fail


def test_a_job_without_a_single_good_row_fails(api: Api) -> None:
    job = accepted(api.submit("x\nbad\nworse\n", model="line"))

    assert (job["status"], job["error"]["code"]) == ("failed", "all_rows_failed")
    assert "row errors" in job["error"]["detail"]
    assert [error["row"] for error in row_errors(api, job)] == [1, 2]
    assert [line["error"] for line in results(api, job)] == ["not_a_number"] * 2


@pytest.mark.parametrize(
    ("threshold", "status"),
    [("0", "failed"), ("1", "failed"), ("2", "partially_succeeded"), ("-1", "partially_succeeded")],
)
def test_a_job_may_have_as_many_bad_rows_as_the_caller_allows(
    api: Api, threshold: str, status: str
) -> None:
    job = accepted(api.submit("x\n6\nbad\nbad\n", model="line", error_threshold=threshold))

    assert_sound(job)
    assert job["status"] == status
    assert [error["row"] for error in row_errors(api, job)] == [2, 3]
    if status == "failed":
        assert job["error"]["code"] == "error_threshold_exceeded"
        assert f"2 rows failed; the job allows {threshold}" in job["error"]["detail"]


def test_one_row_that_fails_where_none_may_is_told_as_one(api: Api) -> None:
    job = accepted(api.submit("x\n6\nbad\n", model="line", error_threshold=0))

    assert job["error"]["detail"] == "1 row failed; the job allows 0."
