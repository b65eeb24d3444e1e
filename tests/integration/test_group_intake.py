"""Small jobs that come at the same time are taken in together, and one costs no other."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Request
from redis import Redis
from werkzeug.test import EnvironBuilder

from api import group_intake
from api.group_intake import GroupIntake
from api.waiting import WaitingRoom
from shared.errors import StoreUnavailableError, TooMuchQueuedError
from shared.job_store import keys
from shared.job_store.connection import connect
from shared.job_store.ends import Awaited, Ends
from shared.job_store.intake import PROMISED_SHARE, FirstRequest, JobIntake, NewJob, TakenIn
from shared.jobs import JobStatus, JobTerms, Lane, new_job_id
from shared.signature import Dtype, OutputColumn
from tests.factories import PREDICTION, make_body, make_intake, make_plan, make_spec
from tests.job_steps import JobSteps
from tests.listening import listening
from tests.waiting import wait_until

SOON = 8
"""Seconds within which everything here has happened."""


WAITS = Request(EnvironBuilder(headers={"Prefer": "wait=60"}).get_environ())


SPEC = make_spec(
    result_columns=(
        OutputColumn(name="row", dtype=Dtype.INT),
        *PREDICTION,
        OutputColumn(name="error", dtype=Dtype.STRING),
    )
)


def make_job(*, rows: int = 10, **terms: Any) -> NewJob:
    wanted, body = JobTerms(lane=Lane.SMALL, **terms), make_body(make_plan(rows=rows))
    return NewJob(id=new_job_id(), spec=SPEC, terms=wanted, body=body)


def outcomes_of(group: GroupIntake, jobs: Sequence[NewJob]) -> list[object]:
    """What becomes of jobs that come while a call is under way."""
    with group._calling:
        entries = [group.take_in(job) for job in jobs]
    return [entry.exception(timeout=SOON) or entry.result() for entry in entries]


class Calls:
    """Counts what goes to the store."""

    def __init__(self, intake: JobIntake) -> None:
        self._submit_all = intake.submit_all
        self.sizes: list[int] = []

    def submit_all(self, jobs: Sequence[NewJob]) -> object:
        self.sizes.append(len(jobs))
        return self._submit_all(jobs)


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def ends(redis: Redis) -> Iterator[Ends]:
    with listening(redis) as ends:
        yield ends


def make_group(redis: Redis, ends: Ends, woken: list[str], **limits: Any) -> tuple[Any, Calls]:
    intake = make_intake(redis, **limits)
    calls = Calls(intake)
    intake.submit_all = calls.submit_all  # type: ignore[method-assign, assignment]
    return GroupIntake(intake, ends, wake=woken.append), calls


def test_jobs_that_come_at_the_same_time_are_one_call(
    steps: JobSteps, redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, calls = make_group(redis, ends, woken)
    steps.beat()
    jobs = [make_job(caller=f"caller {n % 3}", rows=n + 1) for n in range(9)]

    outcomes = outcomes_of(group, jobs)

    assert calls.sizes == [9]
    assert all(isinstance(outcome, TakenIn) for outcome in outcomes)
    assert [steps.store.get(job.id).total for job in jobs] == list(range(1, 10))
    assert [steps.store.get(job.id).status for job in jobs] == [JobStatus.QUEUED] * 9
    assert steps.backlog()["rows"] == 45
    assert len(woken) == 1
    assert sorted(lease.job_id for lease in steps.run_all()) == sorted(job.id for job in jobs)
    assert set(steps.backlog().values()) == {0}


@pytest.mark.parametrize(("limit", "sizes"), [("MOST_JOBS", [4, 4, 1]), ("MOST_BYTES", [4, 4, 1])])
def test_a_group_is_bounded(
    redis: Redis,
    ends: Ends,
    woken: list[str],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(group_intake, limit, {"MOST_JOBS": 4, "MOST_BYTES": 80}[limit])
    group, calls = make_group(redis, ends, woken)

    outcomes_of(group, [make_job(rows=10) for _ in range(9)])

    assert calls.sizes == sizes


def test_one_that_is_refused_costs_no_other(
    steps: JobSteps, redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, calls = make_group(redis, ends, woken, max_waiting_rows=25)
    first = make_job(rows=10, idempotency_key="k", request="r")
    jobs = [first, make_job(rows=100), make_job(rows=10), make_job(rows=9, idempotency_key="k")]

    outcomes = outcomes_of(group, jobs)

    assert calls.sizes == [4]
    assert [type(outcome) for outcome in outcomes] == [
        TakenIn,
        TooMuchQueuedError,
        TakenIn,
        FirstRequest,
    ]
    assert outcomes[3] == FirstRequest(job_id=first.id, request="r")
    assert steps.backlog()["rows"] == 20
    assert len(steps.run_all()) == 2


def test_rows_of_the_same_group_count(redis: Redis, ends: Ends, woken: list[str]) -> None:
    group, _ = make_group(redis, ends, woken, max_waiting_rows=25)

    outcomes = outcomes_of(group, [make_job(rows=10) for _ in range(4)])

    assert [type(outcome) for outcome in outcomes] == [TakenIn] * 2 + [TooMuchQueuedError] * 2


def test_bytes_of_the_same_group_count(
    steps: JobSteps, redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, _ = make_group(redis, ends, woken)
    steps.sweep()  # which looks how much memory there is
    bytes_each = make_job().spec.result_bytes(1000, input_bytes=2000) + 2000
    used, share = redis.info("memory")["used_memory"], PROMISED_SHARE
    redis.hset(keys.BACKLOG, mapping={"used": used, "most": int((used + 2.5 * bytes_each) / share)})

    outcomes = outcomes_of(group, [make_job(rows=1000) for _ in range(4)])

    assert [type(outcome) for outcome in outcomes] == [TakenIn] * 2 + [TooMuchQueuedError] * 2


def test_a_job_that_comes_alone_needs_no_other_thread(
    redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, calls = make_group(redis, ends, woken)

    entry = group.take_in(make_job())

    assert entry.done()
    assert group._thread is None
    assert calls.sizes == [1]


def test_who_calls_takes_along_what_has_gathered(
    redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, calls = make_group(redis, ends, woken)
    gathered = (make_job(), Future[Any]())
    group._gathered.put(gathered)

    group.take_in(make_job())

    assert gathered[1].done()
    assert calls.sizes == [2]


def test_nobody_waits_for_the_message_that_wakes_a_worker(
    steps: JobSteps, redis: Redis, ends: Ends
) -> None:
    is_sent = threading.Event()
    group = GroupIntake(make_intake(redis), ends, wake=lambda _: is_sent.wait(SOON))
    steps.beat()
    sender = threading.Thread(target=group.take_in, args=(make_job(),))
    sender.start()
    wait_until(lambda: redis.exists("woken:small") == 1 and not group._calling.locked())

    outcomes = [group.take_in(make_job()).result(timeout=SOON / 2) for _ in range(2)]

    assert [type(outcome) for outcome in outcomes] == [TakenIn] * 2
    is_sent.set()
    sender.join()


def test_a_message_that_can_not_be_sent_costs_only_the_message(
    steps: JobSteps, redis: Redis, ends: Ends
) -> None:
    def fail(job_id: str) -> None:
        raise RuntimeError(job_id)

    group = GroupIntake(make_intake(redis), ends, wake=fail)
    steps.beat()

    assert isinstance(group.take_in(make_job()).result(timeout=SOON), TakenIn)
    for _ in range(2):
        steps.let_a_moment_pass()
        outcomes = outcomes_of(group, [make_job() for _ in range(3)])
        assert [type(outcome) for outcome in outcomes] == [TakenIn] * 3


def test_who_waits_for_the_end_of_a_refused_job_is_told_why(
    redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, _ = make_group(redis, ends, woken, max_waiting_rows=15)
    group.take_in(make_job(rows=10)).result(timeout=SOON)
    job = make_job(rows=10, awaited_by=ends.channel())

    began = time.monotonic()
    entry = group.take_in(job)

    with pytest.raises(TooMuchQueuedError):
        wait(ends, job, entry)
    assert time.monotonic() - began < SOON


def test_who_waits_is_told_that_the_store_is_away(
    steps: JobSteps, redis: Redis, ends: Ends, tmp_path: Path
) -> None:
    nowhere = make_intake(connect(f"unix://{tmp_path / 'nowhere'}"))
    group = GroupIntake(nowhere, ends, wake=lambda _: None)
    job = make_job(awaited_by=ends.channel())

    entry = group.take_in(job)

    with pytest.raises(StoreUnavailableError):
        wait(ends, job, entry)
    with pytest.raises(StoreUnavailableError):
        entry.result(timeout=SOON)


def test_a_job_is_not_missed_that_is_still_on_its_way(
    steps: JobSteps, redis: Redis, ends: Ends, woken: list[str]
) -> None:
    """Whoever looks for it before it is in the store waits for that first."""
    group, _ = make_group(redis, ends, woken)
    job = make_job(awaited_by="ends:a subscription of before")
    group._calling.acquire()
    entry = group.take_in(job)
    looked: list[object] = []

    def wait_until_taken_in() -> object:
        if not looked:
            group._calling.release()
        looked.append("taken in?")
        return entry.result(timeout=SOON)

    awaited = Awaited(
        job_id=job.id, spec=job.spec, told_on="x", wait_until_taken_in=wait_until_taken_in
    )
    with closing(ends.hear(awaited)) as hearing:
        seen = hearing.wait(timeout_seconds=0.05)

    assert (seen.job.id, seen.job.status) == (job.id, JobStatus.QUEUED)
    assert looked


def test_a_wait_that_is_shorter_than_taking_in_is_no_missing_job(
    steps: JobSteps, redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, _ = make_group(redis, ends, woken)
    job = make_job(awaited_by=ends.channel())
    group._calling.acquire()
    entry = group.take_in(job)
    releases = [group._calling.release]

    def wait_until_taken_in() -> object:
        while releases:
            releases.pop()()
        return entry.result(timeout=SOON)

    awaited = Awaited(
        job_id=job.id,
        spec=job.spec,
        told_on=job.terms.awaited_by,
        wait_until_taken_in=wait_until_taken_in,
    )
    with closing(ends.hear(awaited)) as hearing:
        seen = hearing.wait(timeout_seconds=0.05)

    assert (seen.job.id, seen.job.status) == (job.id, JobStatus.QUEUED)


def test_a_job_that_the_store_has_lost_may_be_sent_again(
    steps: JobSteps, redis: Redis, ends: Ends, woken: list[str]
) -> None:
    group, _ = make_group(redis, ends, woken)
    job = make_job(awaited_by=ends.channel())
    group.take_in(job)
    redis.flushdb()

    awaited = Awaited(job_id=job.id, spec=job.spec, told_on=job.terms.awaited_by)
    room = WaitingRoom(ends, max_seconds=0.05, seats=1)
    with room.wait(WAITS) as wait, pytest.raises(StoreUnavailableError):
        wait.answered(awaited, lambda seen: pytest.fail(f"answered: {seen}"))


def wait(ends: Ends, job: NewJob, entry: Any) -> object:
    awaited = Awaited(
        job_id=job.id, spec=job.spec, told_on=job.terms.awaited_by, wait_until_taken_in=entry.result
    )
    with closing(ends.hear(awaited)) as hearing:
        return hearing.wait(timeout_seconds=60)
