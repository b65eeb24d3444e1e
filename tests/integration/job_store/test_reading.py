"""Jobs read and listed; a server that does not answer is an error of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from shared.chunks import ChunkResult, RejectedRows
from shared.errors import StoreUnavailableError
from shared.job_store.connection import connect
from shared.job_store.leases import Holder, Leases
from shared.job_store.store import JobFilter, JobStore
from shared.job_store.workers import WorkerRegistry
from shared.jobs import Job, JobStatus, JobTerms, Lane, new_job_id
from shared.suspicion import Rows
from tests.factories import make_body, make_capacity, make_intake, make_plan, make_result, make_spec
from tests.job_steps import JobSteps, submit_whole

# --- results


def test_failed_rows_can_be_read_as_they_were_sent(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    rejected = {
        0: RejectedRows(rows=(2, 9), lines=(3, 12), records=b'x\n"a\nb"\n'),
        2: RejectedRows(rows=(30,), lines=(31,), records=b"\xff,\0\n"),
    }
    while lease := steps.take():
        found = rejected.get(lease.plan.number, RejectedRows())
        failed = len(found.rows)
        result = ChunkResult(
            results=b"", errors=b"", succeeded=10 - failed, failed=failed, rejected=found
        )
        steps.leases.commit(lease, result)

    assert list(steps.store.rejects(steps.store.get(job_id))) == [rejected[0], rejected[2]]


def test_results_can_be_read_before_the_job_has_ended(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    first, second = steps.leased(1), steps.leased(2)

    steps.commit(second, failed=1)

    job = steps.store.get(job_id)
    assert steps.results(job) == [b"chunk 1\n"]
    assert list(steps.store.errors(job)) == [b"bad\n"]
    steps.commit(first)
    assert steps.results(job) == [b"chunk 0\n", b"chunk 1\n"]


def scripts_run(redis: Redis) -> int:
    """How many scripts the server was asked to run so far."""
    return int(redis.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


@pytest.mark.parametrize(
    ("bound", "round_trips"),
    [
        ({}, 1),
        ({"READ_BYTES": 1}, 5),
        ({"READ_BYTES": len(b"chunk 0\n") + 1}, 3),
        ({"READ_CHUNKS": 2}, 3),
        ({"READ_CHUNKS": 5}, 1),
    ],
)
def test_results_of_many_chunks_are_read_in_few_round_trips_of_bounded_size(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch, bound: dict[str, int], round_trips: int
) -> None:
    for name, value in bound.items():
        monkeypatch.setattr(f"shared.job_store.store.{name}", value)
    job = steps.store.get(steps.submit(chunks=5))
    steps.run_all()
    assert list(steps.store.errors(job)) == []
    before = scripts_run(steps.redis)

    found = steps.results(job)

    assert found == [b"chunk %d\n" % number for number in range(5)]
    assert scripts_run(steps.redis) - before == round_trips


def test_results_can_be_read_where_nothing_can_be_written(steps: JobSteps) -> None:
    job_id = steps.submit()
    steps.run()
    steps.redis.replicaof("127.0.0.1", 1)
    try:
        assert steps.results(job_id) == [b"chunk 0\n"]
    finally:
        steps.redis.replicaof("NO", "ONE")


# --- lists


def ids(page: tuple[list[Job], bool]) -> list[str]:
    return [job.id for job in page[0]]


def create_at(steps: JobSteps, milliseconds: int, **spec: Any) -> str:
    """A job whose id says that it was created so long after a fixed moment of this year."""
    job_id = f"job_{new_job_id()[4:10]}ffff{milliseconds:02x}{'0' * 20}"
    steps.intake.create(job_id, make_spec(**spec), JobTerms())
    return job_id


def test_jobs_are_listed_newest_first_page_by_page(steps: JobSteps) -> None:
    created = [create_at(steps, at) for at in (3, 1, 2, 5, 4)]
    newest_first = sorted(created, reverse=True)

    first = steps.store.page(JobFilter(owner=None), limit=2)
    second = steps.store.page(JobFilter(owner=None, after=ids(first)[-1]), limit=2)
    third = steps.store.page(JobFilter(owner=None, after=ids(second)[-1]), limit=2)

    assert ids(first) + ids(second) + ids(third) == newest_first
    assert [has_more for _, has_more in (first, second, third)] == [True, True, False]


def test_a_list_shows_only_what_was_asked_for(steps: JobSteps) -> None:
    wanted = create_at(steps, 1, model_name="line")
    for at, name in enumerate(("line", "echo"), start=2):
        steps.store.cancel(create_at(steps, at, model_name=name))

    found = steps.store.page(
        JobFilter(owner=None, status=JobStatus.RECEIVING, model="line"), limit=1
    )

    assert (ids(found), found[1]) == ([wanted], False)


def test_a_filter_finds_jobs_behind_many_others(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.job_store.store.LIST_BATCH", 2)
    wanted = [create_at(steps, at, model_name="line") for at in (1, 2)]
    for at in range(3, 10):
        create_at(steps, at)

    assert ids(steps.store.page(JobFilter(owner=None, model="line"), limit=9)) == wanted[::-1]


def test_a_page_goes_on_after_a_job_that_is_gone(steps: JobSteps) -> None:
    created = [create_at(steps, at) for at in (1, 2, 3)]
    steps.store.delete(created[1])

    assert ids(steps.store.page(JobFilter(owner=None, after=created[1]), limit=9)) == [created[0]]


def test_an_expired_job_is_passed_over_before_the_sweep_has_come(steps: JobSteps) -> None:
    created = [create_at(steps, at) for at in (1, 2, 3)]
    steps.expire(created[1])

    assert ids(steps.store.page(JobFilter(owner=None), limit=9)) == [created[2], created[0]]


# --- a server out of reach


def test_a_server_that_takes_no_writes_is_out_of_reach(steps: JobSteps) -> None:
    steps.redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(StoreUnavailableError):
            steps.create()
        with pytest.raises(StoreUnavailableError):
            steps.beat()
    finally:
        steps.redis.replicaof("NO", "ONE")


def test_a_server_that_is_gone_is_an_error_of_its_own(
    steps: JobSteps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.job_store.connection.RETRIES", 0)
    monkeypatch.setattr("shared.job_store.store.OUTAGE_SECONDS", 0)
    steps.submit()
    lease = steps.leased()
    nobody = connect(f"unix://{tmp_path / 'nobody'}")
    store, intake = JobStore(nobody), make_intake(nobody)
    leases = Leases(nobody, time_limit_seconds=1, max_job_losses=1)
    registry = WorkerRegistry(nobody, dead_after_seconds=10, max_job_losses=1)

    calls: list[Callable[[], object]] = [
        lambda: store.get("job_1"),
        lambda: store.cancel("job_1"),
        lambda: store.delete("job_1"),
        lambda: store.page(JobFilter(owner=None), limit=1),
        lambda: list(store.results(steps.store.get(lease.job_id))),
        lambda: list(store.follow("job_1")),
        lambda: store.await_end("job_1", "ends:1"),
        lambda: intake.create("job_1", make_spec(), JobTerms()),
        lambda: submit_whole(intake, "job_1", make_spec(), JobTerms(), make_body()),
        lambda: intake.first_request("k"),
        lambda: intake.append_chunk("job_1", make_plan(), b"", result_bytes=0),
        lambda: intake.close("job_1", input_bytes=0, sha256=""),
        lambda: intake.vouch_for(["job_1"]),
        lambda: leases.take(Holder(worker="w", process=1), [Lane.BULK]),
        lambda: leases.begin_part(lease, Rows(first=0, behind=1), seconds=1),
        lambda: leases.commit(lease, make_result()),
        lambda: leases.listen(Holder(worker="w", process=1), 1),
        lambda: leases.give_back(lease),
        lambda: registry.beat("w", make_capacity(), alive=[]),
        lambda: registry.leave("w"),
        registry.sweep,
        registry.live,
        registry.counters,
        lambda: registry.is_live("w"),
        lambda: registry.speed("m/1"),
        lambda: registry.record_speed("m/1", 1.0),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailableError):
            call()
