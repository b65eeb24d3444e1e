"""Deletes objects that nobody needs any more, in a thread of each process of the pool.

Not in the worker's main process: others are forked from that one, and an object store's client has
threads. Any process will do, since a note stays until its objects are deleted.
"""

import logging
import threading

from shared.errors import StoreError
from shared.job_store.garbage import Garbage

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often is looked whether something is due: one small command. What a caller deletes is deleted
by the API at once."""


class Tidying:
    """Works notes off for as long as its process lives."""

    def __init__(self, garbage: Garbage) -> None:
        self._garbage = garbage

    def start(self) -> None:
        """Begin; the thread ends with the process."""
        threading.Thread(target=self._tidy, name="tidying", daemon=True).start()

    def _tidy(self) -> None:
        never = threading.Event()
        while not never.wait(LOOK_SECONDS):
            try:
                self._garbage.work_off()
            except StoreError as error:
                logger.warning("objects not deleted", extra={"reason": str(error)})
