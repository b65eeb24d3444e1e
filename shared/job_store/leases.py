"""The worker's side of the store: chunks are taken under a lease, committed once or given back.

Keys: `keys.py`; atomic steps: `lua/`. All methods raise StoreUnavailableError when Redis does not
answer in time, and every one may be repeated after a lost answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from redis import Redis

from shared.chunks import ChunkPlan, ChunkResult
from shared.job_store import records
from shared.job_store.scripts import Scripts
from shared.jobs import JobSpec, Lane
from shared.suspicion import LossReason, LostAttempt, Rows, parse_losses

GRACE_SECONDS = 15.0
"""A lease outlasts the time limit of its rows by so much: for reading, writing and a busy machine.
The process itself keeps the limit; the lease only catches one that is frozen."""


class Outcome(StrEnum):
    """What became of an attempt; only by `committed` the chunk has its result."""

    COMMITTED = "committed"
    GONE = "gone"
    ENDED = "ended"
    STALE = "stale"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who runs attempts: a process of a worker."""

    worker: str
    process: int


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to commit one chunk, until it is taken away."""

    holder: Holder
    lane: Lane
    job_id: str
    spec: JobSpec
    plan: ChunkPlan
    token: int
    attempt: int
    """1 for the first attempt on the chunk."""
    input: bytes
    losses: tuple[LostAttempt, ...] = ()
    """How earlier attempts were lost."""
    parts_done: dict[Rows, ChunkResult] = field(default_factory=dict)
    """What earlier attempts scored part by part."""


class Leases:
    """Gives out chunks. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis, *, time_limit_seconds: float, max_job_losses: int) -> None:
        self._scripts = Scripts(redis, "take_chunk", "begin_part", "commit_chunk", "return_chunk")
        self._lease_seconds = time_limit_seconds + GRACE_SECONDS
        self._max_job_losses = max_job_losses

    def take(self, holder: Holder, lanes: Sequence[Lane]) -> Lease | None:
        """A lease of the next chunk in the first of these lanes that has one for this worker.

        Callers take turns, and so do the jobs of a caller. None if there is nothing to run now, or
        the worker does not count as live.
        """
        answer = self._scripts.run(
            "take_chunk", holder.worker, holder.process, self._lease_seconds, *lanes
        )
        if answer[0] != b"leased":
            return None
        try:
            return _lease(holder, answer[1:])
        except ValueError:
            # Written by another version, say. Counted as lost, so that nobody tries it for ever.
            _, _, job_id, chunk, token, *_ = answer
            self._return(holder, job_id, chunk, token=token, reason=LossReason.DIED)
            raise

    def begin_part(
        self,
        lease: Lease,
        part: Rows | None,
        *,
        seconds: float,
        done: Rows | None = None,
        result: ChunkResult | None = None,
    ) -> Outcome | None:
        """Note that `part` (None: nothing) is being scored for at most so long, and the result of
        the part that is done. Returns why to stop; None to go on."""
        answer = self._scripts.run(
            "begin_part",
            lease.holder.worker,
            lease.holder.process,
            lease.job_id,
            lease.plan.number,
            lease.token,
            seconds + GRACE_SECONDS,
            str(done or ""),
            records.dump_result(result) if result else b"",
            str(part or ""),
        )
        return None if answer == b"noted" else Outcome(answer.decode())

    def commit(self, lease: Lease, result: ChunkResult) -> Outcome:
        """Store a chunk's result once; returns what became of it.

        The last commit of a job ends it in the same step.
        """
        answer = self._scripts.run(
            "commit_chunk",
            lease.holder.worker,
            lease.job_id,
            lease.plan.number,
            lease.token,
            result.results,
            result.errors,
            records.dump_rejects(result.rejected),
            result.succeeded,
            result.failed,
        )
        return Outcome(answer.decode())

    def give_back(self, lease: Lease, *, reason: str = "returned") -> bool:
        """Let others run a chunk; returns whether it was still this lease's.

        `reason`: a LossReason if the attempt is to count as lost.
        """
        return self._return(
            lease.holder, lease.job_id, lease.plan.number, token=lease.token, reason=reason
        )

    def _return(
        self, holder: Holder, job_id: str | bytes, chunk: int | bytes, *, token: int, reason: str
    ) -> bool:
        answer = self._scripts.run(
            "return_chunk", holder.worker, job_id, chunk, token, reason, self._max_job_losses
        )
        return bool(answer)


# Any: the script's answer as redis-py gives it.
def _lease(holder: Holder, answer: Sequence[Any]) -> Lease:
    """Raises ValueError for what was not written by this version."""
    lane, job_id, _, token, attempt, plan, data, spec, losses, parts = answer
    return Lease(
        holder=holder,
        lane=Lane(lane.decode()),
        job_id=job_id.decode(),
        spec=records.parse_spec(spec),
        plan=records.parse_plan(plan),
        token=token,
        attempt=attempt,
        input=data,
        losses=tuple(parse_losses(losses.decode())),
        parts_done={
            Rows.parse(rows.decode()): records.parse_result(result)
            for rows, result in zip(parts[::2], parts[1::2], strict=True)
        },
    )
