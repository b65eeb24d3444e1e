"""Celery's side of the work: unpack, delegate, decide on retry. Nothing else."""

import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from celery import Celery

from shared.bisection import LossReason
from shared.dispatch import SCORE_CHUNKS, Dispatcher
from shared.errors import StoreError
from shared.job_store.leases import Holder, Leases
from shared.jobs import Lane
from worker.chunk_runner import ChunkRunner

logger = logging.getLogger(__name__)

RETRY_DELAYS_SECONDS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Half a minute in all: a restart of Redis with its append-only file takes less. Waiting here and
not by Celery's retry, because that would send a message to the very server that is away."""

TASK_SECONDS = 2.0
"""A task takes one chunk after the other for so long, then sends for the next task: a message a
chunk would cost more than a small chunk, and an endless task could not be watched."""

LANES = (Lane.SMALL, Lane.BULK)
"""In the order in which a process looks for chunks."""

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


def run_next(leases: Leases, runner: ChunkRunner, holder: Holder) -> bool:
    """Take the next chunk and run it; returns whether there was one. Raises StoreError.

    Whatever else a model or a library raises is the chunk's fault until its parts prove otherwise.
    """
    lease = leases.take(holder, LANES)
    if lease is None:
        return False
    try:
        runner.run(lease)
    except StoreError:
        raise
    except Exception:
        fields = {"job_id": lease.job_id, "chunk": lease.plan.number, "attempt": lease.attempt}
        logger.exception("attempt crashed", extra=fields)
        persistently(leases.give_back)(lease, reason=LossReason.DIED)
    return True


def register(
    celery: Celery,
    *,
    chunk_runner: Callable[[], ChunkRunner],
    leases: Callable[[], Leases],
    holder: Callable[[], Holder],
    dispatcher: Dispatcher,
) -> None:
    """Define the task on `celery`. Each callable gives this process's own part."""

    @celery.task(name=SCORE_CHUNKS)
    def score_chunks() -> None:
        """Run chunks as long as there are any, but not for ever."""
        began = time.monotonic()
        try:
            while run_next(leases(), chunk_runner(), holder()):
                if time.monotonic() - began > TASK_SECONDS:
                    dispatcher.wake()
                    return
        except StoreError as error:
            # The supervisor wakes this worker again when the store is back.
            logger.warning("store out of reach", extra={"reason": str(error)})
