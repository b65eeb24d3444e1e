"""The rows of a chunk, or of a part of it, scored or refused. Changes nothing outside."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from shared.chunks import ChunkPlan, ChunkResult, RowError
from shared.feature_counts import NOTHING_SEEN, FeatureCounts
from shared.job_store.leases import Lease
from shared.jobs import JobSpec
from shared.suspicion import Rows
from worker.feature_counter import counts_bins
from worker.predictor import Predictor
from worker.records import ChunkRecords
from worker.rendering import error_lines, result_lines
from worker.table import Table, TableReader


class Slice:
    """Some rows of a job as they were sent, to be scored by a predictor."""

    def __init__(
        self,
        data: bytes,
        plan: ChunkPlan,
        *,
        spec: JobSpec,
        predictor: Predictor,
        with_bins: bool = False,
    ) -> None:
        """`with_bins`: whether values are put into the bins that they are compared by."""
        self.timings: dict[str, float] = {}
        """Seconds by step, of what has been done so far."""
        self._spec = spec
        self._plan = plan
        self._predictor = predictor
        self._signature = predictor.manifest.signature
        self._outputs = () if spec.validate_only else self._signature.outputs[spec.output]
        self._with_bins = with_bins
        self._reader = TableReader(data, plan, spec=spec, signature=self._signature)

    def score(self, *, check: Callable[[], object] = bool) -> ChunkResult:
        """Parse, predict and render; of a validation all but predict. The same rows and model give
        the same result.

        `check` is called between the steps of the search for rows that the model refuses.
        """
        with self._timed("parse"):
            table = self._reader.read()
        with self._timed("count"):
            counts = self._counts(table)
        if self._spec.validate_only:
            return self._result(table, table.positions, [], [], counts)
        with self._timed("predict"):
            prediction = self._predictor.predict(table.features, self._spec.output, check=check)
        refused = [
            self._reader.row_error(
                int(table.positions[refusal.position]), "", "prediction_failed", refusal.message
            )
            for refusal in prediction.refusals
        ]
        positions = table.positions[prediction.positions]
        with self._timed("render"):
            return self._result(table, positions, prediction.columns, refused, counts)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.timings[f"{step}_seconds"] = round(time.perf_counter() - began, 4)

    def refuse(self, code: str, message: str) -> ChunkResult:
        """Row errors for all rows: `code` for those that have no fault of their own."""
        table = self._reader.read()
        refused = [
            self._reader.row_error(position, "", code, message)
            for position in table.positions.tolist()
        ]
        nowhere = np.array([], dtype=np.int64)
        return self._result(table, nowhere, [], refused, self._counts(table))

    def _counts(self, table: Table) -> FeatureCounts:
        if self._spec.validate_only:
            return NOTHING_SEEN
        self._read = table.read
        return self._predictor.feature_counter.count(table.read, with_bins=self._with_bins)

    def counts_of_each(self, rows: Sequence[int]) -> list[FeatureCounts]:
        """What the rows that were scored show, for each of several jobs with so many of them."""
        if self._spec.validate_only:
            return [NOTHING_SEEN] * len(rows)
        return self._predictor.feature_counter.count_each(self._read, rows)

    def _result(
        self,
        table: Table,
        positions: npt.NDArray[np.int64],
        columns: Sequence[npt.NDArray[np.generic]],
        refused: list[RowError],
        counts: FeatureCounts,
    ) -> ChunkResult:
        errors = sorted([*table.errors, *refused], key=lambda error: error.row)
        lines = result_lines(
            self._plan,
            carried=table.carried,
            outputs=self._outputs,
            predictions=list(columns),
            positions=positions,
            errors=errors,
        )
        if len(positions) == self._plan.rows:
            return ChunkResult(
                results=lines,
                errors=b"",
                succeeded=len(positions),
                failed=0,
                feature_counts=counts,
            )
        is_failed = np.ones(self._plan.rows, dtype=np.bool_)
        is_failed[positions] = False
        failed = np.flatnonzero(is_failed)
        return ChunkResult(
            results=lines,
            errors=error_lines(errors),
            succeeded=len(positions),
            failed=len(failed),
            rejected=self._reader.rejected(failed.tolist()),
            feature_counts=counts,
        )


def slice_of(lease: Lease, records: ChunkRecords, part: Rows, predictor: Predictor) -> Slice:
    """The rows of a part of a chunk."""
    data, lines_before = records.cut(part.first, part.behind)
    plan = lease.plan.part(part.first, part.behind, lines_before=lines_before)
    with_bins = counts_bins(lease.lane, lease.plan.rows)
    return Slice(data, plan, spec=lease.spec, predictor=predictor, with_bins=with_bins)
