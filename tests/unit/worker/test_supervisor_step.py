"""The supervisor tied to Celery's worker: when it watches, and what it ends."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery.signals import task_received, worker_shutdown
from celery.worker import state
from kombu import Queue

from shared.job_store.connection import connect
from shared.job_store.workers import WorkerRegistry
from tests.job_steps import JobSteps, live_processes
from tests.unit.worker.supervision import (
    QUEUE,
    STOP_SECONDS,
    FakeClock,
    RecordingDispatcher,
    make_supervisor,
)
from worker.supervisor import BEAT_SECONDS, DEAF_AFTER_ROUNDS, Supervisor, SupervisorStep


@dataclass
class FakeChild:
    pid: int
    exitcode: int | None = None


@dataclass
class FakePool:
    """Celery's pool as far as the step looks into it: all children, and those that are ready."""

    children: list[FakeChild]
    ready: list[FakeChild]

    @property
    def _pool(self) -> "FakePool | _Pool":
        return _Pool(self.children, dict(enumerate(self.ready)))


@dataclass
class _Pool:
    _pool: list[FakeChild]
    _fileno_to_inq: dict[int, FakeChild]


class FakeTimer:
    def __init__(self) -> None:
        self.repeated: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_repeatedly(self, seconds: float, function: Any, args: tuple[Any, ...]) -> None:
        self.repeated.append((seconds, function, args))


class RecordingQueues:
    def __init__(self) -> None:
        self.added: list[Queue] = []

    def select_add(self, queue: Queue) -> None:
        self.added.append(queue)


@dataclass
class FakeWorker:
    """Celery's worker as far as the step knows it."""

    pool: FakePool
    timer: FakeTimer = field(default_factory=FakeTimer)
    queues: RecordingQueues = field(default_factory=RecordingQueues)
    hub: None = None

    @property
    def app(self) -> "FakeWorker":
        return self

    @property
    def amqp(self) -> "FakeWorker":
        return self


@pytest.fixture
def worker() -> FakeWorker:
    children = [FakeChild(pid) for pid in (1, 2, 3)]
    return FakeWorker(pool=FakePool(children, list(children)))


@pytest.fixture(autouse=True)
def _signals_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for signal in (task_received, worker_shutdown):
        monkeypatch.setattr(signal, "receivers", [])
    monkeypatch.setattr(state, "should_stop", None)


def start(supervisor: Supervisor, worker: FakeWorker) -> SupervisorStep:
    step = SupervisorStep.bound(lambda: supervisor, QUEUE)(worker)
    step.start(worker)
    return step


def test_the_watch_begins_with_the_worker_and_goes_on_every_second(
    supervisor: Supervisor, steps: JobSteps, worker: FakeWorker
) -> None:
    start(supervisor, worker)

    assert worker.queues.added == [QUEUE]
    assert live_processes(steps.registry) == 3
    [(seconds, function, args)] = worker.timer.repeated
    steps.silence()
    function(*args)
    assert seconds == BEAT_SECONDS
    assert live_processes(steps.registry) == 3


def test_dead_children_are_told_from_live_and_ready_ones(
    supervisor: Supervisor, steps: JobSteps, worker: FakeWorker
) -> None:
    step = start(supervisor, worker)
    steps.submit(chunks=2)
    leases = [steps.leased(1), steps.leased(2)]

    worker.pool.children[0].exitcode = -9
    step._watch(worker)

    assert live_processes(steps.registry) == 2
    assert [steps.commit(lease) for lease in leases] == ["stale", "committed"]


def test_a_message_that_comes_in_is_heard(
    supervisor: Supervisor, steps: JobSteps, worker: FakeWorker
) -> None:
    step = start(supervisor, worker)
    steps.submit()

    for _ in range(DEAF_AFTER_ROUNDS + 1):
        step._watch(worker)
        task_received.send(sender=None)

    assert state.should_stop is None


def test_a_deaf_worker_is_stopped_to_be_started_anew(
    supervisor: Supervisor, steps: JobSteps, worker: FakeWorker
) -> None:
    step = start(supervisor, worker)
    steps.submit()

    for _ in range(DEAF_AFTER_ROUNDS + 1):
        step._watch(worker)

    assert state.should_stop == os.EX_TEMPFAIL


def test_a_store_out_of_reach_does_not_end_the_watch(
    clock: FakeClock,
    dispatcher: RecordingDispatcher,
    worker: FakeWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.job_store.connection.RETRIES", 0)
    nobody = connect(f"unix://{tmp_path / 'nobody'}")
    registry = WorkerRegistry(nobody, dead_after_seconds=10, max_job_losses=1)

    step = start(make_supervisor(registry, clock, dispatcher), worker)
    step._watch(worker)
    worker_shutdown.send(sender=None)

    assert len(worker.timer.repeated) == 1
    assert state.should_stop is None


def test_a_worker_that_stops_signs_off_in_the_end(
    supervisor: Supervisor, steps: JobSteps, worker: FakeWorker
) -> None:
    step = start(supervisor, worker)
    steps.submit(chunks=2)
    lease = steps.leased(1)

    step.stop(worker)
    assert steps.take(2) is None
    assert steps.commit(lease) == "committed"
    worker_shutdown.send(sender=None)

    assert steps.redis.hlen("workers") == 0


def test_a_worker_that_does_not_stop_in_time_gives_back_its_chunks_and_ends(
    supervisor: Supervisor,
    steps: JobSteps,
    worker: FakeWorker,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    step = start(supervisor, worker)
    steps.submit()
    lease = steps.leased(1)
    step.stop(worker)
    assert exits == []

    clock.now += STOP_SECONDS + 1
    step._watch(worker)

    assert exits == [0]
    assert steps.commit(lease) == "stale"
    assert steps.leased(1, worker="other").losses == ()
