"""Watches over a worker from its main process: says that it lives."""

import logging
from collections.abc import Callable
from typing import Any

from celery import bootsteps

from shared.errors import StoreError
from shared.job_store.workers import BEAT_SECONDS, WorkerRegistry

logger = logging.getLogger(__name__)


class Supervisor(bootsteps.StartStopStep):
    """A step of the worker's main process, run by the timer of the same event loop that takes
    messages: a worker whose loop hangs falls silent and is no longer counted as live."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")
    registry: Callable[[], WorkerRegistry]

    @classmethod
    def for_registry(cls, registry: Callable[[], WorkerRegistry]) -> type["Supervisor"]:
        """The step, bound to where it reports."""
        return type("BoundSupervisor", (cls,), {"registry": staticmethod(registry)})

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._entry: Any = None

    def start(self, worker: Any) -> None:
        """Beat now and every few seconds from now on."""
        self._beat(worker)
        self._entry = worker.timer.call_repeatedly(BEAT_SECONDS, self._beat, (worker,))

    def stop(self, worker: Any) -> None:
        """Sign off, so that no one counts on this worker."""
        if self._entry is not None:
            self._entry.cancel()
        try:
            self.registry().leave(worker.hostname)
        except StoreError as error:
            logger.warning("worker could not sign off", extra={"reason": str(error)})

    def _beat(self, worker: Any) -> None:
        try:
            self.registry().beat(worker.hostname, processes=worker.pool.num_processes)
        except StoreError as error:
            logger.warning("heartbeat not heard", extra={"reason": str(error)})
