"""A worker holds one copy of a model that it had when it started, however many processes score."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from tests.live_stack import (
    Api,
    api_process,
    environment,
    has_processes,
    redis_server,
    worker_process,
)
from tests.waiting import wait_until
from worker.publishing import publish

WORKERS = 4
TREES = 40
BUSY_SECONDS = 0.1
MOST_COPIES = 1.5
X = pd.DataFrame(np.random.default_rng(0).normal(size=(10_000, 4)), columns=list("abcd"))
BODY = X[:100].to_csv(index=False)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A worker with one model, and how to use it."""

    api: Api
    worker: psutil.Process

    def pool(self) -> list[psutil.Process]:
        return [c for c in self.worker.children() if "celery" in " ".join(c.cmdline())]

    def score_in_every_process(self) -> None:
        wait_until(lambda: has_processes(self.api, WORKERS + 1), timeout=60)
        pool = self.pool()
        assert len(pool) == WORKERS + 1
        idle = {one: cpu_seconds(one) + BUSY_SECONDS for one in pool}
        with ThreadPoolExecutor(2 * WORKERS) as clients:

            def all_were_busy() -> bool:
                jobs = list(clients.map(lambda _: self.api.submit(BODY), range(4 * WORKERS)))
                assert {job.json()["status"] for job in jobs} == {"succeeded"}
                return all(cpu_seconds(one) > seconds for one, seconds in idle.items())

            wait_until(all_were_busy, timeout=60)

    def lose_a_process(self) -> None:
        """Returns when another has taken the place of the one that was killed."""
        victim = self.pool()[0]
        victim.kill()
        victim.wait()
        wait_until(lambda: len([p for p in self.pool() if p != victim]) == WORKERS + 1)

    def bytes(self) -> int:
        """What the worker and its processes have; pages that several have count once. Without
        pages of files, which they share with whatever else runs."""
        family = [self.worker, *self.worker.children(recursive=True)]
        return sum(anonymous_bytes(one.pid) for one in family)


def anonymous_bytes(pid: int) -> int:
    """Proportional set size, as proc_pid_smaps(5) tells it."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(text.partition("Pss_Anon:")[2].split()[0])


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def stack_with(home: Path, *, max_depth: int | None) -> Iterator[tuple[Stack, int]]:
    """A stack that starts, whose only model is a forest, and the bytes of its artifact."""
    (home / "models").mkdir(parents=True)
    y = np.random.default_rng(1).normal(size=(len(X), 2))
    forest = ExtraTreesRegressor(TREES, max_depth=max_depth, max_features=1, random_state=0)
    published = publish(forest.fit(X, y), name="forest", sample=X, repository=home / "models")
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(home / "r"))
        env = environment(redis_url, home / "models")
        log = home / "worker.log"
        worker = parts.enter_context(worker_process(env, log, processes=WORKERS))
        api = parts.enter_context(api_process(env, home / "api.log"))
        # Nothing is left to finish, which is what stopping a worker waits for.
        parts.callback(os.killpg, worker.pid, signal.SIGKILL)
        yield Stack(api=api, worker=psutil.Process(worker.pid)), published.artifact.bytes


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_share_one_copy_of_a_model_also_after_scoring_and_a_crash(
    run_directory: Path,
) -> None:
    with (
        stack_with(run_directory / "shallow", max_depth=2) as (shallow, _),
        stack_with(run_directory / "deep", max_depth=None) as (deep, artifact_bytes),
    ):
        for stack in (shallow, deep):
            stack.score_in_every_process()
        at_first = deep.bytes() - shallow.bytes()
        deep.lose_a_process()
        deep.score_in_every_process()
        at_last = deep.bytes() - shallow.bytes()

    assert artifact_bytes > 30e6
    assert at_first < MOST_COPIES * artifact_bytes
    assert at_last < MOST_COPIES * artifact_bytes
