"""What there is to see of a job's chunks one by one."""

import pytest
from redis import Redis

from shared.chunks import ChunkResult
from shared.job_store import job_chunks, keys
from shared.job_store.job_chunks import ChunkState, JobChunks
from shared.jobs import Lane
from tests.job_steps import WORKER, JobSteps

DONE, RUNNING, WAITING, DROPPED = ChunkState


@pytest.fixture
def chunks(redis: Redis) -> JobChunks:
    return JobChunks(redis)


def states(steps: JobSteps, chunks: JobChunks, job_id: str) -> list[ChunkState]:
    return chunks.states(steps.store.get(job_id))


def test_chunks_wait_run_and_are_done(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit(chunks=4)
    assert states(steps, chunks, job_id) == [WAITING] * 4

    steps.leased(1)
    steps.commit(steps.leased(2))

    assert states(steps, chunks, job_id) == [RUNNING, DONE, WAITING, WAITING]


def test_a_chunk_that_was_given_back_waits(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit(chunks=2)

    steps.leases.give_back(steps.leased())

    assert states(steps, chunks, job_id) == [WAITING, WAITING]


def test_what_an_ended_job_did_not_score_was_dropped(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit(chunks=3)
    steps.run()
    steps.leased()

    steps.store.cancel(job_id)

    assert states(steps, chunks, job_id) == [DONE, DROPPED, DROPPED]


def test_chunks_that_came_after_the_snapshot_are_left_out(
    steps: JobSteps, chunks: JobChunks
) -> None:
    job_id = steps.create()
    steps.append(job_id, 0)
    job = steps.store.get(job_id)
    steps.append(job_id, 1)
    steps.run()
    steps.run()

    assert chunks.states(job) == [DONE]


def test_of_too_many_chunks_nobody_is_told(
    steps: JobSteps, chunks: JobChunks, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = steps.submit(chunks=3)
    steps.run()
    monkeypatch.setattr(job_chunks, "MAX_CHUNKS", 2)

    job = steps.store.get(job_id)
    assert chunks.states(job) == []
    assert chunks.workers(job) == {}


def test_each_committed_chunk_tells_who_scored_it(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit(chunks=4)
    steps.leases.give_back(steps.leased(worker="slow"))
    for _ in range(3):
        steps.commit(steps.leased(worker="quick"))
    steps.leased(worker="slow")

    assert chunks.workers(steps.store.get(job_id)) == {"quick": 3}


def test_a_small_job_tells_who_scored_it_too(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit_small()
    small = steps.take_together().leases

    steps.commit_all(small)

    assert chunks.workers(steps.store.get(job_id)) == {WORKER: 1}


def test_a_job_of_an_earlier_rowmill_does_not_tell(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit(lane=Lane.SMALL)
    steps.run()
    steps.redis.hdel(keys.chunks(job_id), "0:worker")

    assert chunks.workers(steps.store.get(job_id)) == {}


def test_results_are_read_from_their_beginning(steps: JobSteps, chunks: JobChunks) -> None:
    job_id = steps.submit(chunks=3)
    for text in (b"1,a\n2,b\n", b"11,c\n"):
        steps.leases.commit(
            steps.leased(), ChunkResult(results=text, errors=b"", succeeded=10, failed=0)
        )
    job = steps.store.get(job_id)

    assert chunks.result_heads(job, [0, 1, 2], size_bytes=6) == [b"1,a\n2,", b"11,c\n"]
    assert chunks.result_heads(job, [0] * 9, size_bytes=1) == [b"1"] * 9
    assert chunks.result_heads(job, [], size_bytes=6) == []
    steps.store.delete(job_id)
    assert chunks.result_heads(job, [0], size_bytes=6) == []
