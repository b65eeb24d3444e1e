"""Watches over a worker from its main process, and with it over the jobs of all.

Every second it says that the worker lives, gives back what its dead processes ran, takes part in
the sweep over what dead workers and APIs left behind, and wakes the worker if there is something to
run that no message told it of. A worker that can't be woken does not hear its messages any more,
and one that hears them but runs nothing has processes that are stuck: both are stopped, to be
started anew by who keeps them running.

The timer is that of the event loop that takes messages: a worker whose loop hangs falls silent and
no longer counts as live. Celery keeps it going while a worker stops and its processes finish.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.signals import task_received, worker_shutdown
from celery.worker import state
from kombu import Queue
from kombu.asynchronous import set_event_loop

from shared.dispatch import Dispatcher
from shared.errors import StoreError
from shared.job_store.workers import Capacity, Pulse, WorkerRegistry
from shared.suspicion import LossReason

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
"""Half of what the promises need: a killed process is noticed within a second."""

DEAF_AFTER_ROUNDS = 15
"""A worker that was woken in so many rounds, one a second, and heard nothing is deaf: a broker that
answers delivers within one. Time in which the worker itself was frozen is no round."""

STUCK_AFTER_ROUNDS = 60
"""A worker that was woken in so many rounds on end and ran nothing in any of them is stuck, such as
one whose processes are all frozen: a live process takes what waits within milliseconds."""

IDLE_STOP_SECONDS = 3.0
"""How long a worker that runs nothing may take to stop in good order."""


class Supervisor:
    """The watch over one worker; knows of Celery only what it is told."""

    def __init__(
        self,
        registry: WorkerRegistry,
        dispatcher: Dispatcher,
        *,
        worker: str,
        queue: Queue,
        bulk_processes: int,
        threads_per_process: int,
        cores: int,
        stop_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._dispatcher = dispatcher
        self._worker = worker
        self._queue = queue
        self._bulk_processes = bulk_processes
        self._threads_per_process = threads_per_process
        self._cores = cores
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._stopping_since: float | None = None
        self._is_running = True
        self._rounds_unheard = 0
        self._rounds_stuck = 0

    def hear(self) -> None:
        """Tell that a message has come in."""
        self._rounds_unheard = 0

    def stop(self) -> None:
        """Take no new chunks from now on."""
        self._stopping_since = self._clock()

    @property
    def is_overdue(self) -> bool:
        """Whether the worker should have stopped by now: its time is up, or nothing runs.

        Celery waits for a task which it received and no process has begun; it is of no use.
        """
        if self._stopping_since is None:
            return False
        seconds = self._clock() - self._stopping_since
        return seconds > (self._stop_seconds if self._is_running else IDLE_STOP_SECONDS)

    @property
    def is_deaf(self) -> bool:
        """Whether the worker does not hear that it is woken."""
        return self._rounds_unheard > DEAF_AFTER_ROUNDS

    @property
    def is_stuck(self) -> bool:
        """Whether the worker runs nothing although there is something to run."""
        return self._rounds_stuck > STUCK_AFTER_ROUNDS

    def watch(self, alive: list[int], *, ready: int) -> None:
        """One round. `alive` are the ids of the worker's processes; so many of them are `ready`,
        that is they have loaded their models. Raises StoreError."""
        unheard, self._rounds_unheard = self._rounds_unheard, 0
        pulse = self._beat(alive, 0 if self._stopping_since is not None else ready)
        for what, of in self._registry.sweep():
            log_swept(what, of)
        for _ in range(pulse.could_run):
            self._dispatcher.wake(self._queue)
        # Not before: who could not be woken has missed nothing.
        if pulse.could_run:
            self._rounds_unheard = unheard + 1
        self._rounds_stuck = self._rounds_stuck + 1 if pulse.could_run and not pulse.running else 0

    def _beat(self, alive: list[int], ready: int) -> Pulse:
        capacity = Capacity(
            processes=ready,
            # While one of them starts anew, it is bulk that does without.
            bulk_processes=min(max(1, ready - 1), self._bulk_processes) if ready else 0,
            threads_per_process=self._threads_per_process,
            cores=self._cores,
        )
        pulse = self._registry.beat(self._worker, capacity, alive=alive)
        self._is_running = pulse.running > 0
        for chunk in pulse.given_back:
            log_swept(LossReason.DIED, chunk)
        return pulse

    def leave(self) -> None:
        """Give back what is still running and sign off. Raises StoreError."""
        for chunk in self._registry.leave(self._worker):
            log_swept("returned", chunk)


def log_swept(what: str, of: str) -> None:
    """One event for what was set right: a chunk (`job chunk`) or job, or a worker that is dead."""
    if what == "dead":
        logger.warning("worker dead", extra={"worker": of})
        return
    job_id, _, chunk = of.partition(" ")
    fields = {"job_id": job_id, "reason": what} | ({"chunk": int(chunk)} if chunk else {})
    logger.warning("chunk given back" if chunk else "job ended by the sweep", extra=fields)


class SupervisorStep(bootsteps.StartStopStep):
    """Ties the supervisor to the life of Celery's worker, whose parts come without types."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")
    supervisor: Supervisor
    queue: Queue

    @classmethod
    def bound(cls, supervisor: Callable[[], Supervisor], queue: Queue) -> type["SupervisorStep"]:
        """The step for this supervisor."""
        return type("BoundStep", (cls,), {"make": staticmethod(supervisor), "queue": queue})

    make: Callable[[], Supervisor]

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        worker.app.amqp.queues.select_add(self.queue)

    def start(self, worker: Any) -> None:
        """Watch now and every second from now on."""
        self.supervisor = self.make()
        task_received.connect(self._hear, weak=False)
        worker_shutdown.connect(self._leave, weak=False)
        self._watch(worker)
        worker.timer.call_repeatedly(BEAT_SECONDS, self._watch, (worker,))

    def stop(self, worker: Any) -> None:
        """Take no new chunks; the pool waits for those that run while the timer goes on."""
        # kombu forgets the loop with a connection that is lost (Hub.reset in 5.7), although Celery
        # goes on with it; and without one it fires no timer while the pool waits.
        set_event_loop(worker.hub)
        self.supervisor.stop()
        self._watch(worker)

    def _hear(self, **_: Any) -> None:
        self.supervisor.hear()

    def _leave(self, **_: Any) -> None:
        try:
            self.supervisor.leave()
        except StoreError as error:
            logger.warning("worker could not sign off", extra={"reason": str(error)})

    def _watch(self, worker: Any) -> None:
        # Celery tells nobody which processes it has and which of them are up: `_pool` are those it
        # started, `_fileno_to_inq` those that said they are ready. Reading `exitcode` asks the
        # system, so a death is seen before the pool has noticed it.
        pool = worker.pool._pool
        alive = [child.pid for child in pool._pool if child.exitcode is None]
        ready = sum(child.exitcode is None for child in pool._fileno_to_inq.values())
        try:
            self.supervisor.watch(alive, ready=ready)
        except StoreError as error:
            logger.warning("store out of reach", extra={"reason": str(error)})
        if self.supervisor.is_deaf or self.supervisor.is_stuck:
            why = "hears no messages" if self.supervisor.is_deaf else "runs nothing of what waits"
            logger.error("worker stops to be started anew", extra={"reason": why})
            state.should_stop = os.EX_TEMPFAIL  # type: ignore[assignment]
        if self.supervisor.is_overdue:
            logger.warning("worker ends at once", extra={"processes": alive})
            self._leave()
            # The system ends the processes of the pool with this one.
            os._exit(int(state.should_stop or os.EX_OK))
