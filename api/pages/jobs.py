"""What the pages of jobs show."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from api.drift_report import compared, drift_warnings
from api.pages.chunk_strip import ChunkStrip, chunk_strip
from api.pages.findings import Findings, JobFindings
from api.query import JobListQuery
from api.representations import job_document
from shared.drift import FeatureDrift
from shared.job_store.job_chunks import JobChunks
from shared.job_store.store import JobStore
from shared.jobs import Job, JobErrorCode
from shared.model_repository import ModelRepository

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 1, 10
POLLS = 60
"""A page asks about so often until its job has ended, but not more or less often than that."""

ANNOUNCED = 4
"""Parts of a job whose end is announced to who can't see the page: more would be chatter."""

ADVICE = {
    JobErrorCode.ALL_ROWS_FAILED: "Look at the row errors below: often one column is wrong.",
    JobErrorCode.ERROR_THRESHOLD_EXCEEDED: (
        "Look at the row errors below and mend the file, or allow more of them (error_threshold)."
    ),
    JobErrorCode.MODEL_LOAD_FAILED: (
        "The model has to be published again, or its workers lack what it needs; tell who runs "
        "the service."
    ),
    JobErrorCode.ATTEMPTS_EXHAUSTED: (
        "The model may end its process on some row; the workers' log says more. What is finished "
        "can be downloaded."
    ),
    JobErrorCode.DEADLINE_EXCEEDED: (
        "What is finished can be downloaded. Allow more time (deadline), or add workers."
    ),
    JobErrorCode.UPLOAD_INCOMPLETE: "Send the file again.",
    JobErrorCode.INPUT_REFUSED: "Mend the file and send it again.",
    JobErrorCode.PAYLOAD_LOST: (
        "Send the file again, and tell who runs the service that somebody deletes from its object "
        "store."
    ),
}
"""What to do about each."""


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """One job."""

    job: Job
    strip: ChunkStrip | None
    findings: Findings
    warnings: Sequence[str]
    features: Sequence[FeatureDrift]
    """Beside the training; none if nothing was counted."""

    @property
    def advice(self) -> str:
        """What to do about the job's error."""
        code = self.job.error_code
        return ADVICE[JobErrorCode(code)] if code in list(JobErrorCode) else ""

    @property
    def ratio(self) -> float:
        """Share of the rows that have an outcome."""
        return (self.job.total - self.job.pending) / self.job.total if self.job.total else 0.0

    @property
    def announcement(self) -> str:
        """How the job stands, in words that change a few times only."""
        parts = int(self.ratio * ANNOUNCED)
        if self.job.has_ended or not parts:
            return f"The job is {self.job.status.replace('_', ' ')}."
        return f"The job is {self.job.status}; {100 * parts // ANNOUNCED} % of its rows are done."

    @property
    def poll_seconds(self) -> int:
        """When to look again; a job that takes long is looked at less often."""
        eta = self.job.eta_seconds or 0
        return max(MIN_POLL_SECONDS, min(round(eta / POLLS), MAX_POLL_SECONDS))

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has been running."""
        if self.job.started_at_ms is None:
            return None
        return ((self.job.finished_at_ms or self.job.read_at_ms) - self.job.started_at_ms) / 1000


@dataclass(frozen=True, kw_only=True)
class JobListPage:
    """Some of the jobs, newest first."""

    jobs: Sequence[Job]
    query: JobListQuery
    models: Sequence[str]
    """That jobs may be of."""
    has_more: bool

    @property
    def is_live(self) -> bool:
        """Whether it may change by itself."""
        return any(not job.has_ended for job in self.jobs)

    @property
    def url(self) -> str:
        return self._url(after=self.query.after)

    @property
    def first_url(self) -> str:
        return self._url()

    @property
    def next_url(self) -> str:
        return self._url(after=self.jobs[-1].id)

    def _url(self, after: str | None = None) -> str:
        limit = self.query.limit if "limit" in self.query.model_fields_set else None
        filters = {"status": self.query.status, "model": self.query.model}
        wanted = filters | {"limit": limit, "after": after}
        query = urlencode({name: value for name, value in wanted.items() if value})
        return f"/ui/jobs?{query}" if query else "/ui/jobs"


@dataclass(frozen=True, kw_only=True)
class JobPages:
    """Puts them together. Safe to share by threads."""

    store: JobStore
    chunks: JobChunks
    repository: ModelRepository
    findings: JobFindings

    def job(self, job_id: str) -> JobPage:
        """The page of a job. Raises JobNotFoundError, JobGoneError, StoreUnavailableError."""
        job = self.store.get(job_id)
        document = job_document(job, drift_warnings(job, self.repository))
        return JobPage(
            job=job,
            strip=chunk_strip(self.chunks.states(job)),
            findings=self.findings.of(job),
            warnings=document["warnings"],
            features=compared(job, self.repository) if job.feature_counts.sums else (),
        )

    def list(self, query: JobListQuery, *, owner: str | None) -> JobListPage:
        """The jobs that a query asks for, of this API key or, with None, of all."""
        wanted = query.as_filter(owner=owner)
        jobs, has_more = self.store.page(wanted, limit=query.limit)
        names = {*self.repository.names(), *([query.model] if query.model else [])}
        return JobListPage(jobs=jobs, query=query, models=sorted(names), has_more=has_more)
