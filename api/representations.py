"""How jobs and models look on the wire."""

from collections.abc import Iterator, Sequence
from typing import Any

from api.result_formats import csv_line
from shared.drift import FeatureDrift
from shared.job_store.deliveries import DeliveryLog
from shared.jobs import Job
from shared.manifest import Manifest
from shared.times import rfc3339

PIECE_BYTES = 256 * 1024
"""Sent at a time. The bound on a client's silence is one on the time that a piece takes, so it is a
bound on how slowly a client may read: about 4 kB/s."""


def job_document(job: Job, drift_warnings: Sequence[str] = ()) -> dict[str, Any]:
    """The job object of the HTTP contract."""
    path = f"/jobs/{job.id}"
    return {
        "id": job.id,
        "status": job.status,
        "model": {
            "name": job.spec.model_name,
            "version": job.spec.model_version,
            "sha256": job.spec.model_sha256,
        },
        "input": {
            "format": job.spec.input_format,
            "bytes": job.input_bytes,
            "sha256": job.input_sha256,
        },
        "counts": {
            "total": job.total,
            "succeeded": job.succeeded,
            "failed": job.failed,
            "pending": job.pending,
        },
        "progress": _progress(job),
        "created_at": rfc3339(job.created_at_ms),
        "started_at": rfc3339(job.started_at_ms),
        "finished_at": rfc3339(job.finished_at_ms),
        "expires_at": rfc3339(job.expires_at_ms),
        "error": {"code": job.error_code, "detail": job.error_detail} if job.error_code else None,
        "warnings": _warnings(job, drift_warnings),
        "retry_of": job.spec.retry_of,
        "validate_only": job.spec.validate_only,
        "callback_url": job.callback_url,
        "urls": {
            "self": path,
            "results": f"{path}/results",
            "errors": f"{path}/errors",
            "features": f"{path}/features",
            "events": f"{path}/events",
            "deliveries": f"{path}/deliveries",
            "cancel": f"{path}/cancel",
            "retry": f"{path}/retry",
        },
    }


def _warnings(job: Job, drift_warnings: Sequence[str]) -> list[str]:
    return [*job.spec.model_warnings, *_lost_attempts(job), *drift_warnings]


def _lost_attempts(job: Job) -> list[str]:
    if not job.attempts_lost:
        return []
    times = "once" if job.attempts_lost == 1 else f"{job.attempts_lost} times"
    return [f"A process was lost while it scored rows of this job ({times}); others took over."]


def features_document(job: Job, features: Sequence[FeatureDrift]) -> dict[str, Any]:
    """What the rows of a job show of its model's features."""
    return {"rows": job.feature_counts.seen, "features": [_feature(f) for f in features]}


def deliveries_document(job: Job, log: DeliveryLog) -> dict[str, Any]:
    """What became of the job's callback."""
    return {
        "state": log.state,
        "url": job.callback_url,
        "attempts": [
            {
                "at": rfc3339(attempt.at_ms),
                "status": attempt.status,
                "error": attempt.error,
                "duration_seconds": round(attempt.duration_seconds, 3),
            }
            for attempt in log.attempts
        ],
        "next_attempt_at": rfc3339(log.next_at_ms),
    }


def _feature(feature: FeatureDrift) -> dict[str, Any]:
    shares = {
        "missing": feature.missing,
        "missing_in_training": feature.missing_in_training,
        "outside": feature.outside,
        "unseen": feature.unseen,
        "psi": feature.psi,
    }
    rounded = {name: None if share is None else round(share, 6) for name, share in shares.items()}
    return {"name": feature.name, **rounded}


def _progress(job: Job) -> dict[str, Any]:
    done = job.succeeded + job.failed
    return {
        "ratio": round(done / job.total, 4) if job.total else 0.0,
        "rows_per_second": rounded(job.rows_per_second),
        "eta_seconds": rounded(job.eta_seconds),
        "chunks_done": job.chunks_done,
        "chunks_total": job.chunks_total,
    }


def rounded(value: float | None) -> float | None:
    """A measured number, as precise as it is shown."""
    return None if value is None else round(value, 1)


def template_csv(manifest: Manifest) -> str:
    """A header with one example row, to be filled in."""
    features = manifest.signature.features
    examples = ["" if f.example is None else f.example for f in features]
    return csv_line([f.name for f in features]) + csv_line(examples)


def in_pieces(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at most `PIECE_BYTES`; an empty text stays one."""
    for text in texts:
        for start in range(0, len(text) or 1, PIECE_BYTES):
            yield text[start : start + PIECE_BYTES]
