"""Runs of chunks as spans of the traces of the requests that made their jobs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from shared import tracing
from shared.job_store.leases import Lease
from shared.tracing import Attributes, Kind

NAME = "run chunk"


@contextmanager
def chunk_spans(leases: Sequence[Lease]) -> Iterator[None]:
    """Within it, these chunks are run: each is seen in the trace of its own job."""
    if not tracing.is_on():
        yield
        return
    with ExitStack() as spans:
        for lease in leases:
            attributes = _attributes(lease, together=len(leases))
            traceparent = lease.trail.traceparent
            span = tracing.span(NAME, Kind.CONSUMER, traceparent=traceparent, attributes=attributes)
            spans.enter_context(span)
        yield


def _attributes(lease: Lease, *, together: int) -> Attributes:
    return {
        "rowmill.request_id": lease.trail.request_id,
        "rowmill.job_id": lease.job_id,
        "rowmill.chunk": lease.plan.number,
        "rowmill.attempt": lease.attempt,
        "rowmill.rows": lease.plan.rows,
        "rowmill.lane": lease.lane.value,
        "rowmill.model": lease.spec.model_version_id,
        "rowmill.jobs_together": together,
    }
