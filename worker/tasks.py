"""Celery's side of the work: unpack, delegate, decide on retry. Nothing else."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from celery import Celery

from shared import logs
from shared.dispatch import SCORE_CHUNKS
from shared.errors import StoreError
from shared.job_store.leases import Holder, Lease, Leases, Taken, Terms
from shared.jobs import Lane
from shared.suspicion import LossReason
from worker.background import Background
from worker.chunk_runner import ChunkRunner
from worker.chunk_spans import chunk_spans
from worker.outage import persistently

logger = logging.getLogger(__name__)

TASK_SECONDS = 10.0
"""A task takes one chunk after the other for so long, then sends for the next task: a message a
chunk would cost more than a small chunk, and an endless task could not be watched."""

LINGER_SECONDS = 1.0
"""How long a process that ran out of work listens to its bell before its task ends. A ring takes a
fraction of the time of a message through the broker and the worker's main process."""

TURN_SECONDS = 0.05
"""How long a process whose shadow is another one's turn waits before it looks again."""

LANES = (Lane.SMALL, Lane.BULK)
"""In the order in which a process looks for chunks."""

TOGETHER = Terms(most_jobs=64, most_rows=1_000, most_seconds=0.25)
"""What is scored in one go is no larger than a single small job may be."""

MOST_HOLD_SECONDS = 0.01
HOLD_SHARE = 2.0
"""A process that is back sooner than another could be woken holds others back from small jobs: it
takes all that came meanwhile together. Where it takes longer somebody else had better be woken. It
holds for so many times as long as it took before, since rounds differ, but not longer than that."""


class Shift:
    """One run of the task in one process: chunks, of whatever job, as long as there are any."""

    def __init__(
        self,
        leases: Leases,
        runner: ChunkRunner,
        holder: Holder,
        *,
        background: Background,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._runner = runner
        self._holder = holder
        self._background = background
        self._wake = wake
        self._clock = clock
        self._ends_at = clock() + TASK_SECONDS
        self._hold_seconds = 0.0

    def work(self, *, linger_seconds: float = LINGER_SECONDS) -> bool:
        """Run what there is and what comes while the process lingers, but not for ever.

        Returns whether there may be more.
        """
        will_linger = True
        while True:
            is_over = self._clock() > self._ends_at
            is_idle = not self._runner.shadows.is_pending
            seconds = linger_seconds if will_linger and is_idle and not is_over else 0.0
            taken = self._take(seconds)
            if taken.leases:
                with logs.more_fields(**_fields(taken.leases)), chunk_spans(taken.leases):
                    self._run(taken.leases)
                will_linger = True
                if is_over:
                    return True
            elif not is_idle:
                if is_over:
                    return True
                if not self._follow():
                    persistently(self._leases.listen)(self._holder, TURN_SECONDS)
            elif taken.lingers:
                will_linger = persistently(self._leases.listen)(self._holder, seconds)
            else:
                return False

    def _take(self, linger_seconds: float) -> Taken:
        terms = replace(TOGETHER, hold_seconds=self._hold_seconds, linger_seconds=linger_seconds)
        taken = persistently(self._leases.take)(self._holder, LANES, terms)
        if taken.is_message_needed:
            with suppress(StoreError):  # the workers' beat makes up for it
                self._wake()
        return taken

    def _follow(self) -> bool:
        """Take a shadow's step, if it is this process's turn. Whatever goes wrong with it costs
        only its rows."""
        try:
            return self._background.run(self._runner.shadows.step)
        except Exception:
            logger.exception("shadow crashed")
            self._runner.shadows.leave_out()
            return True

    def _run(self, leases: Sequence[Lease]) -> None:
        """Whatever a model or a library raises is the chunks' fault until their parts prove
        otherwise."""
        began = self._clock()
        try:
            if len(leases) > 1:
                self._runner.run_together(leases)
            elif leases[0].lane is Lane.BULK:
                self._background.run(self._runner.run, leases[0])
            else:
                self._runner.run(leases[0])
        except Exception:
            for lease in leases:
                logger.exception("attempt crashed", extra=_fields([lease]))
                persistently(self._leases.give_back)(lease, reason=LossReason.DIED)
        if leases[0].lane is Lane.SMALL:
            seconds = self._clock() - began
            is_soon_back = seconds < MOST_HOLD_SECONDS
            hold_seconds = min(HOLD_SHARE * seconds, MOST_HOLD_SECONDS)
            self._hold_seconds = hold_seconds if is_soon_back else 0.0


def _fields(leases: Sequence[Lease]) -> dict[str, object]:
    """What log lines say of the chunks that are run. Each of several is all of its job."""
    if len(leases) > 1:
        return {
            "job_ids": [lease.job_id for lease in leases],
            "request_ids": [lease.trail.request_id for lease in leases],
        }
    lease = leases[0]
    return {
        "request_id": lease.trail.request_id,
        "job_id": lease.job_id,
        "chunk": lease.plan.number,
        "attempt": lease.attempt,
    }


def register(
    celery: Celery,
    *,
    chunk_runner: Callable[[], ChunkRunner],
    leases: Callable[[], Leases],
    holder: Callable[[], Holder],
    background: Callable[[], Background],
    wake: Callable[[], None],
    wake_this: Callable[[], None],
) -> None:
    """Define the task on `celery`. Each callable gives this process's own part; `wake` makes some
    worker run the task, `wake_this` the same one."""

    @celery.task(name=SCORE_CHUNKS)
    def score_chunks(*, job_id: str = "") -> None:  # noqa: ARG001
        """Run chunks, of whatever job, as long as there are any, but not for ever."""
        shift = Shift(leases(), chunk_runner(), holder(), background=background(), wake=wake)
        while shift.work():
            # A server without memory for a message has work that would free some.
            with suppress(StoreError):
                wake_this()
                return
