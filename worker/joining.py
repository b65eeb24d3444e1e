"""Coalescing: several small jobs that want the same of one model, scored in one go.

With five rows nearly all of the time goes into calling pandas, scikit-learn and pyarrow at all; 64
jobs together take hardly longer than one.
"""

from collections.abc import Iterator, Sequence

from shared.chunks import ChunkPlan, ChunkResult
from shared.drift import MIN_PSI_ROWS
from shared.feature_counts import FeatureCounts, plain
from shared.job_store.leases import Lease
from worker.feature_counter import counts_bins
from worker.predictor import Predictor
from worker.scoring import Slice


def score_together(leases: Sequence[Lease], predictor: Predictor) -> list[ChunkResult]:
    """The result of each chunk, as if it had been scored alone; all have the same spec.

    Only rows without any fault are scored together. Where there are others, the chunks are halved
    until those with faults are alone. A prediction may differ from that of the chunk alone in the
    last bits, where the model's linear algebra depends on the number of rows.
    """
    if len(leases) == 1:
        return [_alone(leases[0], predictor).score()]
    data = b"".join(_with_line_end(lease.input) for lease in leases)
    rows = tuple(row for lease in leases for row in _rows(lease.plan))
    plan = ChunkPlan(number=0, first_row=1, first_line=1, rows=len(rows), picked_rows=rows)
    together = Slice(data, plan, spec=leases[0].spec, predictor=predictor)
    result = together.score()
    lines = result.results.splitlines(keepends=True)
    # A line end inside of a cell makes more lines than rows.
    if result.failed or len(lines) != len(rows):
        half = len(leases) // 2
        parts = leases[:half], leases[half:]
        return [result for part in parts for result in score_together(part, predictor)]
    each = [lease.plan.rows for lease in leases]
    if result.feature_counts == plain(len(rows)) and max(each) < MIN_PSI_ROWS:
        counts = list(map(plain, each))
    else:
        counts = together.counts_of_each(each)
    return list(_shared_out(lines, each, counts))


def _alone(lease: Lease, predictor: Predictor) -> Slice:
    with_bins = counts_bins(lease.lane, lease.plan.rows)
    return Slice(lease.input, lease.plan, spec=lease.spec, predictor=predictor, with_bins=with_bins)


def _with_line_end(data: bytes) -> bytes:
    return data if data.endswith((b"\n", b"\r")) else data + b"\n"


def _rows(plan: ChunkPlan) -> Sequence[int]:
    return plan.picked_rows or range(plan.first_row, plan.first_row + plan.rows)


def _shared_out(
    lines: list[bytes], rows: list[int], counts: list[FeatureCounts]
) -> Iterator[ChunkResult]:
    first = 0
    for count, feature_counts in zip(rows, counts, strict=True):
        text = b"".join(lines[first : first + count])
        yield ChunkResult(
            results=text, errors=b"", succeeded=count, failed=0, feature_counts=feature_counts
        )
        first += count
