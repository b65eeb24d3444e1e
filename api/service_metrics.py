"""What Redis knows of the service, as metrics: read when Prometheus asks, by any one API process.

None of it depends on how many jobs there are. What is told by model version is told of those in the
repository only: Redis remembers all there ever were.
"""

import logging
from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.errors import StoreError
from shared.job_store.model_reports import ModelReports, Usage
from shared.job_store.overview import Overview, Overviews
from shared.job_store.workers import WorkerRegistry
from shared.jobs import Lane
from shared.model_repository import ModelRepository
from shared.suspicion import LossReason

logger = logging.getLogger(__name__)


class ServiceMetrics(Collector):
    """Safe to share by threads."""

    def __init__(
        self,
        *,
        overviews: Overviews,
        workers: WorkerRegistry,
        reports: ModelReports,
        repository: ModelRepository,
    ) -> None:
        self._overviews = overviews
        self._workers = workers
        self._reports = reports
        self._repository = repository

    def collect(self) -> Iterator[Metric]:
        """All families; while Redis is out of reach only that it is."""
        try:
            overview = self._overviews.now()
            counters = self._workers.counters()
            usage = self._reports.usage()
        except StoreError as error:
            logger.warning("store out of reach", extra={"reason": str(error)})
            yield gauge("rowmill_redis_up", "1 if Redis answers, else 0.", 0)
            return
        yield gauge("rowmill_redis_up", "1 if Redis answers, else 0.", 1)
        yield from _of_work(overview)
        yield from _of_workers(overview)
        yield from _of_memory(overview)
        yield from _of_events(counters)
        yield from self._of_models(usage)

    def _of_models(self, usage: Mapping[str, Usage]) -> Iterator[Metric]:
        jobs = CounterMetricFamily(
            "rowmill_jobs_created",
            "Jobs taken in, by model version.",
            labels=["model", "version"],
        )
        rows = CounterMetricFamily(
            "rowmill_rows",
            "Rows with a prediction, and rows with an error, by model version.",
            labels=["model", "version", "outcome"],
        )
        for name in self._repository.names():
            for version in self._repository.versions(name):
                if used := usage.get(f"{name}/{version}"):
                    jobs.add_metric([name, version], used.jobs)
                    rows.add_metric([name, version, "succeeded"], used.succeeded)
                    rows.add_metric([name, version, "failed"], used.failed)
        yield jobs
        yield rows


def gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _of_work(overview: Overview) -> Iterator[Metric]:
    chunks = GaugeMetricFamily(
        "rowmill_waiting_chunks", "Chunks that wait for a worker process.", labels=["lane"]
    )
    oldest = GaugeMetricFamily(
        "rowmill_oldest_waiting_seconds",
        "How long the chunk has waited that could be run first; 0 if none waits.",
        labels=["lane"],
    )
    for lane, waiting in overview.waiting.items():
        chunks.add_metric([lane], waiting.chunks)
        oldest.add_metric([lane], waiting.oldest_seconds)
    jobs = GaugeMetricFamily("rowmill_jobs", "Jobs that have not ended.", labels=["lane", "status"])
    for (lane, status), count in overview.jobs.items():
        jobs.add_metric([lane, status], count)
    backlog = overview.backlog
    yield chunks
    yield oldest
    yield jobs
    yield gauge(
        "rowmill_waiting_rows", "Rows of all jobs without an outcome.", backlog.waiting_rows
    )
    yield gauge(
        "rowmill_promised_bytes",
        "Bytes of inputs and results that jobs still bring.",
        backlog.promised_bytes,
    )


def _of_workers(overview: Overview) -> Iterator[Metric]:
    live = [worker for worker in overview.workers if worker.is_live]
    busy = GaugeMetricFamily(
        "rowmill_busy_processes", "Worker processes that run something.", labels=["lane"]
    )
    for lane in Lane:
        running = sum(len({p for p, of in worker.running if of == lane}) for worker in live)
        busy.add_metric([lane], running)
    processes = sum(worker.capacity.processes for worker in live)
    yield gauge("rowmill_workers", "Workers that were heard of lately.", len(live))
    yield gauge("rowmill_worker_processes", "Their processes that are ready to score.", processes)
    yield busy


def _of_memory(overview: Overview) -> Iterator[Metric]:
    yield gauge("rowmill_redis_used_bytes", "Memory that Redis uses.", overview.used_bytes)
    yield gauge(
        "rowmill_redis_max_bytes",
        "Memory that Redis may use; 0 if it has no bound.",
        overview.max_bytes or 0,
    )


def _of_events(counters: Mapping[str, int]) -> Iterator[Metric]:
    lost = CounterMetricFamily(
        "rowmill_lost_attempts",
        "Attempts that were lost with their process or its worker, or ran for too long.",
        labels=["reason"],
    )
    for reason in LossReason:
        lost.add_metric([reason], counters.get(f"attempts_{reason}", 0))
    yield lost
    yield CounterMetricFamily(
        "rowmill_refused_commits",
        "Results that came too late: their chunk had been given to others.",
        value=counters.get("commits_refused", 0),
    )
    yield CounterMetricFamily(
        "rowmill_models_failed",
        "Model versions that a worker tried and found useless.",
        value=counters.get("models_failed", 0),
    )
