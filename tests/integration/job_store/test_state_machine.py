"""Any order of what APIs, workers, deaths and time do to jobs keeps every promise of the store.

Hypothesis searches for orders of steps, each on the real scripts, and compares what the store says
and holds with a model that knows which attempt may commit which chunk.
"""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from shared.errors import JobGoneError
from shared.job_store import keys
from shared.job_store.garbage import Garbage
from shared.job_store.leases import Holder, Leases, Terms
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobErrorCode, JobSpec, JobTerms, Lane, new_job_id
from shared.signature import Dtype, OutputColumn
from shared.suspicion import LossReason
from tests.factories import (
    PREDICTION,
    make_body,
    make_intake,
    make_plan,
    make_result,
    make_spec,
)
from tests.integration.job_store.expectation import Attempt, Expectation, ExpectedJob
from tests.integration.job_store.snapshot import Snapshot
from tests.job_steps import LANES, JobSteps, submit_whole

LONG_SECONDS = 1000
"""How long workers and uploads may be silent: longer than Hypothesis needs for an example, so that
only the steps make them so."""

MAX_LOSSES = 3
MAX_JOBS = 6

WORKERS = st.sampled_from(["a", "b"])
CHUNKS = st.tuples(st.integers(1, 3), st.integers(0, 40))
"""Their rows, and about how many bytes their results take."""
PROCESSES = st.integers(1, 3)
REASONS = st.sampled_from(["returned", *LossReason])


RESULT_COLUMNS = (
    OutputColumn(name="row", dtype=Dtype.INT),
    *PREDICTION,
    OutputColumn(name="error", dtype=Dtype.STRING),
)


def spec(threshold: int, payload_url: str = "") -> JobSpec:
    """Jobs with the same threshold want the same."""
    return make_spec(
        error_threshold=threshold,
        deadline_seconds=500,
        result_columns=RESULT_COLUMNS,
        payload_url=payload_url,
    )


class JobStoreMachine(RuleBasedStateMachine):
    """Jobs of nobody and of an API key, two workers of three processes each, of which two may run
    bulk. The bytes of the key's bulk jobs lie in an object store."""

    jobs = Bundle("jobs")
    attempts = Bundle("attempts")

    def __init__(self, redis: Redis, objects: Path) -> None:
        super().__init__()
        redis.flushdb()
        self.objects = objects
        registry = WorkerRegistry(redis, dead_after_seconds=LONG_SECONDS, max_job_losses=MAX_LOSSES)
        leases = Leases(redis, time_limit_seconds=60, max_job_losses=MAX_LOSSES)
        self.steps = JobSteps(
            redis=redis,
            store=JobStore(redis),
            intake=make_intake(redis),
            leases=leases,
            registry=registry,
        )
        self.expected = Expectation(max_losses=MAX_LOSSES)

    # --- an API

    @initialize(target=jobs)
    def begin(self) -> ExpectedJob:
        for worker in ("a", "b"):
            self.beat_with_all_alive(worker)
        job = self._create(Lane.BULK, "", -1, 0)
        self.append(job, [(2, 5), (1, 0)], 1)
        return job

    @precondition(lambda self: len(self.expected.jobs) < MAX_JOBS)
    @rule(
        target=jobs,
        lane=st.sampled_from(list(Lane)),
        caller=st.sampled_from(["", "you"]),
        threshold=st.sampled_from([-1, 0, 2]),
        promised=st.sampled_from([0, 50]),
    )
    def create(self, lane: Lane, caller: str, threshold: int, promised: int) -> ExpectedJob:
        return self._create(lane, caller, threshold, promised)

    def _create(self, lane: Lane, caller: str, threshold: int, promised: int) -> ExpectedJob:
        job_id = new_job_id()
        terms = JobTerms(
            lane=lane,
            caller=caller,
            owner=caller,
            expected_bytes=promised,
            idempotency_key=job_id[-5:],
        )
        payload_url = f"file://{self.objects}" if caller and lane is Lane.BULK else ""
        for _ in range(2):  # the second is a repeat after a lost answer
            self.steps.intake.create(job_id, spec(threshold, payload_url), terms)
        return self.expected.create(
            job_id,
            lane=lane,
            caller=caller,
            threshold=threshold,
            payload_url=payload_url,
            promised=promised,
        )

    @precondition(lambda self: len(self.expected.jobs) < MAX_JOBS)
    @rule(
        target=jobs,
        caller=st.sampled_from(["", "you"]),
        threshold=st.sampled_from([-1, 0]),
        rows=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    )
    def submit(self, caller: str, threshold: int, rows: list[int]) -> object:
        """Several small jobs, each taken in at once."""
        jobs = [self._submit(caller, threshold, count) for count in rows]
        return multiple(*jobs)

    def _submit(self, caller: str, threshold: int, rows: int) -> ExpectedJob:
        job_id, body = new_job_id(), make_body(make_plan(rows=rows))
        terms = JobTerms(lane=Lane.SMALL, caller=caller, owner=caller, idempotency_key=job_id[-5:])
        for _ in range(2):  # the second is a repeat after a lost answer
            submit_whole(self.steps.intake, job_id, spec(threshold), terms, body)
        job = self.expected.create(
            job_id,
            lane=Lane.SMALL,
            caller=caller,
            threshold=threshold,
            payload_url="",
            promised=0,
        )
        growth = spec(threshold).result_bytes(rows, input_bytes=2 * rows)
        job.append(rows, growth=growth, input_bytes=2 * rows)
        job.close()
        return job

    @rule(job=jobs, chunks=st.lists(CHUNKS, min_size=2, max_size=5), repeats=st.integers(1, 2))
    def append(self, job: ExpectedJob, chunks: list[tuple[int, int]], repeats: int) -> None:
        for rows, growth in chunks:
            if not job.is_open or job.is_received:
                return
            plan = make_plan(len(job.chunks), rows=rows)
            for _ in range(repeats):
                self.steps.append(
                    job.id, plan=plan, result_bytes=growth, payload_url=job.payload_url
                )
            input_bytes = int(self.steps.redis.strlen(keys.input_of(job.id, plan.number)))
            job.append(rows, growth=growth, input_bytes=input_bytes)

    @rule(job=jobs)
    def close(self, job: ExpectedJob) -> None:
        if not job.chunks:
            return
        self.steps.close(job.id)
        job.close()

    # --- a worker

    @rule(worker=WORKERS, bulk=st.integers(1, 2), alive=st.sets(PROCESSES, min_size=1))
    def beat(self, worker: str, bulk: int, alive: set[int]) -> None:
        pulse = self.steps.beat(worker, processes=3, bulk=bulk, alive=alive)

        self.expected.beat(worker, bulk=bulk, alive=alive, given_back=pulse.given_back)
        # It may be called in vain, for a job that has ended; what waits it must be called for.
        assert pulse.could_run or not self.expected.could_run(worker)
        assert pulse.running == self.expected.busy_processes(worker)

    @rule(worker=WORKERS)
    def beat_with_all_alive(self, worker: str) -> None:
        self.beat(worker, 2, {1, 2, 3})

    @rule(target=attempts, worker=WORKERS, process=PROCESSES)
    def take(self, worker: str, process: int) -> object:
        lease = self._take(worker, process)
        return multiple() if lease is None else lease

    def _take(self, worker: str, process: int) -> Attempt | None:
        attempts = self._take_together(worker, process, Terms())
        return attempts[0] if attempts else None

    def _take_together(self, worker: str, process: int, terms: Terms) -> list[Attempt]:
        lane = self.expected.lane_of_next(worker, process)
        self.steps.let_a_moment_pass()
        leases = self.steps.leases.take(Holder(worker=worker, process=process), LANES, terms).leases
        assert {lease.lane for lease in leases} == ({lane} if lane else set())
        self.expected.take_together(leases, most_jobs=terms.most_jobs, most_rows=terms.most_rows)
        return [self.expected.take(lease) for lease in leases]

    @rule(target=attempts, worker=WORKERS, process=PROCESSES, most=st.integers(2, 4))
    def take_together(self, worker: str, process: int, most: int) -> object:
        terms = Terms(most_jobs=most, most_rows=2 * most, most_seconds=1)
        return multiple(*self._take_together(worker, process, terms))

    @rule(worker=WORKERS, process=PROCESSES, failed=st.lists(st.integers(0, 3), min_size=4))
    def commit_together(self, worker: str, process: int, failed: list[int]) -> None:
        """What a process took, or what is left of it, in one step; its first answer is lost."""
        held = [a for a in self.expected.running(worker) if a.lease.holder.process == process]
        counts = [min(n, a.lease.plan.rows) for n, a in zip(failed, held, strict=False)]
        done = list(zip(held, counts, strict=False))
        if not done:
            return
        expected = [self.expected.outcome_of(attempt) for attempt, _ in done]
        results = [
            (a.lease, make_result(succeeded=a.lease.plan.rows - n, failed=n)) for a, n in done
        ]

        assert self.steps.leases.commit_all(results) == expected
        for attempt, count in done:
            self.expected.commit(attempt, failed=count)
        again = [self.expected.outcome_of(attempt) for attempt, _ in done]
        assert self.steps.leases.commit_all(results) == again

    @rule(attempt=attempts, failed=st.integers(0, 3))
    def commit(self, attempt: Attempt, failed: int) -> None:
        failed = min(failed, attempt.lease.plan.rows)
        expected = self.expected.outcome_of(attempt)

        assert self.steps.commit(attempt.lease, failed=failed) is expected
        self.expected.commit(attempt, failed=failed)

    @rule(target=attempts, worker=WORKERS)
    def take_as_many_as_it_can(self, worker: str) -> object:
        taken = [self._take(worker, process) for process in (1, 2, 3)]
        return multiple(*(attempt for attempt in taken if attempt))

    @rule(worker=WORKERS, process=PROCESSES)
    def run(self, worker: str, process: int) -> None:
        if attempt := self._take(worker, process):
            self.commit(attempt, 0)

    @rule(attempt=attempts)
    def begin_part(self, attempt: Attempt) -> None:
        expected = None if attempt.is_valid else self.expected.outcome_of(attempt)

        assert self.steps.leases.begin_part(attempt.lease, None, seconds=1) is expected
        self.expected.release_unless_valid(attempt)

    @rule(attempt=attempts, reason=REASONS, repeats=st.integers(1, 2))
    def give_back(self, attempt: Attempt, reason: str, repeats: int) -> None:
        for _ in range(repeats):
            expected = attempt.is_valid

            assert self.steps.leases.give_back(attempt.lease, reason=reason) == expected
            self.expected.give_back(attempt, reason=reason)

    @rule(
        target=attempts,
        attempt=attempts,
        process=PROCESSES,
        late=st.sampled_from(["commit", "begin_part", "give_back"]),
    )
    def come_late(self, attempt: Attempt, process: int, late: str) -> object:
        """A process loses its chunk, another one of its worker takes one, and the first goes on."""
        self.give_back(attempt, "returned", 1)
        newer = self._take(attempt.lease.holder.worker, process)
        if late == "commit":
            self.commit(attempt, 0)
        elif late == "begin_part":
            self.begin_part(attempt)
        else:
            self.give_back(attempt, "died", 1)
        return newer or multiple()

    @rule(worker=WORKERS)
    def leave(self, worker: str) -> None:
        self.expected.leave(worker, self.steps.registry.leave(worker))

    # --- time

    @rule(worker=WORKERS)
    def fall_silent(self, worker: str) -> None:
        if not self.expected.knows(worker):
            return
        self.steps.silence(worker, seconds=LONG_SECONDS + 1)
        self.expected.sweep(self.steps.sweep(), silent=worker)

    @rule(attempt=attempts)
    def take_too_long(self, attempt: Attempt) -> None:
        if not self.expected.is_held(attempt):
            return
        self.steps.overdue(attempt.lease)
        self.expected.sweep(self.steps.sweep(), overdue=attempt)

    # --- ends

    @precondition(lambda self: self.expected.open_jobs > 1)
    @rule(job=jobs, how=st.sampled_from(["cancel", "fail", "deadline", "upload"]))
    def end(self, job: ExpectedJob, how: str) -> None:
        if how == "cancel":
            self.steps.store.cancel(job.id)
            job.end("cancelled")
        elif how == "fail":
            self.steps.store.fail(job.id, JobErrorCode.MODEL_LOAD_FAILED, "No model.")
            job.end("failed")
        elif how == "deadline" and job.is_open:
            self.steps.make_due(keys.DEADLINES, job.id)
            assert self.steps.sweep() == [("deadline_exceeded", job.id)]
            job.end("failed")
        elif how == "upload" and job.is_open and not job.is_received:
            self.steps.make_due(keys.UPLOADS, job.id)
            assert self.steps.sweep() == [("upload_incomplete", job.id)]
            job.end("failed")

    @precondition(lambda self: self.expected.open_jobs > 1)
    @rule(job=jobs, how=st.sampled_from(["delete", "expire"]))
    def go(self, job: ExpectedJob, how: str) -> None:
        if job.is_gone:
            return
        if how == "delete":
            self.steps.store.delete(job.id)
        else:
            self.steps.expire(job.id)
            assert self.steps.sweep() == [("expired", job.id)]
        job.is_gone = True

    # --- what must hold after every step

    @invariant()
    def the_store_is_as_expected(self) -> None:
        snapshot = Snapshot.of(self.steps)
        for job in self.expected.jobs:
            snapshot.check_job(job)
        snapshot.check_leases(self.expected)
        snapshot.check_backlog(self.expected)
        snapshot.check_lines(self.expected)
        snapshot.check_waiting(self.expected)
        snapshot.check_unfinished(self.expected)
        snapshot.check_owned(self.expected)
        snapshot.check_lifetimes()

    def teardown(self) -> None:
        """Whatever has happened: a worker that lives brings every job to its end."""
        for worker in ("a", "b"):
            self.steps.registry.leave(worker)
        for job in self.expected.jobs:
            self.steps.close(job.id)
        self.steps.run_all()
        for job in self.expected.jobs:
            assert job.is_gone or self.steps.store.get(job.id).has_ended
            self._check_results(job)
        self._check_that_no_object_is_left()

    def _check_results(self, job: ExpectedJob) -> None:
        """They are there, wherever they are kept."""
        if not job.is_gone:
            found = self.steps.store.get(job.id)
            assert len(self.steps.results(found)) == found.chunks_done

    def _check_that_no_object_is_left(self) -> None:
        for job in self.expected.jobs:
            with suppress(JobGoneError):
                self.steps.store.delete(job.id)
        for note in self.steps.redis.zrange(keys.GARBAGE, 0, -1):
            self.steps.make_due(keys.GARBAGE, note.decode())
        Garbage(self.steps.redis).work_off()
        assert not [path for path in self.objects.rglob("*") if path.is_file()]


@pytest.mark.timeout(600)  # Hypothesis takes up to five minutes to make a failure short
def test_no_order_of_steps_breaks_a_promise_or_leaves_a_job_behind(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shared.job_store.intake.UPLOAD_SECONDS", LONG_SECONDS)
    run_state_machine_as_test(
        lambda: JobStoreMachine(redis, tmp_path),
        settings=settings(
            max_examples=100,
            stateful_step_count=80,
            suppress_health_check=list(HealthCheck),
        ),
    )
