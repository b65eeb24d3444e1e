"""The bytes of bulk jobs in an S3 server, with a Redis that is far too small for them."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from redis import Redis

from shared import payloads
from shared.job_store import keys
from shared.job_store.connection import connect
from shared.job_store.garbage import Garbage
from shared.job_store.store import JobStore
from shared.row_range import RowRange
from tests.contract.answers import assert_problem
from tests.live_stack import (
    Api,
    api_process,
    ask_to_stop,
    environment,
    has_processes,
    redis_server,
    worker_process,
)
from tests.s3_server import S3Server
from tests.waiting import wait_until

MAX_MEMORY = 12 * 1024**2
CELL = "x" * 8_000


@dataclass(frozen=True, kw_only=True)
class Stack:
    """API and worker on a small Redis and an S3 server of their own."""

    api: Api
    redis: Redis
    s3: S3Server
    directory: Path
    worker_pid: int

    def begun(self, rows: int, model: str = "echo") -> dict[str, Any]:
        """A job with so many wide rows whose body is here; sent again while Redis is too full."""

        def sent() -> dict[str, Any] | None:
            answer = self.api.submit(body(rows), model=model, join="input", wait=0)
            assert answer.status_code in (202, 429), answer.text
            return dict(answer.json()) if answer.ok else None

        return wait_until(sent, timeout=30)

    def results(self, job: dict[str, Any]) -> Iterator[tuple[str, ...]]:
        """Lines, cut at commas and without their header."""
        url = self.api.url + job["urls"]["results"]
        with requests.get(url, stream=True, timeout=60) as answer:
            lines = answer.iter_lines(chunk_size=1024**2, decode_unicode=True)
            assert next(lines) == "row,x,note,prediction,error"
            yield from (tuple(line.split(",")) for line in lines)

    def make_due(self) -> None:
        """Let all be due that is to be deleted."""
        for note in self.redis.zrange(keys.GARBAGE, 0, -1):
            self.redis.zadd(keys.GARBAGE, {note: 1}, xx=True)

    def tidy(self) -> None:
        """Do what the workers do within some time."""
        self.make_due()
        Garbage(self.redis).work_off()
        wait_until(lambda: not self.redis.exists(keys.GARBAGE))


def body(rows: int) -> bytes:
    return b"x,note\n" + b"".join(b"%d,%b\n" % (row, CELL.encode()) for row in range(rows))


@pytest.fixture(scope="module")
def stack(run_directory: Path, few_models: Path, s3: S3Server) -> Iterator[Stack]:
    directory = run_directory / "payloads"
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(directory / "r"))
        redis = connect(redis_url)
        redis.config_set("maxmemory", MAX_MEMORY)
        redis.config_set("maxmemory-policy", "noeviction")
        settings = {"payload_url": s3.url, "chunk_time_limit_seconds": "20"}
        env = environment(redis_url, few_models, **settings)
        worker = parts.enter_context(worker_process(env, directory / "worker.log"))
        api = parts.enter_context(api_process(env, directory / "api.log"))
        parts.callback(ask_to_stop, worker.pid, api.pid)
        wait_until(lambda: has_processes(api, 3), timeout=60)
        yield Stack(api=api, redis=redis, s3=s3, directory=directory, worker_pid=worker.pid)
        redis.close()


@pytest.fixture
def tidy(stack: Stack) -> Iterator[Stack]:
    """Afterwards no job is left, and no object of one."""
    yield stack
    for job in stack.api.get("/jobs?limit=100").json()["jobs"]:
        stack.api.delete(job["urls"]["self"])
    stack.tidy()
    assert stack.s3.names() == []


def test_a_job_of_ten_times_the_memory_of_redis_goes_through(tidy: Stack) -> None:
    rows = 10 * MAX_MEMORY // len(CELL)
    used: list[int] = []

    def watch() -> None:
        while not is_over.wait(0.05):
            used.append(tidy.redis.info("memory")["used_memory"])

    is_over = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        job = tidy.api.ended(tidy.begun(rows))
    finally:
        is_over.set()
        watcher.join()

    assert job["input"]["bytes"] > 10 * MAX_MEMORY
    assert (job["status"], job["counts"]["succeeded"]) == ("succeeded", rows)
    lines = 0
    for lines, (row, x, note, prediction, error) in enumerate(tidy.results(job), start=1):
        assert (int(row), int(x), float(prediction), error) == (
            lines,
            lines - 1,
            10.0 * (lines - 1),
            "",
        )
        assert note == CELL
    assert lines == rows
    assert max(used) < MAX_MEMORY
    assert tidy.redis.info("stats")["evicted_keys"] == 0


def test_deleting_a_job_frees_its_objects_at_once(tidy: Stack) -> None:
    job = tidy.api.ended(tidy.begun(1500))
    assert [name for name in tidy.s3.names() if job["id"] in name]

    assert tidy.api.delete(job["urls"]["self"]).status_code == 204

    assert not [name for name in tidy.s3.names() if job["id"] in name]


def test_workers_delete_the_inputs_of_a_job_that_has_ended(tidy: Stack) -> None:
    job = tidy.api.ended(tidy.begun(1500))
    assert [name for name in tidy.s3.names() if f"{job['id']}/input" in name]

    tidy.make_due()

    wait_until(lambda: not tidy.redis.exists(keys.GARBAGE), timeout=30)
    assert not [name for name in tidy.s3.names() if "/input/" in name]
    assert len(list(tidy.results(job))) == 1500


def test_small_jobs_stay_in_redis(tidy: Stack) -> None:
    job = tidy.api.submit("x\n1\n", model="echo").json()

    assert job["status"] == "succeeded"
    assert tidy.s3.names() == []


def test_rows_that_all_fail_are_told_and_retried(tidy: Stack) -> None:
    rows = b"x,note\n" + b"".join(b"bad%d,%b\n" % (n, CELL.encode()) for n in range(1200))
    job = tidy.api.ended(tidy.api.submit(rows, model="echo", join="input", wait=0).json())

    assert job["error"]["code"] == "all_rows_failed"
    errors = tidy.api.get(job["urls"]["errors"] + "?offset=1100&limit=3").text.splitlines()
    assert [line.split(",")[0] for line in errors[1:]] == ["1101", "1102", "1103"]
    retried = tidy.api.ended(tidy.api.post(job["urls"]["retry"], json={"only": "failed"}).json())
    assert retried["counts"]["failed"] == 1200
    found = [line[:2] for line in tidy.results(retried)]
    assert found == [(str(n + 1), f"bad{n}") for n in range(1200)]


def test_a_store_that_refuses_an_upload_is_told_and_ends_the_job(tidy: Stack) -> None:
    with tidy.s3.failing(503):
        answer = tidy.api.submit(body(1500), model="echo", wait=0)

    assert_problem(answer, 503, "payload_store_unavailable", "object store")
    assert int(answer.headers["Retry-After"]) > 0
    job = tidy.api.get("/jobs?limit=1").json()["jobs"][0]
    assert (job["status"], job["error"]["code"]) == ("failed", "upload_incomplete")


def test_an_outage_costs_a_job_nothing_but_time(tidy: Stack) -> None:
    job = tidy.begun(1500, model="slow")
    with tidy.s3.failing(503):
        before = tidy.s3.refused()
        wait_until(lambda: tidy.s3.refused() > before + 8, timeout=30)

    ended = tidy.api.ended(job)

    assert (ended["status"], ended["counts"]["succeeded"]) == ("succeeded", 1500)
    assert int(tidy.redis.hget(keys.record(job["id"]), "attempts_lost") or 0) == 0
    assert [int(line[0]) for line in tidy.results(ended)] == list(range(1, 1501))


def test_a_killed_process_loses_no_row_and_leaves_no_object(tidy: Stack) -> None:
    job = tidy.begun(2000, model="slow")
    path = job["urls"]["self"]
    wait_until(lambda: tidy.api.get(path).json()["progress"]["chunks_done"] >= 1)
    for worker in running(tidy):
        os.kill(worker, signal.SIGKILL)

    ended = tidy.api.ended(job)

    assert ended["counts"]["succeeded"] == 2000
    assert [int(line[0]) for line in tidy.results(ended)] == list(range(1, 2001))


def running(stack: Stack) -> list[int]:
    """Pool processes that run a chunk right now."""

    def found() -> list[int]:
        leases = [stack.redis.hvals(key) for key in stack.redis.scan_iter("leases:*")]
        return [int(value.split()[0]) for values in leases for value in values]

    pids = wait_until(found)
    assert all(psutil.pid_exists(pid) for pid in pids)
    return list(pids)


def test_results_while_the_store_is_away_are_a_503_and_not_half_an_answer(tidy: Stack) -> None:
    job = tidy.api.ended(tidy.begun(1500))

    with tidy.s3.failing(500):
        for name in ("results", "results?follow=true"):
            answer = tidy.api.get(f"{job['urls']['self']}/{name}")
            assert_problem(answer, 503, "payload_store_unavailable")
            assert int(answer.headers["Retry-After"]) > 0

    assert len(list(tidy.results(job))) == 1500


def test_an_object_that_somebody_deleted_is_told(tidy: Stack) -> None:
    job = tidy.api.ended(tidy.begun(1500))
    name = next(name for name in tidy.s3.names() if f"{job['id']}/results" in name)
    payloads.opened(tidy.s3.url).delete(name)

    answer = tidy.api.get(job["urls"]["results"])

    assert_problem(answer, 500, "payload_lost", job["id"], "submit the table again")


def test_a_job_is_read_whatever_the_setting_is_by_then(tidy: Stack) -> None:
    job = tidy.api.ended(tidy.begun(1500))
    store = JobStore(tidy.redis)

    [last] = store.results(store.get(job["id"]), RowRange(offset=1499))

    assert last.startswith(b"1500,1499,")


def test_no_process_that_others_are_forked_from_has_the_client(tidy: Stack) -> None:
    """It has threads, for which a forked process would wait for ever."""
    tidy.api.ended(tidy.begun(1500))
    main_processes = [psutil.Process(pid) for pid in (tidy.api.pid, tidy.worker_pid)]

    for process in main_processes:
        children = process.children()
        assert any(has_client(child) for child in children)
        assert not has_client(process)


def has_client(process: psutil.Process) -> bool:
    return any("_obstore" in region.path for region in process.memory_maps())


def test_no_secret_and_no_address_is_in_any_log(tidy: Stack) -> None:
    job = tidy.api.ended(tidy.begun(1500))
    with tidy.s3.failing(403):
        tidy.api.get(job["urls"]["results"])

    logs = [(tidy.directory / name).read_text() for name in ("worker.log", "api.log")]

    assert not [log for log in logs if "not-to-be-told" in log or tidy.s3.endpoint in log]
    assert any("object store out of reach" in log for log in logs)
