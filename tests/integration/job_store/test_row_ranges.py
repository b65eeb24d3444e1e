"""Parts of results and row errors: the right lines, and no more chunks read than have some."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.job_store.leases import Lease
from shared.jobs import Job
from shared.row_range import RowRange
from tests.factories import make_plan, make_result
from tests.job_steps import JobSteps

RANGES = [(0, None), (0, 0), (0, 1), (0, 10), (3, 4), (9, 2), (10, 10), (15, 20), (29, 1), (30, 5),
          (49, None), (50, None), (999, 1)]  # fmt: skip


def lines(numbers: Sequence[int]) -> bytes:
    """A result line for each row, with a newline inside quotes."""
    return b"".join(b'%d,"a\n""b",\n' % number for number in numbers)


def commit(steps: JobSteps, lease: Lease) -> None:
    plan = lease.plan
    rows = [plan.row(position) for position in range(plan.rows)]
    result = make_result(succeeded=8, failed=2, results=lines(rows), errors=lines(rows[-2:]))
    steps.leases.commit(lease, result)


def submit(steps: JobSteps, *, chunks: int = 5) -> str:
    """A job of chunks of ten rows, all of them committed."""
    job_id = steps.submit(chunks=chunks)
    while lease := steps.take():
        commit(steps, lease)
    return job_id


def results(steps: JobSteps, job: Job, rows: RowRange) -> bytes:
    return b"".join(steps.store.results(job, rows))


@pytest.mark.parametrize(("offset", "limit"), RANGES)
@pytest.mark.parametrize("bound", [{}, {"READ_BYTES": 1}, {"READ_CHUNKS": 2}])
def test_a_part_of_the_results_is_a_slice_of_them(
    steps: JobSteps,
    monkeypatch: pytest.MonkeyPatch,
    bound: dict[str, int],
    offset: int,
    limit: int | None,
) -> None:
    for name, value in bound.items():
        monkeypatch.setattr(f"shared.job_store.store.{name}", value)
    job_id, rows = submit(steps), RowRange(offset=offset, limit=limit)
    behind = None if limit is None else offset + limit

    job, texts = steps.store.get_with_results(job_id, rows)

    assert b"".join(texts) == lines(range(1, 51)[offset:behind])
    assert b"".join(steps.store.follow(job_id, rows)) == results(steps, job, rows)


@pytest.mark.parametrize(("offset", "limit"), [(0, 3), (4, None), (4, 3), (10, 1)])
def test_a_part_of_a_small_job_is_a_slice_of_it(
    steps: JobSteps, offset: int, limit: int | None
) -> None:
    rows = RowRange(offset=offset, limit=limit)

    job, texts = steps.store.get_with_results(submit(steps, chunks=1), rows)

    assert b"".join(texts) == results(steps, job, rows)
    assert results(steps, job, rows) == lines(range(1, 11)[offset:][:limit])


@pytest.mark.parametrize("offset", [30, 32])
def test_chunks_that_nothing_is_wanted_of_are_not_read(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    monkeypatch.setattr("shared.job_store.store.READ_BYTES", 1)
    job_id = submit(steps)
    job = steps.store.get(job_id)
    before = steps.redis.info("commandstats")["cmdstat_evalsha"]["calls"]

    found = results(steps, job, RowRange(offset=offset, limit=5))

    assert found == lines(range(offset + 1, offset + 6))
    assert steps.redis.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1


def test_rows_are_counted_as_a_retry_has_them(steps: JobSteps) -> None:
    job_id = steps.create()
    for number, picked in enumerate([(3, 7, 100), (101, 5000), (5001,)]):
        plan = make_plan(number, rows=len(picked), picked_rows=picked, picked_lines=picked)
        steps.append(job_id, plan=plan)
    steps.close(job_id)
    while lease := steps.take():
        commit(steps, lease)

    found = results(steps, steps.store.get(job_id), RowRange(offset=4, limit=2))

    assert found == lines([5000, 5001])


def test_rows_of_chunks_that_were_never_finished_are_not_counted(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=4)
    leases = [steps.leased(process) for process in range(1, 5)]
    for chunk in (1, 3):
        commit(steps, leases[chunk])
    steps.store.cancel(job_id)

    found = results(steps, steps.store.get(job_id), RowRange(offset=5, limit=10))

    assert found == lines([*range(16, 21), *range(31, 36)])


def test_who_follows_from_a_row_waits_for_the_rows_before_it(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    leases = [steps.leased(process) for process in range(1, 4)]
    texts = steps.store.follow(job_id, RowRange(offset=12, limit=3))
    commit(steps, leases[1])
    assert next(texts) == b""

    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, texts)
        commit(steps, leases[0])

        # The third chunk is never committed: the stream ends without it.
        assert b"".join(rest.result(timeout=10)) == lines([13, 14, 15])


@pytest.mark.parametrize(("offset", "limit"), [(0, 3), (3, None), (3, 3), (10, None)])
def test_a_part_of_the_row_errors_is_a_slice_of_them(
    steps: JobSteps, offset: int, limit: int | None
) -> None:
    job = steps.store.get(submit(steps))
    found = b"".join(steps.store.errors(job, RowRange(offset=offset, limit=limit)))

    numbers = [number for number in range(1, 51) if number % 10 in (9, 0)]
    assert found == lines(numbers[offset:][:limit])
