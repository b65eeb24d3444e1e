"""How fast models are, as it was known a moment ago."""

import time

from shared.chunks import ASSUMED_EXPLAINED_SPEED
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobSpec
from shared.signature import OutputKind

RECENT_SECONDS = 1.0
"""A speed changes over many chunks; asking for it at every small job would double its round trips
to the store."""


class Speeds:
    """Rows per second of one process, by what is asked of it. Safe to share by threads."""

    def __init__(self, workers: WorkerRegistry) -> None:
        self._workers = workers
        self._known: dict[str, tuple[float, float | None]] = {}

    def of(self, spec: JobSpec) -> float | None:
        """What was known within the last second; None before it was measured, unless it is better
        to assume one. Raises StoreUnavailableError."""
        asked_at, speed = self._known.get(spec.speed_id, (float("-inf"), None))
        now = time.monotonic()
        if now - asked_at > RECENT_SECONDS or speed is None:
            speed = self._workers.speed(spec.speed_id)
            self._known[spec.speed_id] = now, speed
        is_explained = spec.output is OutputKind.CONTRIBUTIONS and not spec.validate_only
        return ASSUMED_EXPLAINED_SPEED if speed is None and is_explained else speed
