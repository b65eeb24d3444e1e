"""One chunk from its lease to its commit. Knows no Celery."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from shared import tracing
from shared.chunks import ASSUMED_SPEED, ChunkResult, joined
from shared.errors import ModelError, StoreError
from shared.job_store.leases import Lease, Leases, Outcome
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobErrorCode, Lane
from shared.suspicion import Rows, Suspicion
from worker.chunk_bytes import AttemptOverError, ChunkBytes
from worker.feature_counter import counts_bins
from worker.joining import score_together
from worker.metrics import Broken, WorkerMetrics
from worker.model_cache import ModelCache
from worker.outage import persistently
from worker.predictor import Predictor
from worker.records import ChunkRecords
from worker.scoring import Slice, slice_of
from worker.shadowing import Shadows
from worker.watchdog import time_limit

logger = logging.getLogger(__name__)

MIN_MEASURED_ROWS = 20
"""A chunk with fewer predictions says nothing about how fast the model is."""

MIN_MEASURED_SECONDS = 0.05
"""What took less, and small jobs, tell only how fast the model is at least: most of their time is
what any chunk costs."""

MIN_PART_SECONDS = 2.0
MIN_PART_SHARE = 0.1
"""A part of a chunk that lost a process has twice its share of the chunk's time limit, but at least
this share of it and so many seconds. A single row has all of it: nothing is left to split."""

CHECK_SECONDS = 0.5
"""How often a long search for rows that a model refuses asks whether its job was ended."""


@dataclass(frozen=True, kw_only=True)
class ChunkRunner:
    """Scores chunks in one process. A chunk may be run twice: only one run is committed."""

    store: JobStore
    leases: Leases
    workers: WorkerRegistry
    models: ModelCache
    shadows: Shadows
    max_losses: int
    time_limit_seconds: float
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    has_run: set[str] = field(default_factory=set)
    """Model versions that this process has scored rows with."""

    @property
    def _chunk_bytes(self) -> ChunkBytes:
        return ChunkBytes(
            store=self.store, leases=self.leases, time_limit_seconds=self.time_limit_seconds
        )

    def run(self, lease: Lease) -> None:
        """Score a chunk and commit it, waiting for the store where it is away.

        A model that can't be loaded fails the job.
        """
        with self._measured([lease]) as outcomes:
            try:
                lease = self._chunk_bytes.fetched(lease)
                run = self._run_in_parts if lease.losses else self._run_at_once
                outcomes.append(run(lease))
            except AttemptOverError as error:
                outcomes.append(error.outcome)
                self._log(lease, error.outcome)
            except ModelError as error:
                outcomes.append(Broken.MODEL_FAILED)
                self._fail(lease, error)

    def run_together(self, leases: Sequence[Lease]) -> None:
        """Score chunks of several small jobs with the same spec, and commit all in one step."""
        with self._measured(leases) as outcomes:
            outcomes.extend(self._run_together(leases))

    @contextmanager
    def _measured(self, leases: Sequence[Lease]) -> Iterator[list[Outcome | Broken]]:
        """Measure an attempt on each of these; gives the list that takes what becomes of them."""
        self.metrics.begin_attempts(leases)
        began = time.perf_counter()
        outcomes: list[Outcome | Broken] = []
        try:
            yield outcomes
        except Exception:
            outcomes[:] = [Broken.CRASHED] * len(leases)
            raise
        finally:
            self.metrics.end_attempts(leases, outcomes, time.perf_counter() - began)

    def _run_together(self, leases: Sequence[Lease]) -> Sequence[Outcome | Broken]:
        try:
            with time_limit(self.time_limit_seconds):
                predictor = self._predictor(leases[0])
                began = time.perf_counter()
                results = score_together(leases, predictor)
            seconds = time.perf_counter() - began
        except ModelError as error:
            for lease in leases:
                self._fail(lease, error)
            return [Broken.MODEL_FAILED] * len(leases)
        done = list(zip(leases, results, strict=True))
        outcomes = persistently(self.leases.commit_all)(done)
        for (lease, result), outcome in zip(done, outcomes, strict=True):
            if outcome is Outcome.COMMITTED:
                self.shadows.add(lease, result)
        rows = sum(result.succeeded for result in results)
        self._record_speed(leases[0], rows, seconds)
        logger.info(
            "chunks run together",
            extra={
                "rows": sum(lease.plan.rows for lease in leases),
                "committed": outcomes.count(Outcome.COMMITTED),
                "failed": sum(result.failed for result in results),
            },
        )
        return outcomes

    def _fail(self, lease: Lease, error: ModelError) -> None:
        logger.error("job failed", extra={"job_id": lease.job_id, "reason": str(error)})
        persistently(self.store.fail)(lease.job_id, JobErrorCode.MODEL_LOAD_FAILED, str(error))
        persistently(self.leases.give_back)(lease)

    def _predictor(self, lease: Lease) -> Predictor:
        spec = lease.spec
        return self.models.get(spec.model_name, spec.model_version, sha256=spec.model_sha256)

    def _run_at_once(self, lease: Lease) -> Outcome:
        everything = Rows(first=0, behind=lease.plan.rows)
        check = self._check(lease, everything, self.time_limit_seconds)
        with time_limit(self.time_limit_seconds):
            predictor = self._predictor(lease)
            began = time.perf_counter()
            rows = Slice(
                lease.input,
                lease.plan,
                spec=lease.spec,
                predictor=predictor,
                with_bins=counts_bins(lease.lane, lease.plan.rows),
            )
            result = rows.score(check=check)
        seconds = time.perf_counter() - began
        outcome = self._commit(lease, result, **rows.timings)
        if outcome is Outcome.COMMITTED:
            self._record_speed(lease, result.succeeded, seconds)
        return outcome

    def _record_speed(self, lease: Lease, rows: int, seconds: float) -> None:
        model = lease.spec.speed_id
        is_first = model not in self.has_run
        self.has_run.add(model)
        if rows < MIN_MEASURED_ROWS:
            return
        speed = rows / seconds
        is_short, is_small = seconds < MIN_MEASURED_SECONDS, lease.lane is Lane.SMALL
        # The first run of a model in a process is slow for other reasons than the model. And chunks
        # must not become smaller than they are for a model of which nothing is known.
        if is_small and (is_first or (is_short and speed < ASSUMED_SPEED)):
            return
        with suppress(StoreError):  # it only helps to cut better chunks
            self.workers.record_speed(model, speed, is_least=is_small or is_short)

    def _run_in_parts(self, lease: Lease) -> Outcome:
        """Go on behind what earlier attempts have done, part by part, each noted before it begins:
        should this process die as well, the store knows over which rows."""
        with time_limit(self.time_limit_seconds):
            predictor = self._predictor(lease)
        records = ChunkRecords(lease.input, lease.spec, rows=lease.plan.rows)
        suspicion = Suspicion(lease.plan.rows, lease.losses)
        is_given_up = len(lease.losses) >= self.max_losses
        results: list[ChunkResult] = []
        done: tuple[Rows | None, ChunkResult | None] = (None, None)
        scored, scoring_seconds = 0, 0.0
        for part in suspicion.parts():
            if part in lease.parts_done:
                results.append(lease.parts_done[part])
                continue
            rows = slice_of(lease, records, part, predictor)
            if suspicion.is_guilty(part):
                results.append(rows.refuse("row_crashed_worker", CRASHED))
            elif is_given_up:
                results.append(rows.refuse("attempts_exhausted", given_up(len(lease.losses))))
            else:
                seconds = self._part_seconds(len(part), lease.plan.rows)
                begin = persistently(self.leases.begin_part)
                if why := begin(lease, part, seconds=seconds, done=done[0], result=done[1]):
                    raise AttemptOverError(why)
                began = time.perf_counter()
                with time_limit(seconds):
                    result = rows.score(check=self._check(lease, part, seconds))
                scored += result.succeeded
                scoring_seconds += time.perf_counter() - began
                results.append(result)
                done = (part, result)
        outcome = self._commit(lease, joined(results))
        if outcome is Outcome.COMMITTED:
            self._record_speed(lease, scored, scoring_seconds)
        return outcome

    def _check(self, lease: Lease, part: Rows, seconds: float) -> Callable[[], None]:
        """Raises AttemptOverError, when called, once nobody wants the result any more."""
        asked_at = time.monotonic()

        def check() -> None:
            nonlocal asked_at
            if time.monotonic() - asked_at < CHECK_SECONDS:
                return
            asked_at = time.monotonic()
            # Waiting for a store that is away would use up the time of the rows.
            with suppress(StoreError):
                if why := self.leases.begin_part(lease, part, seconds=seconds):
                    raise AttemptOverError(why)

        return check

    def _part_seconds(self, part_rows: int, chunk_rows: int) -> float:
        limit = self.time_limit_seconds
        if part_rows == 1:
            return limit
        share = max(2 * part_rows / chunk_rows, MIN_PART_SHARE)
        return min(limit, max(limit * share, MIN_PART_SECONDS))

    def _commit(self, lease: Lease, result: ChunkResult, **timings: float) -> Outcome:
        began = time.perf_counter()
        outcome = self._chunk_bytes.commit(lease, result)
        timings["commit_seconds"] = round(time.perf_counter() - began, 4)
        self._log(lease, outcome, failed=result.failed, **timings)
        if outcome is Outcome.COMMITTED:
            self.shadows.add(lease, result)
        return outcome

    @staticmethod
    def _log(lease: Lease, outcome: Outcome, **fields: float) -> None:
        tracing.note({"rowmill.outcome": outcome.value})
        logger.info(
            "chunk run",
            extra={
                "rows": lease.plan.rows,
                "outcome": outcome.value,
                **fields,
            },
        )


CRASHED = (
    "The process that scored this row died, or passed its time limit, each time it was tried; "
    "look into the worker's log."
)


def given_up(attempts: int) -> str:
    """What is said of rows that nobody knows to be guilty or innocent."""
    return f"{attempts} attempts on its chunk were lost before this row could be scored."
