"""Domain objects for tests; whatever a test does not care about has a default."""

from datetime import UTC, datetime
from typing import Any

from redis import Redis

from shared.chunks import ChunkPlan, ChunkResult
from shared.feature_counts import FeatureCounts
from shared.job_store.intake import JobIntake, WholeBody
from shared.job_store.workers import Capacity
from shared.jobs import JobSpec
from shared.manifest import Artifact, Manifest
from shared.signature import Dtype, Feature, OutputColumn, OutputKind, Signature

PREDICTION = (OutputColumn(name="prediction", dtype=Dtype.FLOAT),)


MAX_JOB_LOSSES = 20


def make_intake(redis: Redis, *, max_waiting_rows: int = 10**9) -> JobIntake:
    return JobIntake(
        redis,
        tombstone_seconds=100,
        max_retention_seconds=1000,
        max_waiting_rows=max_waiting_rows,
    )


def make_spec(**changes: Any) -> JobSpec:
    """What a job of one numeric column asks for."""
    defaults: dict[str, Any] = {
        "model_name": "echo",
        "model_version": "1",
        "model_sha256": "0" * 64,
        "output": OutputKind.PREDICT,
        "header": ("x",),
        "delimiter": ",",
        "carried": (),
        "result_columns": PREDICTION,
        "retention_seconds": 60,
    }
    return JobSpec(**defaults | changes)


def make_plan(number: int = 0, *, rows: int = 10, **changes: Any) -> ChunkPlan:
    """A chunk of a file in which every row is one line and all chunks are alike."""
    first_row = number * rows + 1
    defaults = {"first_row": first_row, "first_line": first_row + 1}
    return ChunkPlan(number=number, rows=rows, **defaults | changes)


def make_body(plan: ChunkPlan | None = None) -> WholeBody:
    """A body that is one chunk."""
    plan = plan or make_plan()
    return WholeBody(plan=plan, data=b"1\n" * plan.rows, input_bytes=22, sha256="a" * 64)


def make_capacity(processes: int = 1, bulk_processes: int = 1) -> Capacity:
    """What a worker scores with that has a thread in each process."""
    return Capacity(
        processes=processes, bulk_processes=bulk_processes, threads_per_process=1, cores=2
    )


def make_result(
    *, succeeded: int = 10, failed: int = 0, results: bytes = b"ok\n", **changes: Any
) -> ChunkResult:
    """What scoring a chunk gave; its row errors are one line a row, about a missing value."""
    rows = succeeded + failed
    sums = {"0:missing": failed} if failed else {}
    counts = FeatureCounts(seen=rows, rows=rows, sums=sums)
    defaults: dict[str, Any] = {"errors": b"bad\n" * failed, "feature_counts": counts}
    return ChunkResult(results=results, succeeded=succeeded, failed=failed, **defaults | changes)


def make_feature(name: str = "x", dtype: str = "float64", **changes: Any) -> Feature:
    return Feature(name=name, dtype=Dtype(dtype), **changes)


def make_signature(
    *features: Feature, outputs: dict[OutputKind, tuple[OutputColumn, ...]] | None = None
) -> Signature:
    """A signature of these features, or of one numeric one, that offers `predict`."""
    return Signature(
        features=features or (make_feature(),),
        outputs=outputs or {OutputKind.PREDICT: PREDICTION},
    )


def make_manifest(**changes: Any) -> Manifest:
    """The manifest of a model version that lies nowhere."""
    defaults: dict[str, Any] = {
        "name": "echo",
        "version": "1",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "artifact": Artifact(file="model.skops", format="skops", sha256="0" * 64, bytes=1),
        "signature": make_signature(),
    }
    return Manifest(**defaults | changes)
