"""How a service at a moment looks on the wire."""

from typing import Any

from api.representations import rounded
from shared.job_store.overview import Overview, WorkerState
from shared.job_store.stages import UNFINISHED_STATUSES
from shared.jobs import JobStatus, Lane


def status_document(overview: Overview, *, max_waiting_rows: int) -> dict[str, Any]:
    """The document of `GET /status`."""
    backlog = overview.backlog
    lanes = {
        lane.value: {
            "jobs": overview.jobs[lane, JobStatus.QUEUED],
            "running_chunks": overview.running_chunks(lane),
        }
        for lane in Lane
    }
    return {
        "queue": {
            **lanes,
            "waiting_rows": backlog.waiting_rows,
            "max_waiting_rows": max_waiting_rows,
            "rows_per_second": rounded(backlog.rows_per_second),
            "oldest_waiting_seconds": rounded(backlog.oldest_waiting_seconds),
        },
        "workers": [_worker(worker) for worker in overview.workers],
        "jobs": {
            status.value: sum(overview.jobs[lane, status] for lane in Lane)
            for status in UNFINISHED_STATUSES
        },
        "redis": {
            "used_bytes": overview.used_bytes,
            "max_bytes": overview.max_bytes,
            "promised_bytes": backlog.promised_bytes,
        },
    }


def _worker(worker: WorkerState) -> dict[str, Any]:
    capacity = worker.capacity
    return {
        "name": worker.name,
        "host": worker.host,
        "processes": capacity.processes,
        "bulk_processes": capacity.bulk_processes,
        "busy": worker.busy,
        "threads_per_process": capacity.threads_per_process,
        "cores": capacity.cores,
        "last_heard_seconds": rounded(worker.last_heard_seconds),
        "is_live": worker.is_live,
    }
