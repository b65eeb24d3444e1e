"""How jobs, models and results look on the wire."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.drift import FeatureDrift
from shared.jobs import Job
from shared.manifest import Manifest
from shared.signature import Dtype, OutputColumn

PIECE_BYTES = 256 * 1024
"""Sent at a time. The bound on a client's silence is one on the time that a piece takes, so it is a
bound on how slowly a client may read: about 4 kB/s."""

ERROR_COLUMNS = ("row", "line", "column", "code", "message")
"""Columns of `GET /jobs/{id}/errors`."""

_ERROR_DTYPES = tuple(
    OutputColumn(name=name, dtype=Dtype.INT if name in ("row", "line") else Dtype.STRING)
    for name in ERROR_COLUMNS
)

_FROM_TEXT: dict[Dtype, Callable[[str], Any]] = {
    Dtype.FLOAT: float,
    Dtype.INT: int,
    Dtype.BOOL: lambda text: text == "true",
    Dtype.STRING: str,
}


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
        "created_at": _time(job.created_at_ms),
        "started_at": _time(job.started_at_ms),
        "finished_at": _time(job.finished_at_ms),
        "expires_at": _time(job.expires_at_ms),
        "error": {"code": job.error_code, "detail": job.error_detail} if job.error_code else None,
        "warnings": _warnings(job, drift_warnings),
        "retry_of": job.spec.retry_of,
        "validate_only": job.spec.validate_only,
        "urls": {
            "self": path,
            "results": f"{path}/results",
            "errors": f"{path}/errors",
            "features": f"{path}/features",
            "events": f"{path}/events",
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
        "rows_per_second": _rounded(job.rows_per_second),
        "eta_seconds": _rounded(job.eta_seconds),
        "chunks_done": job.chunks_done,
        "chunks_total": job.chunks_total,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _time(milliseconds: int | None) -> str | None:
    """RFC 3339 in UTC."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def template_csv(manifest: Manifest) -> str:
    """A header with one example row, to be filled in."""
    features = manifest.signature.features
    examples = ["" if f.example is None else f.example for f in features]
    return _csv_line([f.name for f in features]) + _csv_line(examples)


def _csv_line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def results_csv(job: Job, texts: Iterator[bytes]) -> Iterator[bytes]:
    """The result lines as the workers rendered them, under their header."""
    yield _csv_line([column.name for column in job.spec.result_columns]).encode()
    yield from texts


def in_pieces(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at most `PIECE_BYTES`; an empty text stays one."""
    for text in texts:
        for start in range(0, len(text) or 1, PIECE_BYTES):
            yield text[start : start + PIECE_BYTES]


def results_ndjson(job: Job, texts: Iterator[bytes]) -> Iterator[bytes]:
    """One JSON object a result line, values in their types, empty ones and NaN as null."""
    return _ndjson(job.spec.result_columns, texts)


def errors_csv(texts: Iterator[bytes]) -> Iterator[bytes]:
    yield _csv_line(ERROR_COLUMNS).encode()
    yield from texts


def errors_ndjson(texts: Iterator[bytes]) -> Iterator[bytes]:
    return _ndjson(_ERROR_DTYPES, texts)


def _ndjson(columns: Sequence[OutputColumn], texts: Iterator[bytes]) -> Iterator[bytes]:
    names = [column.name for column in columns]
    parsers = [_FROM_TEXT[column.dtype] for column in columns]
    for text in texts:
        lines = []
        for fields in csv.reader(io.StringIO(text.decode(), newline="")):
            values = (
                parse(field) if field else None
                for parse, field in zip(parsers, fields, strict=True)
            )
            record = dict(zip(names, map(_finite, values), strict=True))
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        yield "".join(lines).encode()


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
