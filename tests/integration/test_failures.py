"""What callers see when a model, a row or a process goes wrong."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from shared.dispatch import SCORE_CHUNKS, WORK_QUEUE, Dispatcher, make_celery
from shared.job_store import keys
from shared.settings import Settings
from tests.contract.answers import assert_problem
from tests.live_stack import Api, live_stack
from tests.waiting import wait_until

MAX_LOST_ATTEMPTS = 8
"""Enough for one guilty row among 10,000: the chunk, four levels of sixteen parts, and two strikes
of the row, of which the last level is the first; one more for a process that dies by itself."""


@pytest.fixture(scope="module")
def directory(run_directory: Path) -> Path:
    return run_directory / "failing"


@pytest.fixture(scope="module")
def own_models(run_directory: Path, models_dir: Path) -> Path:
    """A copy of the models that a test may spoil."""
    return Path(shutil.copytree(models_dir, run_directory / "spoiled"))


@pytest.fixture(scope="module")
def fragile(directory: Path, own_models: Path) -> Iterator[Api]:
    """A stack that tests may hurt."""
    corrupt = next(own_models.glob("boosted/1/model.*"))
    corrupt.write_bytes(corrupt.read_bytes()[:-1] + b"?")
    with live_stack(directory, own_models, chunk_time_limit_seconds="4") as api:
        yield api


@pytest.fixture
def redis(fragile: Api, directory: Path) -> Iterator[Redis]:
    """The stack's server."""
    client = Redis(unix_socket_path=str(directory / "r" / "s"))
    yield client
    client.close()


def row_errors(api: Api, job: dict[str, Any]) -> list[dict[str, Any]]:
    answer = api.get(job["urls"]["errors"], Accept="application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def lost_attempts(redis: Redis, job: dict[str, Any]) -> int:
    return int(redis.hget(f"job:{{{job['id']}}}", "attempts_lost") or 0)


def worker_main(directory: Path) -> psutil.Process:
    """The worker's main process whose log lies in `directory`."""
    mine = [p for p in psutil.Process().children() if "worker.app" in " ".join(p.cmdline())]
    logs = {p: os.readlink(f"/proc/{p.pid}/fd/1") for p in mine}
    (main,) = [p for p, log in logs.items() if log == str(directory / "worker.log")]
    return main


def oom_score(process: psutil.Process) -> int:
    """How readily the kernel ends `process` when memory runs out; -1 if it is gone."""
    try:
        return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return -1


def status(api: Api, job: dict[str, Any]) -> str:
    return str(api.get(job["urls"]["self"]).json()["status"])


# --- rows


def test_a_row_the_model_refuses_is_a_row_error_and_the_others_are_scored(fragile: Api) -> None:
    job = fragile.submit("x\n1\n-2\n3\n", model="fussy").json()

    (error,) = row_errors(fragile, job)
    assert job["counts"] == {"total": 3, "succeeded": 2, "failed": 1, "pending": 0}
    assert (error["row"], error["line"], error["code"]) == (2, 3, "prediction_failed")
    assert error["message"] == "ValueError: a value is below zero"


@pytest.mark.timeout(180)
def test_one_row_of_ten_thousand_that_kills_its_process_is_found(
    fragile: Api, redis: Redis
) -> None:
    redis.hset("speeds", "deadly/1", 1_000_000)  # so that they make one chunk
    rows = [str(10_000 + number) for number in range(10_000)]
    rows[6_543] = "666"

    job = fragile.ended(fragile.submit("x\n" + "\n".join(rows), model="deadly", wait=0).json())

    assert job["progress"]["chunks_total"] == 1
    assert job["counts"] == {"total": 10_000, "succeeded": 9_999, "failed": 1, "pending": 0}
    (error,) = row_errors(fragile, job)
    assert (error["row"], error["line"], error["code"]) == (6_544, 6_545, "row_crashed_worker")
    assert 0 < lost_attempts(redis, job) <= MAX_LOST_ATTEMPTS
    expected = [
        f"{n},,row_crashed_worker" if x == "666" else f"{n},{x}0," for n, x in enumerate(rows, 1)
    ]
    assert fragile.get(job["urls"]["results"]).text.splitlines()[1:] == expected


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("model", "guilty", "code"),
    [("stuck", 777, "row_crashed_worker"), ("greedy", 666, "prediction_failed")],
)
def test_a_row_that_hangs_or_takes_all_memory_costs_itself_alone(
    fragile: Api, model: str, guilty: int, code: str
) -> None:
    body = f"x\n5\n6\n{guilty}\n7\n"

    job = fragile.ended(fragile.submit(body, model=model, wait=0).json())

    (error,) = row_errors(fragile, job)
    assert job["counts"] == {"total": 4, "succeeded": 3, "failed": 1, "pending": 0}
    assert (error["row"], error["line"], error["code"]) == (3, 4, code)


def test_other_jobs_go_on_while_a_row_kills_one_process_after_the_other(fragile: Api) -> None:
    poison = fragile.submit("x\n666\n", model="deadly", wait=0).json()
    healthy = fragile.submit("x\n1\n", model="echo", wait=0).json()

    assert fragile.ended(healthy)["status"] == "succeeded"
    poisoned = fragile.ended(poison)
    assert (poisoned["status"], poisoned["error"]["code"]) == ("failed", "all_rows_failed")
    assert [error["code"] for error in row_errors(fragile, poisoned)] == ["row_crashed_worker"]


@pytest.mark.timeout(240)
def test_a_model_that_kills_its_process_on_every_row_is_given_up(
    run_directory: Path, models_dir: Path
) -> None:
    directory = run_directory / "hopeless"
    limits = {"max_chunk_losses": "5"}
    with live_stack(directory, models_dir, **limits) as api:
        job = api.ended(api.submit("x\n" + "666\n" * 90, model="deadly", wait=0).json())

        codes = {error["code"] for error in row_errors(api, job)}
        assert job["counts"] == {"total": 90, "succeeded": 0, "failed": 90, "pending": 0}
        assert "attempts_exhausted" in codes
        assert codes <= {"attempts_exhausted", "row_crashed_worker"}


def test_a_model_that_was_changed_on_disk_fails_its_jobs_and_only_those(fragile: Api) -> None:
    job = fragile.submit("a,b,c\n1,2,3\n", model="boosted").json()

    assert job["status"] == "failed"
    assert job["error"]["code"] == "model_load_failed"
    assert "checksum" in job["error"]["detail"]
    predict = fragile.predict("a,b,c\n1,2,3\n", model="boosted")
    assert_problem(predict, 500, "job_unfinished", "failed", "model_load_failed", "checksum")
    assert fragile.submit("x\n6\n", model="line").json()["status"] == "succeeded"


def test_small_jobs_that_are_run_with_a_deadly_one_get_their_predictions(fragile: Api) -> None:
    values = [666 if number == 11 else number for number in range(24)]
    with ThreadPoolExecutor(24) as pool:
        jobs = list(
            pool.map(lambda x: fragile.submit(f"x\n{x}\n", model="deadly", wait=0).json(), values)
        )

    ended = [fragile.ended(job) for job in jobs]

    others = [job for job, x in zip(ended, values, strict=True) if x != 666]
    assert {job["status"] for job in others} == {"succeeded"}
    assert [error["code"] for error in row_errors(fragile, ended[11])] == ["row_crashed_worker"]


# --- processes


def test_a_chunk_whose_process_died_is_scored_by_another_one(fragile: Api) -> None:
    job = fragile.ended(fragile.submit("x\n1\n666\n", model="deadly_once", wait=0).json())

    assert job["status"] == "succeeded", job["error"]
    assert "6660" in fragile.get(job["urls"]["results"]).text
    assert "others took over" in job["warnings"][0]


def test_killed_pool_processes_lose_no_row(fragile: Api, directory: Path, redis: Redis) -> None:
    redis.hset("speeds", "slow/1", 500)  # so that a chunk keeps the time limit
    rows = "\n".join(map(str, range(3_500)))  # 7 s of work, to be met at it
    job = fragile.submit(f"x\n{rows}\n", model="slow", wait=0).json()
    wait_until(lambda: status(fragile, job) == "running")

    for child in worker_main(directory).children():
        child.send_signal(signal.SIGKILL)

    assert fragile.ended(job)["counts"]["succeeded"] == 3_500


def test_when_memory_runs_out_a_pool_process_goes_before_the_worker(
    fragile: Api, directory: Path
) -> None:
    main = worker_main(directory)
    own_score = oom_score(main)

    # An earlier test may have killed some: they are replaced within a moment.
    wait_until(lambda: sum(oom_score(child) > own_score for child in main.children()) == 3)


# --- messages


def test_messages_too_many_change_nothing(fragile: Api, directory: Path, redis: Redis) -> None:
    redis.hset("speeds", "slow/1", 500)
    body = "x\n" + "\n".join(map(str, range(2_000)))
    job = fragile.submit(body, model="slow", wait=0).json()

    celery = make_celery(Settings(redis_url=f"unix://{directory / 'r' / 's'}"))
    dispatcher = Dispatcher(celery)
    while status(fragile, job) != "succeeded":
        dispatcher.wake()
    celery.close()

    chunks = redis.hgetall(f"job:{{{job['id']}}}:chunks")
    attempts = {int(count) for field, count in chunks.items() if field.endswith(b":attempts")}
    assert attempts == {1}
    lines = fragile.get(job["urls"]["results"]).text.splitlines()[1:]
    assert lines == [f"{n + 1},{n * 10}," for n in range(2_000)]


def test_a_lost_message_costs_seconds_and_no_row(fragile: Api, redis: Redis) -> None:
    rows = "\n".join(map(str, range(3_000)))
    job = fragile.submit(f"x\n{rows}\n", model="slow", wait=0).json()

    def lose_messages_until_the_end() -> bool:
        redis.delete(WORK_QUEUE, *redis.keys(f"{WORK_QUEUE}:*"))
        return status(fragile, job) == "succeeded"

    wait_until(lose_messages_until_the_end, timeout=60)


def test_messages_carry_no_rows_and_celery_keeps_no_results(
    fragile: Api, directory: Path, redis: Redis
) -> None:
    main = worker_main(directory)

    def submitted() -> bool:
        return fragile.submit("x\n123456789\n", model="echo", wait=0).ok

    main.suspend()
    try:
        # Who lingers is rung for, which takes no message.
        wait_until(lambda: not redis.exists(keys.LINGERING))
        # The first one is taken off the queue by who waited for it before it was frozen, and no
        # other is sent while one is under way.
        messages = wait_until(lambda: submitted() and redis.lrange(WORK_QUEUE, 0, -1))
    finally:
        main.resume()

    headers = [json.loads(message)["headers"] for message in messages]
    assert {header["task"] for header in headers} == {SCORE_CHUNKS}
    assert not any(b"123456789" in message for message in messages)
    assert not redis.keys("celery-task-meta-*")
