"""A task runs chunk after chunk, blames a crash on the chunk, and asks for its successor."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import logs
from shared.dispatch import SCORE_CHUNKS
from shared.errors import StoreUnavailableError
from shared.job_store import keys
from shared.job_store.leases import Holder, Lease, Taken, Terms
from shared.jobs import Lane
from shared.suspicion import LossReason
from shared.trail import Trail
from tests.job_steps import WORKER, JobSteps
from tests.waiting import wait_until
from worker import outage, tasks
from worker.background import Background
from worker.tasks import Shift

HOLDER = Holder(worker=WORKER, process=1)
BACKGROUND = Background(niceness=0)


class FakeShadows:
    """So many steps of shadows to be taken when there is nothing else to do."""

    def __init__(self, steps: int = 0) -> None:
        self.steps_left = steps

    @property
    def is_pending(self) -> bool:
        return self.steps_left > 0

    def step(self) -> bool:
        self.steps_left -= 1
        return True

    def leave_out(self) -> None:
        self.steps_left -= 1


class FakeRunner:
    """Commits every chunk, unless something goes wrong with it."""

    def __init__(self, steps: JobSteps, *, goes_wrong: Exception | None = None) -> None:
        self._steps = steps
        self._goes_wrong = goes_wrong
        self.run_leases: list[Lease] = []
        self.shadows = FakeShadows()

    def run(self, lease: Lease) -> None:
        self.run_leases.append(lease)
        if self._goes_wrong:
            raise self._goes_wrong
        self._steps.commit(lease)

    def run_together(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self.run(lease)


class FailsOnce(FakeRunner):
    """Something goes wrong with the first chunk it is given."""

    def run(self, lease: Lease) -> None:
        try:
            super().run(lease)
        finally:
            self._goes_wrong = None


class RecordingCelery:
    """Keeps the tasks it is told of; a real app shares them with every other one."""

    def __init__(self) -> None:
        self.tasks: dict[str, Callable[[], None]] = {}

    def task(self, *, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
        return lambda function: self.tasks.setdefault(name, function)


class RecordingDispatcher:
    """Counts how often this worker, and any worker, was to be woken."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self._error = error
        self.wakes = 0
        self.wakes_of_any = 0

    def wake_this(self) -> None:
        self.wakes += 1
        if self._error:
            raise self._error

    def wake(self) -> None:
        self.wakes_of_any += 1
        if self._error:
            raise self._error


@pytest.fixture(autouse=True)
def _not_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks end as soon as there is nothing to run."""
    monkeypatch.setattr(tasks, "LINGER_SECONDS", 0.0)


def work(steps: JobSteps, runner: FakeRunner, *, linger_seconds: float = 0) -> bool:
    shift = Shift(
        steps.leases, runner, HOLDER, background=BACKGROUND, wake=RecordingDispatcher().wake
    )
    return shift.work(linger_seconds=linger_seconds)


def score_chunks(
    steps: JobSteps, runner: FakeRunner, dispatcher: RecordingDispatcher
) -> Callable[[], None]:
    """The task, to be run in this process."""
    celery = RecordingCelery()
    tasks.register(
        celery,
        chunk_runner=lambda: runner,
        leases=lambda: steps.leases,
        holder=lambda: HOLDER,
        background=lambda: BACKGROUND,
        wake=dispatcher.wake,
        wake_this=dispatcher.wake_this,
    )
    return celery.tasks[SCORE_CHUNKS]


# --- one chunk


def test_the_next_chunk_is_run_if_there_is_one(steps: JobSteps) -> None:
    runner = FakeRunner(steps)
    steps.beat()
    assert not work(steps, runner)
    job_id = steps.submit()

    assert not work(steps, runner)

    assert [lease.holder for lease in runner.run_leases] == [HOLDER]
    assert steps.store.get(job_id).has_ended


def test_small_jobs_are_looked_for_first(steps: JobSteps) -> None:
    runner = FakeRunner(steps)
    steps.beat()
    for lane in (Lane.BULK, Lane.SMALL):
        steps.submit(lane=lane)

    work(steps, runner)

    assert [lease.lane for lease in runner.run_leases] == [Lane.SMALL, Lane.BULK]


def test_a_shadow_gets_the_time_that_no_chunk_needs(steps: JobSteps) -> None:
    runner = FakeRunner(steps)
    runner.shadows.steps_left = 3
    steps.beat()
    steps.submit(chunks=2)

    is_more = work(steps, runner)

    assert (len(runner.run_leases), runner.shadows.steps_left, is_more) == (2, 0, False)


def test_a_chunk_that_comes_goes_before_what_is_left_of_a_shadow(steps: JobSteps) -> None:
    left_at_chunks: list[int] = []

    class SubmittedMeanwhile(FakeShadows):
        def step(self) -> bool:
            super().step()
            if self.steps_left == 1:
                steps.submit()
                steps.nobody_looks()
            return True

    class Noting(FakeRunner):
        def run(self, lease: Lease) -> None:
            left_at_chunks.append(self.shadows.steps_left)
            super().run(lease)

    runner = Noting(steps)
    runner.shadows = SubmittedMeanwhile(2)
    steps.beat()

    work(steps, runner)

    assert (left_at_chunks, runner.shadows.steps_left) == ([1], 0)


def test_a_shadow_that_is_another_process_s_turn_waits_and_chunks_go_before_it(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TURN_SECONDS", 0.001)

    class OthersTurn(FakeShadows):
        def __init__(self) -> None:
            super().__init__(1)
            self.asked = 0

        def step(self) -> bool:
            self.asked += 1
            if self.asked == 2:
                steps.submit()
                steps.nobody_looks()
            return super().step() if self.asked == 3 else False

    runner = FakeRunner(steps)
    runner.shadows = OthersTurn()
    steps.beat()

    assert not work(steps, runner)
    assert (len(runner.run_leases), runner.shadows.steps_left) == (1, 0)


def test_a_long_shadow_is_left_to_the_next_task(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_SECONDS", -1)
    runner = FakeRunner(steps)
    runner.shadows.steps_left = 3
    steps.beat()

    assert work(steps, runner)
    assert runner.shadows.steps_left == 3


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd"), RecursionError()])
def test_a_shadow_that_crashes_is_left_out_and_the_task_goes_on(
    steps: JobSteps, error: Exception
) -> None:
    class Crashing(FakeShadows):
        def step(self) -> bool:
            raise error

    runner = FakeRunner(steps)
    runner.shadows = Crashing(2)
    steps.beat()

    assert not work(steps, runner)
    assert runner.shadows.steps_left == 0


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd"), RecursionError()])
def test_a_crash_is_held_against_the_chunk_and_the_process_goes_on(
    steps: JobSteps, error: Exception
) -> None:
    steps.beat()
    job_id = steps.submit()

    work(steps, FailsOnce(steps, goes_wrong=error))

    assert steps.store.get(job_id).attempts_lost == 1


def test_a_crash_after_the_commit_costs_nothing(steps: JobSteps) -> None:
    class CrashesLate(FakeRunner):
        def run(self, lease: Lease) -> None:
            super().run(lease)
            raise RuntimeError("odd")

    steps.beat()
    job_id = steps.submit()

    work(steps, CrashesLate(steps))

    job = steps.store.get(job_id)
    assert (job.status, job.attempts_lost) == ("succeeded", 0)


def test_a_chunk_is_taken_and_given_back_however_long_the_store_is_away(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is done by the server, but its first answers are lost."""
    monkeypatch.setattr(outage, "RETRY_DELAYS_SECONDS", (0,))
    steps.beat()
    steps.submit()
    monkeypatch.setattr(steps.leases, "take", forgetful(steps.leases.take))
    monkeypatch.setattr(steps.leases, "give_back", forgetful(steps.leases.give_back))

    runner = FailsOnce(steps, goes_wrong=RuntimeError())
    work(steps, runner)

    [first, again] = runner.run_leases
    assert (first.losses, [loss.reason for loss in again.losses]) == ((), [LossReason.DIED])


def forgetful(step: Callable[..., object], *, times: int = 3) -> Callable[..., object]:
    """`step`, whose first answers are lost."""
    left = times

    def forgetful_step(*args: object, **kwargs: object) -> object:
        nonlocal left
        answer = step(*args, **kwargs)
        left -= 1
        if left >= 0:
            raise StoreUnavailableError
        return answer

    return forgetful_step


# --- the task


def test_a_task_runs_all_there_is(steps: JobSteps) -> None:
    runner, dispatcher = FakeRunner(steps), RecordingDispatcher()
    steps.beat()
    steps.submit(chunks=5)

    score_chunks(steps, runner, dispatcher)()

    assert len(runner.run_leases) == 5
    assert dispatcher.wakes == 0


def test_a_task_that_took_long_leaves_the_rest_to_the_next_one(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_SECONDS", 0)
    runner, dispatcher = FakeRunner(steps), RecordingDispatcher()
    steps.beat()
    steps.submit(chunks=5)

    score_chunks(steps, runner, dispatcher)()

    assert len(runner.run_leases) == 1
    assert dispatcher.wakes == 1


def test_a_task_goes_on_when_no_successor_can_be_sent_for(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_SECONDS", 0)
    steps.beat()
    steps.submit(chunks=5)
    dispatcher = RecordingDispatcher(error=StoreUnavailableError())
    runner = FakeRunner(steps)

    score_chunks(steps, runner, dispatcher)()

    assert len(runner.run_leases) == dispatcher.wakes == 5


def test_a_task_that_comes_twice_does_no_harm(steps: JobSteps) -> None:
    runner = FakeRunner(steps)
    steps.beat()
    job_id = steps.submit(chunks=3)
    task = score_chunks(steps, runner, RecordingDispatcher())

    for _ in range(3):
        task()

    assert len(runner.run_leases) == 3
    assert steps.counts(job_id) == (30, 30, 0, 0)


# --- small jobs together


class GivesTogether(FakeRunner):
    """Notes what it is given at a time; something goes wrong with several."""

    def __init__(self, steps: JobSteps, *, goes_wrong: Exception | None = None) -> None:
        super().__init__(steps)
        self._wrong_together = goes_wrong
        self.batches: list[int] = []
        self.fields: list[Mapping[str, object]] = []
        """What log lines said while they were run."""

    def run(self, lease: Lease) -> None:
        self.batches.append(1)
        self.fields.append(logs.fields())
        super().run(lease)

    def run_together(self, leases: Sequence[Lease]) -> None:
        self.batches.append(len(leases))
        self.fields.append(logs.fields())
        if self._wrong_together:
            raise self._wrong_together
        self._steps.commit_all(leases)


def test_small_jobs_are_run_together_and_one_alone(steps: JobSteps) -> None:
    runner = GivesTogether(steps)
    steps.beat()
    jobs = [steps.submit_small() for _ in range(5)] + [steps.submit_small(model_version="2")]

    work(steps, runner)

    assert runner.batches == [5, 1]
    assert {steps.store.get(job_id).status for job_id in jobs} == {"succeeded"}


def test_log_lines_name_the_jobs_and_the_requests_that_made_them(steps: JobSteps) -> None:
    runner = GivesTogether(steps)
    steps.beat()
    small = [steps.submit_small(trail=Trail(request_id=f"r{n}")) for n in range(2)]

    work(steps, runner)
    bulk = steps.submit(trail=Trail(request_id="r2"))
    work(steps, runner)

    together, alone = runner.fields
    assert together == {"job_ids": small, "request_ids": ["r0", "r1"]}
    assert alone == {"request_id": "r2", "job_id": bulk, "chunk": 0, "attempt": 1}
    assert not logs.fields()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd")])
def test_a_crash_is_held_against_each_that_was_run_and_then_each_runs_alone(
    steps: JobSteps, error: Exception
) -> None:
    runner = GivesTogether(steps, goes_wrong=error)
    steps.beat()
    jobs = [steps.submit_small() for _ in range(3)]

    work(steps, runner)

    assert runner.batches == [3, 1, 1, 1]
    reasons = [[loss.reason for loss in lease.losses] for lease in runner.run_leases]
    assert reasons == [[LossReason.DIED]] * 3
    for job_id in jobs:
        job = steps.store.get(job_id)
        assert (job.status, job.attempts_lost) == ("succeeded", 1)


def test_a_crash_after_the_commit_of_some_costs_only_the_others(steps: JobSteps) -> None:
    class CommitsOne(GivesTogether):
        def run_together(self, leases: Sequence[Lease]) -> None:
            self._steps.commit_all(leases[:1])
            super().run_together(leases)

    steps.beat()
    jobs = [steps.submit_small() for _ in range(3)]

    work(steps, CommitsOne(steps, goes_wrong=RuntimeError("odd")))

    assert [steps.store.get(job_id).attempts_lost for job_id in jobs] == [0, 1, 1]


def test_somebody_else_is_woken_for_what_was_left(steps: JobSteps) -> None:
    """Even if the message can't be sent, for the workers' beat makes up for it."""
    for error in (None, StoreUnavailableError()):
        dispatcher = RecordingDispatcher(error=error)
        steps.beat(processes=2, bulk=2)
        for _ in range(3):
            steps.submit()
        steps.nobody_looks()

        shift = Shift(
            steps.leases, FakeRunner(steps), HOLDER, background=BACKGROUND, wake=dispatcher.wake
        )
        shift.work(linger_seconds=0)

        assert dispatcher.wakes_of_any > 0
        assert not list(steps.redis.scan_iter("ready:*"))


# --- lingering


class SlowClock:
    """A clock that goes on by so much whenever it is looked at."""

    def __init__(self, step_seconds: float) -> None:
        self.now = 0.0
        self._step_seconds = step_seconds

    def __call__(self) -> float:
        self.now += self._step_seconds
        return self.now


def is_lingering(steps: JobSteps) -> bool:
    return steps.redis.zscore(keys.LINGERING, f"{WORKER} 1") is not None


def test_a_process_that_lingers_runs_what_comes(steps: JobSteps) -> None:
    runner = GivesTogether(steps)
    steps.beat()
    with ThreadPoolExecutor(1) as pool:
        shift = pool.submit(work, steps, runner, linger_seconds=30)
        for count in (1, 2, 3):
            wait_until(lambda: is_lingering(steps))
            for _ in range(count):
                job_id = steps.submit_small()
            wait_until(lambda job_id=job_id: steps.store.get(job_id).has_ended)
        steps.beat(processes=0, bulk=0)  # it stops
        wait_until(lambda: is_lingering(steps) or shift.done())
        steps.redis.rpush(keys.bell(WORKER, 1), "small")

        assert shift.result(timeout=10) is False

    assert sum(runner.batches) == 6
    assert not is_lingering(steps)


def test_a_process_that_nobody_rings_looks_once_more_and_ends(steps: JobSteps) -> None:
    """What came without a ring, because somebody else was about to look, is not left."""
    runner = FakeRunner(steps)
    steps.beat()
    with ThreadPoolExecutor(1) as pool:
        shift = pool.submit(work, steps, runner, linger_seconds=0.5)
        wait_until(lambda: is_lingering(steps))
        steps.redis.set(keys.FOR_SCRIPTS["WOKEN"] % "small", "rung")
        job_id = steps.submit_small()

        assert shift.result(timeout=10) is False

    assert steps.store.get(job_id).has_ended


def test_a_process_lingers_no_longer_than_its_task_may_take(steps: JobSteps) -> None:
    steps.beat()
    shift = Shift(
        steps.leases,
        FakeRunner(steps),
        HOLDER,
        background=BACKGROUND,
        wake=RecordingDispatcher().wake,
        clock=SlowClock(tasks.TASK_SECONDS + 1),
    )

    assert shift.work(linger_seconds=60) is False
    assert not is_lingering(steps)


def test_a_process_holds_others_back_about_as_long_as_it_takes(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = []
    take = steps.leases.take

    def noting(holder: Holder, lanes: Sequence[Lane], wanted: Terms) -> Taken:
        terms.append(wanted.hold_seconds)
        return take(holder, lanes, wanted)

    monkeypatch.setattr(steps.leases, "take", noting)
    for seconds, held in ((0.004, 0.008), (0.009, 0.01), (0.5, 0.0)):
        steps.beat()
        steps.submit_small()
        Shift(
            steps.leases,
            FakeRunner(steps),
            HOLDER,
            background=BACKGROUND,
            wake=RecordingDispatcher().wake,
            clock=SlowClock(seconds),
        ).work(linger_seconds=0)
        assert terms[0] == 0
        assert terms[1] == pytest.approx(held)
        terms.clear()
