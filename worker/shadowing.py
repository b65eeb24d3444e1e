"""A shadow's turn: it scores what another version has answered, and is compared with it.

Only when its process has nothing else to do, and a little at a time, so that no job waits for it
for longer than that. What is not compared is no loss: rows that pile up are passed over and
counted.
"""

import io
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from shared.chunks import ChunkResult
from shared.errors import ModelError, ShadowGivenUpError, StoreError
from shared.job_store.leases import Lease
from shared.job_store.model_reports import SHADOW_STRIKES, Comparison, ModelReports
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

ENTRY_BYTES = 2048
"""What a chunk that waits takes besides those: much more than a small job's few rows."""

STEP_SECONDS = 0.05
"""Aimed at in one step: a small job waits for no longer, and only where all others are busy."""

FIRST_ROWS = 10
"""Scored in the first step of a version, when nobody knows yet how fast it is."""

SEARCH_SECONDS = 0.5
"""How long a step looks for rows that the shadow refuses, which may be all of them."""

MOST_SECONDS = 10.0
"""A step that takes longer ends its process: so long a busy machine may take, and no job waits."""

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
        return _predictions(self.results, _outputs(spec), carried=len(spec.carried))

    @property
    def size_bytes(self) -> int:
        return len(self.lease.input) + len(self.results) + ENTRY_BYTES

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
        self._rows_per_second: dict[str, float] = {}
        self._turn: Lease | None = None
        """What it was taken for, if it could not be ended."""

    @property
    def is_pending(self) -> bool:
        return bool(self._waiting) or self._turn is not None

    def add(self, lease: Lease, result: ChunkResult) -> None:
        """Let the shadow of a committed chunk's job, if it has one, score it some time."""
        if lease.spec.shadow_version is None:
            return
        answered = _Answered(lease=lease, results=result.results)
        if self._waiting_bytes + answered.size_bytes > MAX_BYTES:
            with suppress(StoreError):
                self._reports.count_comparison(_comparison(lease.spec, skipped=lease.plan.rows))
            return
        self._waiting.append(answered)
        self._waiting_bytes += answered.size_bytes

    def step(self) -> bool:
        """Score some rows of the chunk that waits for longest; False if that is for later, since
        another process of the worker has its turn with the same shadow.

        What goes wrong beyond what is known to go wrong with models is raised; then it is for
        `leave_out` to go on.
        """
        if self._turn is not None:
            self._end_turn(self._turn)
            return True
        try:
            return self._take_turn(self._waiting[0])
        except (ModelError, StoreError) as error:
            fields = {"model": _shadow_id(self._waiting[0].lease.spec), "reason": str(error)}
            logger.warning("shadow left out", extra=fields)
            self.leave_out()
            return True

    def leave_out(self) -> None:
        """Pass over what is left of the chunk that waits for longest."""
        answered = self._waiting[0]
        rows = answered.rows_left
        self._done(answered, rows, _comparison(answered.lease.spec, skipped=rows))

    def _take_turn(self, answered: _Answered) -> bool:
        spec = answered.lease.spec
        holder, sha256 = answered.lease.holder, spec.shadow_sha256 or ""
        lost = self._reports.begin_shadowing(
            holder.worker, holder.process, _shadow_id(spec), sha256
        )
        if lost is None:
            return False
        if lost >= SHADOW_STRIKES:
            raise ShadowGivenUpError(_shadow_id(spec))
        with time_limit(self._time_limit_seconds):
            shadow = self._shadow(spec)
        part = self._next_part(answered)
        began = time.perf_counter()
        with time_limit(min(self._time_limit_seconds, MOST_SECONDS)):
            found = _compared(answered, part, shadow)
        speed = len(part) / (time.perf_counter() - began)
        self._rows_per_second[_speed_id(spec)] = speed
        self._done(answered, len(part), found)
        return True

    def _shadow(self, spec: JobSpec) -> Predictor:
        version, sha256 = spec.shadow_version or "", spec.shadow_sha256 or ""
        return self._models.get(spec.model_name, version, sha256=sha256)

    def _next_part(self, answered: _Answered) -> Rows:
        speed = self._rows_per_second.get(_speed_id(answered.lease.spec))
        rows = FIRST_ROWS if speed is None else max(1, int(speed * STEP_SECONDS))
        first = answered.done_rows
        return Rows(first=first, behind=first + min(rows, answered.rows_left))

    def _done(self, answered: _Answered, rows: int, found: Comparison) -> None:
        answered.done_rows += rows
        if not answered.rows_left:
            self._waiting.popleft()
            self._waiting_bytes -= answered.size_bytes
        self._end_turn(answered.lease)
        with suppress(StoreError):  # rows that are not counted are as good as not compared
            self._reports.count_comparison(found)

    def _end_turn(self, lease: Lease) -> None:
        """While the store is away the turn goes on, so that nobody has to wait for it for ever."""
        self._turn = lease
        shadow = _shadow_id(lease.spec), lease.spec.shadow_sha256 or ""
        with suppress(StoreError):
            self._reports.end_shadowing(lease.holder.worker, *shadow)
            self._turn = None


class _SearchOverError(Exception):
    """A step has looked long enough for rows that the shadow refuses."""


def _search_limit() -> Callable[[], None]:
    """Raises _SearchOverError when it is called too long after its first call, by which nothing
    was searched for yet."""
    ends_at = math.inf

    def check() -> None:
        nonlocal ends_at
        now = time.monotonic()
        if now > ends_at:
            raise _SearchOverError
        ends_at = min(ends_at, now + SEARCH_SECONDS)

    return check


def _compared(answered: _Answered, part: Rows, shadow: Predictor) -> Comparison:
    """How the shadow's predictions for some rows differ from those that were given."""
    lease, version = answered.lease, shadow.manifest.version
    spec = replace(lease.spec, model_version=version, carried=())
    rows = slice_of(replace(lease, spec=spec), answered.records, part, shadow)
    try:
        result = rows.score(check=_search_limit())
    except _SearchOverError:
        return _comparison(lease.spec, skipped=len(part))
    shadowed = _predictions(result.results, _outputs(lease.spec), carried=0)
    given = answered.predictions.loc[part.first : part.behind - 1]
    return _difference(given, shadowed.set_axis(shadowed.index + part.first), lease.spec)


def _outputs(spec: JobSpec) -> Sequence[OutputColumn]:
    """The columns of a job's results that are predictions."""
    return spec.result_columns[1 + len(spec.carried) : -1]


def _predictions(lines: bytes, outputs: Sequence[OutputColumn], *, carried: int) -> pd.DataFrame:
    """The predictions in result lines, by their positions; rows with an error have none."""
    where = range(1 + carried, 2 + carried + len(outputs))
    types = {
        at: "float64" if output.dtype is Dtype.FLOAT else "str"
        for at, output in zip(where, outputs, strict=False)
    }
    table: pd.DataFrame = pd.read_csv(
        io.BytesIO(lines),
        header=None,
        usecols=list(where),
        dtype=types | {where[-1]: "str"},
        keep_default_na=False,
        na_values=[""],
    )
    names = [output.name for output in outputs]
    is_scored = table[where[-1]].isna()
    return table.loc[is_scored, list(types)].set_axis(names, axis="columns")


def _difference(given: pd.DataFrame, shadowed: pd.DataFrame, spec: JobSpec) -> Comparison:
    both = given.index.intersection(shadowed.index)
    skipped, given, shadowed = len(given) - len(both), given.loc[both], shadowed.loc[both]
    is_same = np.ones(len(both), dtype=np.bool_)
    for output in _outputs(spec):
        ours, theirs = given[output.name], shadowed[output.name]
        if output.dtype is Dtype.FLOAT:
            is_same &= np.isclose(ours, theirs, rtol=SAME, atol=0, equal_nan=True)
        else:
            is_same &= (ours.fillna("") == theirs.fillna("")).to_numpy()
    return _comparison(
        spec,
        rows=len(both),
        agreed=int(is_same.sum()),
        difference=_mean_difference(given, shadowed, spec),
        skipped=skipped,
    )


def _mean_difference(given: pd.DataFrame, shadowed: pd.DataFrame, spec: JobSpec) -> float | None:
    numbers = [o.name for o in _outputs(spec) if o.dtype in (Dtype.FLOAT, Dtype.INT)]
    gaps = (given[numbers].astype("float64") - shadowed[numbers].astype("float64")).abs()
    finite = gaps.to_numpy()[np.isfinite(gaps.to_numpy())]
    return float(finite.mean()) if finite.size else None


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


def _speed_id(spec: JobSpec) -> str:
    """What is asked for may take much longer than another output of the same version."""
    return f"{_shadow_id(spec)} {spec.output}"
