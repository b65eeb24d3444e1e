"""A worker that is killed, frozen or deaf costs seconds, and only the chunks it was running."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from shared.dispatch import Dispatcher, make_celery, own_queue
from shared.settings import Settings
from tests.live_stack import (
    Api,
    api_process,
    environment,
    redis_server,
    worker_process,
)
from tests.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An API, a server, and workers that a test starts and kills."""

    api: Api
    redis: Redis
    env: dict[str, str]
    directory: Path
    processes: ExitStack

    def start_worker(self, name: str, *, processes: int = 2) -> subprocess.Popen[bytes]:
        """A worker all of whose processes are ready for work."""
        before = set(self.redis.hkeys("workers"))
        log = self.directory / f"{name}.log"
        worker = self.processes.enter_context(
            worker_process(self.env, log, processes=processes, name=name)
        )
        # One more than may run bulk.
        wait_until(lambda: self._workers_of(processes + 1) - before, timeout=60)
        return worker

    def _workers_of(self, processes: int) -> set[bytes]:
        """Those with so many processes that are ready."""
        found = self.redis.hgetall("workers")
        return {name for name, value in found.items() if int(value.split()[1]) == processes}

    def held(self) -> dict[str, set[tuple[str, int]]]:
        """Job and number of the chunks that each worker runs."""
        found = {}
        for key in self.redis.keys("leases:*"):
            fields = [field.decode().split() for field in self.redis.hkeys(key)]
            found[key.decode()] = {(job_id, int(chunk)) for job_id, chunk in fields}
        return found

    def submit_slow(self, rows: int) -> dict[str, Any]:
        """A job of chunks of 350 rows that take 0.7 s each."""
        self.redis.hset("speeds", "slow/1", 500)
        body = "x\n" + "\n".join(map(str, range(rows)))
        return dict(self.api.submit(body, model="slow", wait=0).json())

    def attempts(self, job: dict[str, Any]) -> dict[int, int]:
        """How often each chunk was leased."""
        fields = self.redis.hgetall(f"job:{{{job['id']}}}:chunks")
        return {
            int(name.split(b":")[0]): int(value)
            for name, value in fields.items()
            if name.endswith(b":attempts")
        }


@pytest.fixture(scope="module")
def own_models(run_directory: Path, models_dir: Path) -> Path:
    """Only what these tests need, so that a worker is ready soon."""
    directory = run_directory / "few"
    shutil.copytree(models_dir / "slow", directory / "slow")
    return directory


@pytest.fixture(scope="module")
def base(run_directory: Path, own_models: Path) -> Iterator[Cluster]:
    directory = run_directory / "recovery"
    with ExitStack() as processes:
        url = processes.enter_context(redis_server(directory / "r"))
        settings = {"chunk_time_limit_seconds": "20", "stop_seconds": "3"}
        env = environment(url, own_models, **settings)
        api = processes.enter_context(api_process(env, directory / "api.log"))
        redis = processes.enter_context(Redis(unix_socket_path=str(directory / "r" / "s")))
        yield Cluster(api=api, redis=redis, env=env, directory=directory, processes=processes)


@pytest.fixture
def cluster(base: Cluster) -> Iterator[Cluster]:
    """No worker, no job."""
    base.redis.flushdb()
    with ExitStack() as workers:
        yield replace(base, processes=workers)


def kill_all(worker: subprocess.Popen[bytes]) -> None:
    """SIGKILL a worker's main process and its children, as a machine that loses power."""
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children()]
    for process in family:
        process.suspend()  # so that none of them sees another one die
    for process in family:
        process.kill()
    worker.wait()


def assert_complete(cluster: Cluster, job: dict[str, Any], rows: int) -> None:
    done = cluster.api.ended(job)
    assert done["status"] == "succeeded", done
    lines = cluster.api.get(job["urls"]["results"]).text.splitlines()[1:]
    assert lines == [f"{n + 1},{n * 10}," for n in range(rows)]


def frozen_at_work(redis: Redis, leases: str) -> tuple[psutil.Process, int] | None:
    """A process that moves no more and number of the chunk it holds; None if it holds none."""
    pids = [int(value.split()[0]) for value in redis.hvals(leases)]
    for process in map(psutil.Process, pids):
        process.suspend()
        wait_until(lambda process=process: process.status() == psutil.STATUS_STOPPED)
        for field, value in redis.hgetall(leases).items():
            if int(value.split()[0]) == process.pid:
                return process, int(field.split()[1])
        process.resume()
    return None


@pytest.mark.timeout(180)
def test_the_chunks_of_a_killed_worker_and_only_those_run_elsewhere_within_15_seconds(
    cluster: Cluster, record_property: Any
) -> None:
    doomed = cluster.start_worker("doomed")
    (name,) = [key.decode() for key in cluster.redis.hkeys("workers")]
    cluster.start_worker("other")
    job = cluster.submit_slow(20_000)
    lost = wait_until(
        lambda: len(chunks := cluster.held().get(f"leases:{name}", set())) == 2 and chunks
    )

    kill_all(doomed)
    began = time.monotonic()
    lost = cluster.held()[f"leases:{name}"]
    wait_until(
        lambda: all(
            any(chunk in chunks for other, chunks in cluster.held().items() if name not in other)
            or cluster.attempts(job)[chunk[1]] > 1
            for chunk in lost
        ),
        timeout=15,
    )
    seconds = time.monotonic() - began

    print(f"chunks of a killed worker run elsewhere after {seconds:.1f} s")
    record_property("recovery_seconds", round(seconds, 1))
    assert_complete(cluster, job, 20_000)
    repeated = {chunk for chunk, count in cluster.attempts(job).items() if count > 1}
    assert repeated == {chunk for _, chunk in lost}


@pytest.mark.timeout(120)
def test_the_chunk_of_a_killed_process_runs_again_within_3_seconds(cluster: Cluster) -> None:
    worker = cluster.start_worker("only")
    job = cluster.submit_slow(5_000)
    (key,) = wait_until(lambda: [k for k, chunks in cluster.held().items() if len(chunks) == 2])
    process, chunk = wait_until(lambda: frozen_at_work(cluster.redis, key))
    assert process in psutil.Process(worker.pid).children()

    process.kill()
    began = time.monotonic()
    wait_until(lambda: cluster.attempts(job)[chunk] > 1, timeout=3)

    print(f"the chunk of a killed process runs again after {time.monotonic() - began:.1f} s")
    assert_complete(cluster, job, 5_000)


@pytest.mark.timeout(120)
def test_a_worker_that_wakes_from_a_long_freeze_changes_nothing(cluster: Cluster) -> None:
    frozen = cluster.start_worker("frozen")
    job = cluster.submit_slow(6_000)
    wait_until(lambda: any(cluster.held().values()))
    family = [psutil.Process(frozen.pid), *psutil.Process(frozen.pid).children()]
    for process in family:
        process.suspend()

    cluster.start_worker("other")
    assert_complete(cluster, job, 6_000)
    before = cluster.api.get(job["urls"]["self"]).json()
    for process in family:
        process.resume()

    another = cluster.submit_slow(2_000)
    assert_complete(cluster, another, 2_000)
    assert_complete(cluster, job, 6_000)
    after = cluster.api.get(job["urls"]["self"]).json()
    assert (after["counts"], after["finished_at"]) == (before["counts"], before["finished_at"])
    wait_until(lambda: cluster.redis.hlen("workers") == 2)


@pytest.mark.timeout(120)
def test_a_worker_that_hears_no_messages_stops_so_that_it_is_started_anew(
    cluster: Cluster,
) -> None:
    worker = cluster.start_worker("deaf")
    celery = make_celery(Settings(redis_url=cluster.env["ROWMILL_REDIS_URL"]))
    (name,) = [key.decode() for key in cluster.redis.hkeys("workers")]
    for queue in ("work", f"work:{name}"):
        cancel = partial(celery.control.cancel_consumer, queue, reply=True, limit=1, timeout=10)
        wait_until(cancel)
    celery.close()

    job = cluster.submit_slow(100)

    assert worker.wait(timeout=60) == os.EX_TEMPFAIL
    cluster.start_worker("new")
    assert_complete(cluster, job, 100)


def test_messages_to_a_worker_that_dies_do_not_come_back_for_ever(cluster: Cluster) -> None:
    worker = cluster.start_worker("dying")
    (name,) = [key.decode() for key in cluster.redis.hkeys("workers")]
    for child in psutil.Process(worker.pid).children():
        child.suspend()  # no task is begun, so none is acknowledged
    celery = make_celery(Settings(redis_url=cluster.env["ROWMILL_REDIS_URL"]))
    with closing(celery):
        for _ in range(2):
            Dispatcher(celery).wake(own_queue(name))
    wait_until(lambda: not cluster.redis.exists(f"work:{name}"))

    unacknowledged = b"".join(cluster.redis.hvals("unacked"))

    kill_all(worker)
    # Celery would put them into the queue of a worker that is gone, where nothing expires.
    assert name.encode() not in unacknowledged


# --- stopping


@pytest.mark.timeout(120)
def test_a_worker_that_is_stopped_finishes_its_chunks_and_repeats_none(cluster: Cluster) -> None:
    stopped = cluster.start_worker("stopped")
    job = cluster.submit_slow(6_000)
    wait_until(lambda: any(len(chunks) == 2 for chunks in cluster.held().values()))

    stopped.terminate()
    assert stopped.wait(timeout=30) == 0
    assert cluster.held() == {}
    assert cluster.redis.hlen("workers") == 0
    cluster.start_worker("next")

    assert_complete(cluster, job, 6_000)
    assert set(cluster.attempts(job).values()) == {1}


@pytest.mark.timeout(120)
def test_a_chunk_that_takes_longer_than_a_worker_may_stop_is_given_back_in_time(
    cluster: Cluster,
) -> None:
    stopped = cluster.start_worker("stopped")
    cluster.redis.hset("speeds", "slow/1", 100_000)
    body = "x\n" + "\n".join(map(str, range(7_000)))  # 14 s in one chunk
    job = cluster.api.submit(body, model="slow", wait=0).json()
    wait_until(lambda: any(cluster.held().values()))

    began = time.monotonic()
    stopped.terminate()
    stopped.wait(timeout=30)

    assert time.monotonic() - began < 10
    assert cluster.held() == {}
    cluster.start_worker("next")
    assert_complete(cluster, job, 7_000)
    warnings = cluster.api.get(job["urls"]["self"]).json()["warnings"]
    assert [warning for warning in warnings if "others took over" in warning] == []
