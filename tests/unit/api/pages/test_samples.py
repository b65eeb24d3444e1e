"""Which of a job's results its page reads."""

import pytest
from redis import Redis

from api.pages.samples import first_rows
from shared.job_store import job_chunks
from shared.job_store.job_chunks import JobChunks
from tests.job_steps import JobSteps


@pytest.mark.parametrize("max_chunks", [2, 10_000])
def test_first_rows_are_found_however_many_chunks_a_job_has(
    steps: JobSteps, redis: Redis, monkeypatch: pytest.MonkeyPatch, max_chunks: int
) -> None:
    monkeypatch.setattr(job_chunks, "MAX_CHUNKS", max_chunks)
    job_id, chunks = steps.submit(chunks=3), JobChunks(redis)

    before = first_rows(steps.store.get(job_id), chunks)
    steps.run()
    after = first_rows(steps.store.get(job_id), chunks)

    assert not before.rows
    assert after.rows
