"""How fast models are, as it was known a moment ago."""

import time

from shared.job_store.workers import WorkerRegistry

RECENT_SECONDS = 1.0
"""A speed changes over many chunks; asking for it at every small job would double its round trips
to the store."""


class Speeds:
    """Rows per second of one process by model version. Safe to share by threads."""

    def __init__(self, workers: WorkerRegistry) -> None:
        self._workers = workers
        self._known: dict[str, tuple[float, float | None]] = {}

    def recent(self, model_version_id: str) -> float | None:
        """What was known within the last second; None before it was measured.

        Raises StoreUnavailableError.
        """
        asked_at, speed = self._known.get(model_version_id, (float("-inf"), None))
        now = time.monotonic()
        if now - asked_at > RECENT_SECONDS or speed is None:
            speed = self._workers.speed(model_version_id)
            self._known[model_version_id] = now, speed
        return speed
