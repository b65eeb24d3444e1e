"""Celery's side of the work: unpack, delegate, decide on retry. Nothing else."""

import logging
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from billiard.exceptions import TimeLimitExceeded
from celery import Celery
from celery.exceptions import Reject
from celery.signals import task_failure

from shared.dispatch import SCORE_CHUNK
from shared.errors import StoreError
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobErrorCode
from worker.chunk_runner import ChunkRunner

logger = logging.getLogger(__name__)

RETRY_DELAYS_SECONDS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Half a minute in all: a restart of Redis with its append-only file takes less. Waiting here and
not by Celery's retry, because that would send a message to the very server that is away."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def persistently(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`step`, tried again while the store is out of reach; must bear being run twice.

    Raises StoreError when the store stays away.
    """

    def persistent(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for delay in RETRY_DELAYS_SECONDS:
            try:
                return step(*args, **kwargs)
            except StoreError as error:
                logger.warning("store out of reach", extra={"reason": str(error)})
                time.sleep(delay)
        return step(*args, **kwargs)

    return persistent


def register(
    celery: Celery,
    *,
    chunk_runner: Callable[[], ChunkRunner],
    store: Callable[[], JobStore],
    workers: Callable[[], WorkerRegistry],
) -> None:
    """Define the tasks on `celery`. Each callable gives this process's own part."""

    @celery.task(name=SCORE_CHUNK)
    def score_chunk(*, job_id: str, chunk: int, model: str) -> None:  # noqa: ARG001
        """Score one chunk of a job; `model` is there for who watches the queue."""
        try:
            persistently(chunk_runner().run)(job_id, chunk)
        except StoreError as error:
            raise Reject(str(error), requeue=True) from error
        except MemoryError as error:
            # Celery takes one for its own and would end the whole worker.
            raise RuntimeError("out of memory") from error

    def fail_job(*, kwargs: dict[str, Any], exception: BaseException, **_: Any) -> None:
        """End the job of a chunk that can't be run: time limit passed, or a bug. Idempotent."""
        if isinstance(exception, Reject):
            return
        if isinstance(exception, TimeLimitExceeded):
            workers().forget_speed(kwargs["model"])
        detail = f"Chunk {kwargs['chunk']} could not be scored ({type(exception).__name__})."
        store().fail(kwargs["job_id"], JobErrorCode.ATTEMPTS_EXHAUSTED, detail)

    task_failure.connect(fail_job, sender=score_chunk, weak=False)
