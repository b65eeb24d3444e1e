"""Coalescing: several small jobs that want the same of one model, scored in one go.

With five rows nearly all of the time goes into calling pandas, scikit-learn and pyarrow at all; 64
jobs together take hardly longer than one.
"""

from collections.abc import Sequence

from shared.chunks import ChunkPlan, ChunkResult
from shared.job_store.leases import Lease
from worker.predictor import Predictor
from worker.scoring import Slice


def score_together(leases: Sequence[Lease], predictor: Predictor) -> list[ChunkResult]:
    """The result of each chunk, as if it had been scored alone; all have the same spec.

    Only rows without any fault are scored together. Where there are others, the chunks are halved
    until those with faults are alone. A prediction may differ from that of the chunk alone in the
    last bits, where the model's linear algebra depends on the number of rows.
    """
    if len(leases) == 1:
        return [_scored(leases[0].input, leases[0].plan, leases[0], predictor)]
    data = b"".join(_with_line_end(lease.input) for lease in leases)
    rows = tuple(row for lease in leases for row in _rows(lease.plan))
    plan = ChunkPlan(number=0, first_row=1, first_line=1, rows=len(rows), picked_rows=rows)
    result = _scored(data, plan, leases[0], predictor)
    lines = result.results.splitlines(keepends=True)
    # A line end inside of a cell makes more lines than rows.
    if result.failed or len(lines) != len(rows):
        half = len(leases) // 2
        parts = leases[:half], leases[half:]
        return [result for part in parts for result in score_together(part, predictor)]
    return list(_shared_out(lines, [lease.plan.rows for lease in leases]))


def _scored(data: bytes, plan: ChunkPlan, lease: Lease, predictor: Predictor) -> ChunkResult:
    return Slice(data, plan, spec=lease.spec, predictor=predictor).score()


def _with_line_end(data: bytes) -> bytes:
    return data if data.endswith((b"\n", b"\r")) else data + b"\n"


def _rows(plan: ChunkPlan) -> Sequence[int]:
    return plan.picked_rows or range(plan.first_row, plan.first_row + plan.rows)


def _shared_out(lines: list[bytes], rows: list[int]) -> list[ChunkResult]:
    results, first = [], 0
    for count in rows:
        text = b"".join(lines[first : first + count])
        results.append(ChunkResult(results=text, errors=b"", succeeded=count, failed=0))
        first += count
    return results
