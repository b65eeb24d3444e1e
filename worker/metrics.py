"""What the processes of a worker count, together."""

from collections.abc import Sequence
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from shared.job_store.leases import Lease, Outcome
from shared.jobs import Lane
from shared.metrics import SECONDS

OF_A_LANE = ("model", "lane")
"""A model's name and not its version: what is labelled is kept as long as the worker runs."""


class Broken(StrEnum):
    """What becomes of an attempt that comes to no commit. One that is lost with its process counts
    nothing any more: Redis counts it."""

    MODEL_FAILED = "model_failed"
    CRASHED = "crashed"


class WorkerMetrics:
    """Made once, before the processes are forked that count. Safe to share by threads."""

    def __init__(self) -> None:
        self.wait_seconds = Histogram(
            "rowmill_chunk_wait_seconds",
            "From when a chunk could be run until a process took it.",
            OF_A_LANE,
            buckets=SECONDS,
            registry=None,
        )
        self.run_seconds = Histogram(
            "rowmill_chunk_run_seconds",
            "From when a process took a chunk until its attempt was over.",
            OF_A_LANE,
            buckets=SECONDS,
            registry=None,
        )
        self.job_seconds = Histogram(
            "rowmill_job_seconds",
            "From when a job was made until its last chunk was committed.",
            OF_A_LANE,
            buckets=SECONDS,
            registry=None,
        )
        self.attempts = Counter(
            "rowmill_attempts", "Attempts by what became of them.", ["outcome"], registry=None
        )
        self.coalesced_jobs = Histogram(
            "rowmill_coalesced_jobs",
            "Small jobs that were scored together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=None,
        )
        self.model_loads = Counter(
            "rowmill_model_loads",
            "Model versions that a process opened, or could not.",
            ["model", "outcome"],
            registry=None,
        )
        self.cache_bytes = Gauge(
            "rowmill_model_cache_bytes",
            "Memory of the models that are loaded; what processes share counts once.",
            registry=None,
            multiprocess_mode="livesum",
        )
        self.cache_versions = Gauge(
            "rowmill_model_cache_versions",
            "Model versions that are loaded, in the process that has most.",
            registry=None,
            multiprocess_mode="livemax",
        )
        self.webhook_attempts = Counter(
            "rowmill_webhook_attempts",
            "Attempts to tell a callback, by what became of the delivery.",
            ["outcome"],
            registry=None,
        )

    def begin_attempts(self, leases: Sequence[Lease]) -> None:
        """Note chunks that a process has taken together, of the same model."""
        waits = self.wait_seconds.labels(*_labels(leases[0]))
        for lease in leases:
            if lease.waited_seconds is not None:
                waits.observe(lease.waited_seconds)
        if leases[0].lane is Lane.SMALL:
            self.coalesced_jobs.observe(len(leases))

    def end_attempts(
        self, leases: Sequence[Lease], outcomes: Sequence[Outcome | Broken], seconds: float
    ) -> None:
        """Note what became of chunks that were run together, and how long that took."""
        runs = self.run_seconds.labels(*_labels(leases[0]))
        for _ in leases:
            runs.observe(seconds)
        for outcome in set(outcomes):
            self.attempts.labels(outcome).inc(outcomes.count(outcome))

    def end_job(self, lease: Lease, seconds: float) -> None:
        """Note that a commit has ended a job."""
        self.job_seconds.labels(*_labels(lease)).observe(seconds)


def _labels(lease: Lease) -> tuple[str, str]:
    return lease.spec.model_name, lease.lane
