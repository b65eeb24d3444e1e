"""Keeps the process that tells callbacks running beside a worker: see `webhooks.py`."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from celery import bootsteps

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often is looked whether it still runs. Until it does again, others tell what is due."""


class WebhookStep(bootsteps.StartStopStep):
    """Ties the process to the life of Celery's worker, whose parts come without types."""

    requires = ("celery.worker.components:Timer",)
    command: Sequence[str] = (sys.executable, "-m", "worker.webhooks")
    process: subprocess.Popen[bytes] | None = None

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
        self.process = subprocess.Popen([*self.command, str(os.getpid())])

    def _look(self) -> None:
        if self.process is None or (exit_code := self.process.poll()) is None:
            return
        logger.error("process that tells callbacks died", extra={"exit_code": exit_code})
        self._begin()
