"""How much work is taken in, and what a caller is told when there is too much."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from shared.job_store.connection import connect
from tests.contract.answers import Document, accepted, assert_problem, newer_job, newest_job, shown
from tests.contract.bodies import in_pieces
from tests.live_stack import Api, api_process, environment, redis_server, worker_process
from tests.waiting import wait_until

MAX_WAITING_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Small:
    """An API that takes few rows, its server, and what a worker for it needs."""

    api: Api
    redis: Redis
    env: dict[str, str]
    log: Path


@pytest.fixture(scope="module")
def service(run_directory: Path, models_dir: Path) -> Iterator[Small]:
    """Nobody works for it, so what it takes stays."""
    directory = run_directory / "small"
    with ExitStack() as parts:
        url = parts.enter_context(redis_server(directory))
        limits = {"max_waiting_rows": str(MAX_WAITING_ROWS), "tombstone_seconds": "1"}
        env = environment(url, models_dir, **limits)
        api = parts.enter_context(api_process(env, directory / "api.log"))
        redis = connect(url)
        yield Small(api=api, redis=redis, env=env, log=directory / "worker.log")
        redis.close()


@pytest.fixture
def small(service: Small) -> Iterator[Small]:
    """With all work done away with afterwards."""
    yield service
    for job in service.api.get("/jobs?limit=100").json()["jobs"]:
        service.api.delete(job["urls"]["self"])
    service.redis.config_set("maxmemory", 0)
    service.redis.hdel("backlog", "rate")
    assert service.redis.hmget("backlog", "rows", "bytes") in ([None, None], [b"0", b"0"])


def table(rows: int) -> str:
    return "x\n" + "1\n" * rows


def taken(small: Small, rows: int, **query: str) -> Document:
    return accepted(small.api.submit(table(rows), model="echo", wait=0, **query))


# --- rows


def test_rows_that_would_be_too_many_are_refused_and_make_no_job(small: Small) -> None:
    taken(small, 60)
    before = newest_job(small.api)

    answer = small.api.submit(table(60), model="echo")

    assert_problem(answer, 429, "too_much_queued", "Too much work", answer.headers["Retry-After"])
    assert 1 <= int(answer.headers["Retry-After"]) <= 300
    assert newer_job(small.api, before) is None
    assert taken(small, MAX_WAITING_ROWS - 60)["status"] == "queued"


def test_when_to_come_back_is_told_by_how_fast_rows_are_done(small: Small) -> None:
    taken(small, MAX_WAITING_ROWS)
    small.redis.hset("backlog", "rate", "2.0")

    answer = small.api.submit(table(30), model="echo")

    assert_problem(answer, 429, "too_much_queued")
    assert answer.headers["Retry-After"] == "15"


def test_a_service_with_nothing_to_do_takes_more_than_may_wait(small: Small) -> None:
    assert taken(small, 5 * MAX_WAITING_ROWS)["status"] == "queued"


def test_a_body_without_a_length_is_counted_as_it_comes(small: Small) -> None:
    pieces = in_pieces(b"x\n", b"1\n" * 50, b"1\n" * 50)
    accepted(small.api.submit(pieces, model="echo", wait=0))  # type: ignore[arg-type]

    assert_problem(small.api.submit(table(1), model="echo"), 429, "too_much_queued")


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_work_that_is_called_off_makes_room(small: Small, end: str) -> None:
    job = taken(small, MAX_WAITING_ROWS)
    assert_problem(small.api.submit(table(1), model="echo"), 429, "too_much_queued")

    if end == "cancel":
        small.api.post(job["urls"]["cancel"])
    else:
        small.api.delete(job["urls"]["self"])

    assert taken(small, MAX_WAITING_ROWS)["status"] == "queued"


def test_a_request_that_made_a_job_before_is_no_new_work(small: Small) -> None:
    key = {"Idempotency-Key": "once"}
    first = small.api.submit(table(MAX_WAITING_ROWS), model="echo", wait=0, headers=key)

    again = small.api.submit(table(MAX_WAITING_ROWS), model="echo", wait=0, headers=key)

    assert accepted(again)["id"] == accepted(first)["id"]


def test_a_request_that_was_refused_for_want_of_room_leaves_its_key_free(small: Small) -> None:
    job = taken(small, MAX_WAITING_ROWS)
    key = {"Idempotency-Key": "later"}
    refused = small.api.submit(table(2), model="echo", wait=0, headers=key)
    small.api.delete(job["urls"]["self"])

    answer = small.api.submit(table(2), model="echo", wait=0, headers=key)

    assert_problem(refused, 429, "too_much_queued")
    assert accepted(answer)["counts"]["total"] == 2
    assert "Idempotent-Replayed" not in answer.headers


def test_what_was_refused_is_taken_when_the_work_before_it_is_done(small: Small) -> None:
    jobs = [accepted(small.api.submit("x\nbad\n", model="echo", wait=0))]
    jobs += [taken(small, MAX_WAITING_ROWS - 1)]
    assert_problem(small.api.submit(table(2), model="echo"), 429, "too_much_queued")

    with worker_process(small.env, small.log, processes=1):
        # The worker starts first.
        job = wait_until(
            lambda: (a := small.api.submit(table(2), model="echo")).ok and a.json(), timeout=60
        )
        # Another process has it, which may need longer than this one for two jobs.
        failed = shown(small.api, jobs[0], Prefer="wait=50")
        order, wait = {"only": "failed"}, {"Prefer": "wait=20"}
        retry = accepted(small.api.post(failed["urls"]["retry"], json=order, **wait))

    assert job["status"] == "succeeded"
    assert failed["error"]["code"] == "all_rows_failed"
    assert (retry["retry_of"], retry["counts"]["failed"]) == (failed["id"], 1)


# --- memory


def used_memory(small: Small) -> int:
    return int(small.redis.info("memory")["used_memory"])


def test_a_job_that_even_an_empty_store_has_no_room_for_is_refused(small: Small) -> None:
    small.redis.config_set("maxmemory", used_memory(small) + 8 * 1024**2)

    answer = small.api.submit(table(1_000_000), model="echo", wait=0)

    # Two bytes a row make thirty of results.
    assert_problem(answer, 413, "job_too_large", "and its results", "split it")


def test_memory_is_not_promised_twice(small: Small) -> None:
    small.redis.config_set("maxmemory", used_memory(small) + 16 * 1024**2)
    job = taken(small, 200_000)

    answer = small.api.submit(table(200_000), model="echo", wait=0)
    small.api.delete(job["urls"]["self"])

    assert_problem(answer, 429, "too_much_queued", "delete jobs")
    assert int(answer.headers["Retry-After"]) >= 1
    assert taken(small, 200_000)["status"] == "queued"


# --- what is kept of keys


def test_the_key_of_a_deleted_job_is_forgotten_with_its_tombstone(small: Small) -> None:
    key = {"Idempotency-Key": "deleted"}
    job = accepted(small.api.submit(table(1), model="echo", wait=0, headers=key))
    small.api.delete(job["urls"]["self"])
    wait_until(lambda: small.api.get(job["urls"]["self"]).status_code == 404, timeout=5)

    answer = small.api.submit(table(1), model="echo", wait=0, headers=key)

    assert accepted(answer)["id"] != job["id"]


def test_deleting_a_broken_upload_leaves_the_key_to_the_job_that_came_after(small: Small) -> None:
    key = {"Idempotency-Key": "broken"}
    bad = "x,t\n" + "1,text\n" * 200_000 + '1,"never closed\n'
    assert_problem(small.api.submit(bad, model="echo", headers=key), 422, "unclosed_quote")
    broken = newest_job(small.api)
    job = accepted(small.api.submit(table(1), model="echo", wait=0, headers=key))

    assert broken is not None
    small.api.delete(broken["urls"]["self"])
    wait_until(lambda: small.api.get(broken["urls"]["self"]).status_code == 404, timeout=5)

    again = accepted(small.api.submit(table(1), model="echo", wait=0, headers=key))
    assert again["id"] == job["id"]
