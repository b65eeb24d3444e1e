"""`celery -A tests.integration.hanging_worker`: a worker whose event loop hangs when told to."""

import signal
import time
from types import FrameType

from worker import supervisor
from worker.app import app

__all__ = ["app"]

supervisor.STUCK_AFTER_ROUNDS = 5  # a minute would make for a long test


def _hang(_number: int, _frame: FrameType | None) -> None:
    time.sleep(3600)


# Python runs it in the main thread, in the midst of whatever the event loop does.
signal.signal(signal.SIGWINCH, _hang)
