"""Opens versions in a process of the pool before the first job for them is here."""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection

from shared.errors import ModelError, StoreError
from shared.job_store.model_reports import Reports
from worker.model_cache import ModelCache

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

NICENESS = 10
"""How far opening stands back behind scoring, which goes on meanwhile."""


RETELL_SECONDS = 10.0
"""How often is told what was told before: the store may have lost it."""


class ModelUpdates:
    """Follows what this process's worker found good, in a thread of its own."""

    def __init__(
        self,
        models: ModelCache,
        *,
        told: Callable[[], Reports],
        tell: Callable[[Collection[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told`: what the worker says of versions. `tell`: lets it know what is open here. Both
        may raise StoreError."""
        self._models = models
        self._told = told
        self._tell = tell
        self._clock = clock
        self._seen: set[tuple[str, str]] = set()
        self._opened: set[str] = set()
        self._said: tuple[frozenset[str], float] = frozenset(), float("-inf")

    def start(self) -> None:
        """Follow until the process ends."""
        threading.Thread(target=self._follow, name="models", daemon=True).start()

    def look(self) -> None:
        """Open what is wanted and was not opened before, and tell. Raises StoreError."""
        for version_id, report in self._told().items():
            is_new = (version_id, report.sha256) not in self._seen
            if report.is_sound and report.is_wanted and is_new:
                # Once: the cache may have to give it up for others.
                self._seen.add((version_id, report.sha256))
                self._open(version_id, report.sha256)
        opened = frozenset(self._opened)
        said, said_at = self._said
        if opened != said or self._clock() - said_at > RETELL_SECONDS:
            self._tell(sorted(opened))
            self._said = opened, self._clock()

    def _open(self, version_id: str, sha256: str) -> None:
        name, _, version = version_id.partition("/")
        try:
            self._models.get(name, version, sha256=sha256)
            self._opened.add(version_id)
        except ModelError as error:  # whoever needs it will be told
            logger.warning(
                "model not opened ahead", extra={"model": version_id, "reason": str(error)}
            )

    def _follow(self) -> None:
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        never = threading.Event()
        while not never.wait(LOOK_SECONDS):
            try:
                self.look()
            except StoreError as error:
                logger.warning("store out of reach", extra={"reason": str(error)})
