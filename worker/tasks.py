"""Celery's side of the work: unpack, delegate, decide on retry. Nothing else."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from celery import Celery

from shared.dispatch import SCORE_CHUNKS
from shared.errors import StoreError
from shared.job_store.leases import Holder, Leases
from shared.jobs import Lane
from shared.suspicion import LossReason
from worker.chunk_runner import ChunkRunner
from worker.outage import persistently

logger = logging.getLogger(__name__)

TASK_SECONDS = 2.0
"""A task takes one chunk after the other for so long, then sends for the next task: a message a
chunk would cost more than a small chunk, and an endless task could not be watched."""

LANES = (Lane.SMALL, Lane.BULK)
"""In the order in which a process looks for chunks."""


def run_next(leases: Leases, runner: ChunkRunner, holder: Holder) -> bool:
    """Take the next chunk and run it; returns whether there was one.

    Whatever a model or a library raises is the chunk's fault until its parts prove otherwise.
    """
    lease = persistently(leases.take)(holder, LANES)
    if lease is None:
        return False
    try:
        runner.run(lease)
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
    wake: Callable[[], None],
) -> None:
    """Define the task on `celery`. Each callable gives this process's own part; `wake` makes one
    of the same worker run the task again."""

    @celery.task(name=SCORE_CHUNKS)
    def score_chunks(*, job_id: str = "") -> None:  # noqa: ARG001
        """Run chunks, of whatever job, as long as there are any, but not for ever."""
        began = time.monotonic()
        while run_next(leases(), chunk_runner(), holder()):
            if time.monotonic() - began > TASK_SECONDS:
                # A server without memory for a message has work that would free some.
                with suppress(StoreError):
                    wake()
                    return
