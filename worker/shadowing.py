"""A shadow's turn: it scores what another version has answered, and is compared with it.

Only when its process has nothing else to do, and a little at a time, so that no job waits for it
for longer than that. What is not compared is no loss: rows that pile up are passed over and
counted.
"""

import io
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from shared.chunks import ChunkResult
from shared.errors import ModelError, StoreError
from shared.job_store.leases import Lease
from shared.job_store.model_reports import Comparison, ModelReports
from shared.jobs import JobSpec
from shared.signature import Dtype, OutputColumn
from shared.suspicion import Rows
from worker.model_cache import ModelCache
from worker.predictor import Predictor
from worker.records import ChunkRecords
from worker.scoring import slice_of
from worker.watchdog import time_limit

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024**2
"""Of the rows and results that wait in a process. Beyond it rows are passed over."""

STEP_SECONDS = 0.05
"""Aimed at in one step: a small job waits for no longer, and only where all others are busy."""

FIRST_ROWS = 100
"""Scored in the first step of all, when nobody knows yet how fast the shadow is."""

SAME = 1e-9
"""Numbers that differ relatively by less are the same prediction."""


@dataclass(kw_only=True)
class _Answered:
    """A chunk that was committed, and how far its shadow has come."""

    lease: Lease
    results: bytes
    done_rows: int = 0

    @cached_property
    def records(self) -> ChunkRecords:
        return ChunkRecords(self.lease.input, self.lease.spec, rows=self.lease.plan.rows)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """What was given; the carried columns are left out."""
        spec = self.lease.spec
        carried = len(spec.carried)
        return _predictions(self.results, spec.result_columns[1 + carried : -1], carried=carried)

    @property
    def size_bytes(self) -> int:
        return len(self.lease.input) + len(self.results)

    @property
    def rows_left(self) -> int:
        return self.lease.plan.rows - self.done_rows


class Shadows:
    """What shadows have still to score in one process."""

    def __init__(
        self, models: ModelCache, reports: ModelReports, *, time_limit_seconds: float
    ) -> None:
        self._models = models
        self._reports = reports
        self._time_limit_seconds = time_limit_seconds
        self._waiting: deque[_Answered] = deque()
        self._waiting_bytes = 0
        self._rows_per_second = FIRST_ROWS / STEP_SECONDS

    @property
    def is_pending(self) -> bool:
        return bool(self._waiting)

    def add(self, lease: Lease, result: ChunkResult) -> None:
        """Let the shadow of a committed chunk's job, if it has one, score it some time."""
        if lease.spec.shadow_version is None:
            return
        answered = _Answered(lease=lease, results=result.results)
        if self._waiting_bytes + answered.size_bytes > MAX_BYTES:
            self._tell(_comparison(lease.spec, skipped=lease.plan.rows))
            return
        self._waiting.append(answered)
        self._waiting_bytes += answered.size_bytes

    def step(self) -> None:
        """Score some rows of the chunk that waits for longest."""
        answered = self._waiting[0]
        rows = min(max(1, int(self._rows_per_second * STEP_SECONDS)), answered.rows_left)
        part = Rows(first=answered.done_rows, behind=answered.done_rows + rows)
        try:
            began = time.perf_counter()
            with time_limit(self._time_limit_seconds):
                found = _compared(answered, part, self._shadow(answered.lease.spec))
            self._rows_per_second = rows / (time.perf_counter() - began)
            answered.done_rows += rows
        except ModelError as error:
            spec, rows_left = answered.lease.spec, answered.rows_left
            fields = {"model": _shadow_id(spec), "reason": str(error)}
            logger.warning("shadow left out", extra=fields)
            found = _comparison(spec, skipped=rows_left)
            answered.done_rows += rows_left
        if not answered.rows_left:
            self._waiting.popleft()
            self._waiting_bytes -= answered.size_bytes
        self._tell(found)

    def _shadow(self, spec: JobSpec) -> Predictor:
        version, sha256 = spec.shadow_version or "", spec.shadow_sha256 or ""
        return self._models.get(spec.model_name, version, sha256=sha256)

    def _tell(self, found: Comparison) -> None:
        with suppress(StoreError):  # rows that are not counted are as good as not compared
            self._reports.count_comparison(found)


def _compared(answered: _Answered, part: Rows, shadow: Predictor) -> Comparison:
    """How the shadow's predictions for some rows differ from those that were given."""
    lease, version = answered.lease, shadow.manifest.version
    spec = replace(lease.spec, model_version=version, carried=())
    result = slice_of(replace(lease, spec=spec), answered.records, part, shadow).score()
    outputs = shadow.manifest.signature.outputs[spec.output]
    given = answered.predictions.iloc[part.first : part.behind].reset_index(drop=True)
    return _difference(given, _predictions(result.results, outputs, carried=0), lease.spec)


def _predictions(lines: bytes, outputs: Sequence[OutputColumn], *, carried: int) -> pd.DataFrame:
    """The predictions in result lines; rows with an error have none."""
    where = range(1 + carried, 1 + carried + len(outputs))
    types = {
        position: "float64" if output.dtype is Dtype.FLOAT else "str"
        for position, output in zip(where, outputs, strict=True)
    }
    table: pd.DataFrame = pd.read_csv(
        io.BytesIO(lines),
        header=None,
        usecols=list(where),
        dtype=types,
        keep_default_na=False,
        na_values=[""],
    )
    return table.set_axis([output.name for output in outputs], axis="columns")


def _difference(given: pd.DataFrame, shadowed: pd.DataFrame, spec: JobSpec) -> Comparison:
    is_both = (given.notna() & shadowed.notna()).all(axis="columns")
    given, shadowed = given[is_both], shadowed[is_both]
    numbers = [name for name in given if given[name].dtype == np.float64]
    is_same = np.ones(len(given), dtype=np.bool_)
    for name in given:
        if name in numbers:
            is_same &= np.isclose(given[name], shadowed[name], rtol=SAME, atol=0)
        else:
            is_same &= (given[name] == shadowed[name]).to_numpy()
    difference = (given[numbers] - shadowed[numbers]).abs().to_numpy()
    return _comparison(
        spec,
        rows=len(given),
        agreed=int(is_same.sum()),
        difference=float(difference.mean()) if difference.size else None,
    )


def _comparison(
    spec: JobSpec,
    *,
    rows: int = 0,
    agreed: int = 0,
    difference: float | None = None,
    skipped: int = 0,
) -> Comparison:
    return Comparison(
        version_id=spec.model_version_id,
        shadow_version_id=_shadow_id(spec),
        output=spec.output,
        rows=rows,
        agreed=agreed,
        difference=difference,
        skipped=skipped,
    )


def _shadow_id(spec: JobSpec) -> str:
    return f"{spec.model_name}/{spec.shadow_version}"
