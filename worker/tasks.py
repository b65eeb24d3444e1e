"""Celery's side of the work: unpack, delegate, decide on retry. Nothing else."""

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.signals import task_failure

from shared.dispatch import SCORE_CHUNK
from shared.errors import StoreError
from shared.job_store.store import JobStore
from shared.jobs import JobErrorCode
from worker.chunk_runner import ChunkRunner

STORE_RETRIES = 10
"""With the growing delay below about two minutes: longer than Redis takes to restart."""

MAX_DELAY_SECONDS = 20


def register(
    celery: Celery, chunk_runner: Callable[[], ChunkRunner], store: Callable[[], JobStore]
) -> None:
    """Define the tasks on `celery`. `chunk_runner()` and `store()` give this process's own."""

    @celery.task(name=SCORE_CHUNK, bind=True, max_retries=STORE_RETRIES)
    def score_chunk(self: Any, *, job_id: str, chunk: int, model: str) -> None:  # noqa: ARG001
        """Score one chunk of a job; `model` is there for who watches the queue."""
        try:
            chunk_runner().run(job_id, chunk)
        except StoreError as error:
            delay = min(2.0**self.request.retries, MAX_DELAY_SECONDS)
            raise self.retry(exc=error, countdown=delay) from error

    def fail_job(*, kwargs: dict[str, Any], exception: BaseException, **_: Any) -> None:
        """End the job of a chunk that can't be run: time limit passed, or a bug. Idempotent."""
        detail = f"Chunk {kwargs['chunk']} could not be scored ({type(exception).__name__})."
        store().fail(kwargs["job_id"], JobErrorCode.ATTEMPTS_EXHAUSTED, detail)

    task_failure.connect(fail_job, sender=score_chunk, weak=False)
