"""What the results of jobs show: first rows, distributions, row errors, who scored them.

It is read from the store once for a job that has ended, and now and then for one that runs, however
many look at its page.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from api.drift_report import manifest_of
from api.pages.plots import ClassBars, Histogram, drawn
from api.pages.row_errors import FailedRow, failed_rows
from api.pages.samples import FirstRows, distributions, first_rows
from shared.job_store.job_chunks import JobChunks
from shared.job_store.store import JobStore
from shared.jobs import Job
from shared.model_repository import ModelRepository

KEPT_JOBS = 100
"""Each takes some 20 kB."""

REFRESH_SECONDS = 5.0
"""So long what was found in a running job is shown, though there is more by now."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found in one job at one time."""

    job: Job
    first_rows: FirstRows
    plots: tuple[Histogram | ClassBars, ...]
    training_rows: int
    """Of the sample whose predictions are drawn beside those of the job."""
    failed_rows: tuple[FailedRow, ...]
    workers: dict[str, int]
    """Chunks that each of them scored."""
    found_at: float = field(default_factory=time.monotonic)

    def are_enough_for(self, job: Job) -> bool:
        """Whether they may be shown for a later snapshot of the job."""
        if job.has_ended != self.job.has_ended:
            return False
        if job.has_ended or job.chunks_done == self.job.chunks_done:
            return True
        is_young = time.monotonic() - self.found_at < REFRESH_SECONDS
        return bool(self.job.chunks_done) and is_young


class JobFindings:
    """Finds, and remembers. Safe to share by threads."""

    def __init__(self, store: JobStore, chunks: JobChunks, repository: ModelRepository) -> None:
        self._store = store
        self._chunks = chunks
        self._repository = repository
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Findings] = OrderedDict()

    def of(self, job: Job) -> Findings:
        """What is found in a job. Raises JobGoneError, StoreUnavailableError."""
        with self._lock:
            known = self._known.get(job.id)
        if known is not None and known.are_enough_for(job):
            return known
        found = self._find(job)
        with self._lock:
            self._known[job.id] = found
            self._known.move_to_end(job.id)
            if len(self._known) > KEPT_JOBS:
                self._known.popitem(last=False)
        return found

    def _find(self, job: Job) -> Findings:
        manifest = manifest_of(job, self._repository)
        statistics = manifest.statistics if manifest else None
        found = distributions(job, self._chunks, statistics)
        return Findings(
            job=job,
            first_rows=first_rows(job, self._chunks),
            plots=tuple(map(drawn, found)),
            training_rows=statistics.rows if statistics else 0,
            failed_rows=failed_rows(job, self._store),
            workers=self._chunks.workers(job),
        )
