"""One chunk from its lease to its commit. Knows no Celery."""

import logging
import math
import time
from dataclasses import dataclass
from typing import Protocol

from shared.errors import ModelError
from shared.job_store.store import ChunkResult, CommitOutcome, JobStore, Lease, LeaseRefusal
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobErrorCode
from worker.model_cache import ModelCache
from worker.predictor import Predictor
from worker.rendering import error_lines, result_lines
from worker.table import TableReader

logger = logging.getLogger(__name__)

MIN_MEASURED_ROWS = 20
"""A chunk with fewer predictions says nothing about how fast the model is."""

SEARCH_SHARE = 0.5
"""Share of a chunk's time limit after which no single row is searched for any more."""


class Announce(Protocol):
    """Queues chunks of a job; see `shared.dispatch.Dispatcher.announce`."""

    def __call__(self, job_id: str, chunks: list[int], *, model: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ChunkRunner:
    """Scores chunks in one process. A chunk may be run twice: only one run is committed."""

    store: JobStore
    workers: WorkerRegistry
    models: ModelCache
    announce: Announce
    owner: str
    max_attempts: int
    time_limit_seconds: float

    def run(self, job_id: str, chunk: int) -> None:
        """Score a chunk if there still is something to do, and queue those that follow it.

        Raises StoreError; then the chunk can be run again. A model that can't be loaded fails
        the job.
        """
        lease = self.store.lease(job_id, chunk, owner=self.owner, max_attempts=self.max_attempts)
        if isinstance(lease, LeaseRefusal):
            logger.info(
                "chunk skipped", extra={"job_id": job_id, "chunk": chunk, "reason": lease.value}
            )
            return
        try:
            predictor = self._predictor(lease)
        except ModelError as error:
            logger.error("job failed", extra={"job_id": job_id, "reason": str(error)})
            self.store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, str(error))
            return
        self._score_and_commit(lease, predictor)

    def _predictor(self, lease: Lease) -> Predictor:
        spec = lease.spec
        return self.models.get(spec.model_name, spec.model_version, sha256=spec.model_sha256)

    def _score_and_commit(self, lease: Lease, predictor: Predictor) -> None:
        began = time.perf_counter()
        result = score(lease, predictor, search_seconds=self.time_limit_seconds * SEARCH_SHARE)
        seconds = time.perf_counter() - began
        outcome, released = self.store.commit(lease, result, window=self.workers.window())
        if outcome is CommitOutcome.COMMITTED:
            model = lease.spec.model_version_id
            self.announce(lease.job_id, released, model=model)
            if result.succeeded >= MIN_MEASURED_ROWS:
                self.workers.record_speed(model, result.succeeded / seconds)
        logger.info(
            "chunk scored",
            extra={
                "job_id": lease.job_id,
                "chunk": lease.plan.number,
                "attempt": lease.token,
                "rows": lease.plan.rows,
                "failed": result.failed,
                "seconds": round(seconds, 4),
                "outcome": outcome.value,
            },
        )


def score(lease: Lease, predictor: Predictor, *, search_seconds: float = math.inf) -> ChunkResult:
    """Parse, predict and render a chunk; changes nothing outside.

    The same chunk and model give the same result, unless the search for rows that the model
    refuses takes longer than `search_seconds`.
    """
    spec, plan = lease.spec, lease.plan
    signature = predictor.manifest.signature
    reader = TableReader(lease.input, plan, spec=spec, signature=signature)
    table = reader.read()
    prediction = predictor.predict(table.features, spec.output, search_seconds=search_seconds)
    positions = table.positions[prediction.positions]
    errors = [
        *table.errors,
        *(
            reader.row_error(
                int(table.positions[refusal.position]), "", "prediction_failed", refusal.message
            )
            for refusal in prediction.refusals
        ),
    ]
    errors.sort(key=lambda error: error.row)
    lines = result_lines(
        plan,
        carried=table.carried,
        outputs=signature.outputs[spec.output],
        predictions=prediction.columns,
        positions=positions,
        errors=errors,
    )
    return ChunkResult(
        results=lines,
        errors=error_lines(errors),
        succeeded=len(positions),
        failed=plan.rows - len(positions),
    )
