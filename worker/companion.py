"""Keeps a process running beside a worker's main process: see `webhooks.py`, `metrics_server.py`.

Not a thread, because the processes of the pool are forked from the main process again and again: a
lock that a thread holds at that moment would be held in the new process for ever.
"""

import logging
import os
import subprocess
import sys
from typing import Any

from celery import bootsteps

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often is looked whether it still runs."""


class CompanionStep(bootsteps.StartStopStep):
    """Ties the process to the life of Celery's worker, whose parts come without types."""

    requires = ("celery.worker.components:Timer",)
    module: str
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def bound(cls, module: str) -> type["CompanionStep"]:
        """The step for this module, which is run with the id of the worker's main process and has
        to end when that is its parent no more."""
        name = f"{module.rpartition('.')[2].title().replace('_', '')}Step"
        return type(name, (cls,), {"module": module})

    def start(self, worker: Any) -> None:
        """Begin it now and whenever it has died."""
        self._begin()
        worker.timer.call_repeatedly(LOOK_SECONDS, self._look)

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """Let it finish what is under way; nobody waits for it."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()

    def _begin(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", self.module, str(os.getpid())])

    def _look(self) -> None:
        if self.process is None or (exit_code := self.process.poll()) is None:
            return
        fields = {"program": self.module, "exit_code": exit_code}
        logger.error("process beside the worker died", extra=fields)
        self._begin()
