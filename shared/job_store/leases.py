"""The worker's side of the store: chunks are taken under a lease, committed once or given back.

Keys: `keys.py`; atomic steps: `lua/`. All methods raise StoreUnavailableError when Redis does not
answer in time, and every one may be repeated after a lost answer.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from redis import Redis

from shared import payloads
from shared.chunks import ChunkPlan, ChunkResult
from shared.errors import PayloadLostError, StoreError
from shared.job_store import keys, records
from shared.job_store.connection import translated_errors
from shared.job_store.scripts import Scripts
from shared.jobs import JobSpec, Lane
from shared.suspicion import LossReason, LostAttempt, Rows, parse_losses
from shared.trail import NO_TRAIL, Trail

GRACE_SECONDS = 15.0
"""A lease outlasts the time limit of its rows by so much: for reading, writing and a busy machine.
The process itself keeps the limit; the lease only catches one that is frozen."""


class Outcome(StrEnum):
    """What became of an attempt; only by `committed` the chunk has its result."""

    COMMITTED = "committed"
    GONE = "gone"
    ENDED = "ended"
    STALE = "stale"
    RETURNED = "returned"
    """The attempt gave its chunk back."""


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
    """Its records; where they are in an object store, a reference until `fetched`."""
    losses: tuple[LostAttempt, ...] = ()
    """How earlier attempts were lost."""
    parts_done: dict[Rows, ChunkResult] = field(default_factory=dict)
    """What earlier attempts scored part by part."""
    waited_seconds: float | None = None
    """From when the chunk could be run until it was taken; None if nobody knows."""
    trail: Trail = NO_TRAIL
    """Of the request that made the job."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms a process takes chunks."""

    most_jobs: int = 1
    most_rows: int = 0
    most_seconds: float = 0.0
    """Small jobs that want the same are taken together, up to so many, so many rows, and what takes
    so long by the speed of their model."""
    hold_seconds: float = 0.0
    """Nobody else need be woken for small jobs that come so soon after some were taken: this
    process is back by then."""
    linger_seconds: float = 0.0
    """If there is nothing to run, this process will listen to its bell for so long."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a process got when it asked for work."""

    leases: tuple[Lease, ...] = ()
    """None; one; or one chunk each of several small jobs with the same spec."""
    is_message_needed: bool = False
    """Whether there is more, and somebody to run it whom only a message wakes."""
    lingers: bool = False
    """Whether there is nothing, and the bell will be rung for this process when something comes."""


class Leases:
    """Gives out chunks. Safe to share by threads; holds nothing but the connection."""

    def __init__(
        self,
        redis: Redis,
        *,
        time_limit_seconds: float,
        max_job_losses: int,
        on_end: Callable[[Lease, float], None] | None = None,
    ) -> None:
        """`on_end`: told of each job that is ended by a commit, with its last lease, and how many
        seconds it took since it was made."""
        self._redis = redis
        self._on_end = on_end
        names = ("take_chunks", "begin_part", "commit_chunks", "return_chunk")
        self._scripts = Scripts(redis, *names)
        self._lease_seconds = time_limit_seconds + GRACE_SECONDS
        self._max_job_losses = max_job_losses

    def take(self, holder: Holder, lanes: Sequence[Lane], terms: Terms = Terms()) -> Taken:
        """Lease the next chunk in the first of these lanes that has one for this worker.

        Callers take turns, and so do the jobs of a caller. Nothing is leased if there is nothing to
        run now, or the worker does not count as live.
        """
        is_message_needed = False
        while True:
            answer = self._scripts.run(
                "take_chunks",
                holder.worker,
                holder.process,
                self._lease_seconds,
                terms.most_jobs,
                terms.most_rows,
                terms.most_seconds,
                math.ceil(terms.hold_seconds * 1000),
                round(terms.linger_seconds * 1000),
                *lanes,
            )
            if answer[0] != b"leased":
                lingers = answer[0] == b"lingers"
                return Taken(lingers=lingers, is_message_needed=is_message_needed)
            _, is_one_needed, lane, spec, *chunks = answer
            is_message_needed = is_message_needed or bool(is_one_needed)
            found = [self._lease(holder, lane, spec, chunk) for chunk in chunks]
            if leases := tuple(lease for lease in found if lease is not None):
                return Taken(leases=leases, is_message_needed=is_message_needed)

    # Any: parts of the script's answer as redis-py gives them.
    def _lease(
        self, holder: Holder, lane: bytes, spec: bytes, chunk: Sequence[Any]
    ) -> Lease | None:
        """None for a chunk without an input, as a rule because its job ended before it was read.

        Raises ValueError for what was written by another version, say. If the job is still open
        either counts as lost, so that nobody tries it for ever.
        """
        job_id, number, token = chunk[0].decode(), int(chunk[1]), chunk[2]
        try:
            if (data := chunk[5] or self._input(job_id, number)) is not None:
                return _parsed(holder, lane, spec, chunk, data)
        except ValueError:
            self._return(holder, job_id, number, token=token, reason=LossReason.DIED)
            raise
        self._return(holder, job_id, number, token=token, reason=LossReason.DIED)
        return None

    def _input(self, job_id: str, number: int) -> bytes | None:
        with translated_errors():
            # The client's types leave open whether an answer is decoded.
            return self._redis.get(keys.input_of(job_id, number))  # type: ignore[return-value]

    def fetched(self, lease: Lease) -> Lease:
        """The lease with its records, wherever they are.

        Raises PayloadStoreUnavailableError, and PayloadLostError for records that are not there any
        more; those of a chunk that is not this lease's any more may be missing for a good reason.
        """
        if not lease.spec.payload_url:
            return lease
        reference = payloads.Reference.parse(lease.input.decode())
        data = payloads.opened(lease.spec.payload_url).read(reference)
        if data is None:
            raise PayloadLostError(lease.job_id)
        return replace(lease, input=data)

    def listen(self, holder: Holder, seconds: float) -> bool:
        """Wait for the bell of a process that lingers; whether it was rung."""
        bell = keys.bell(holder.worker, holder.process)
        with translated_errors():
            return self._redis.blpop([bell], seconds) is not None

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

        The last commit of a job ends it in the same step. Where texts go to an object store they
        are there before, under a name that is this lease's alone. Raises
        PayloadStoreUnavailableError.
        """
        texts = _texts(result)
        if not lease.spec.payload_url:
            return self._commit([(lease, result, texts)])[0]
        # Or a late attempt would write objects of a job that is gone.
        if why := self.begin_part(lease, None, seconds=self._lease_seconds):
            return why
        store, name = payloads.opened(lease.spec.payload_url), _object_name(lease)
        store.put(name, b"".join(texts))
        outcome = self._commit([(lease, result, _references(name, texts))])[0]
        if outcome is not Outcome.COMMITTED:
            with suppress(StoreError):  # what is left is found when the job goes
                store.delete(name)
        return outcome

    def commit_all(self, results: Sequence[tuple[Lease, ChunkResult]]) -> list[Outcome]:
        """Store the results of several small jobs' chunks of one holder in one step, each as
        `commit` does."""
        return self._commit([(lease, result, _texts(result)) for lease, result in results])

    def _commit(self, results: Sequence[tuple[Lease, ChunkResult, "Texts"]]) -> list[Outcome]:
        args: list[str | bytes | float] = []
        for lease, result, texts in results:
            args += [lease.job_id, lease.plan.number, lease.token, *texts]
            args += [result.succeeded, result.failed, result.feature_counts.dump()]
        holder = results[0][0].holder
        answer = self._scripts.run("commit_chunks", holder.worker, holder.process, *args)
        told = [outcome.decode().partition(" ") for outcome in answer]
        if self._on_end:
            for (lease, _, _), (_, _, milliseconds) in zip(results, told, strict=True):
                if milliseconds:
                    self._on_end(lease, int(milliseconds) / 1000)
        return [Outcome(outcome) for outcome, _, _ in told]

    def give_back(self, lease: Lease, *, reason: str = "returned") -> bool:
        """Let others run a chunk; returns whether it was still this lease's.

        `reason`: a LossReason if the attempt is to count as lost.
        """
        return self._return(
            lease.holder, lease.job_id, lease.plan.number, token=lease.token, reason=reason
        )

    def _return(self, holder: Holder, job_id: str, chunk: int, *, token: int, reason: str) -> bool:
        answer = self._scripts.run(
            "return_chunk", holder.worker, job_id, chunk, token, reason, self._max_job_losses
        )
        return bool(answer)


Texts = tuple[bytes, bytes, bytes]
"""Results, row errors and failed rows of a chunk, or references to them."""


def _texts(result: ChunkResult) -> Texts:
    return result.results, result.errors, records.dump_rejects(result.rejected)


def _object_name(lease: Lease) -> str:
    """Another one for each attempt. The token alone would not do: a server that lost its last
    second gives it out again."""
    holder = zlib.crc32(f"{lease.holder.worker} {lease.holder.process}".encode())
    return f"{lease.job_id}/results/{lease.plan.number}.{lease.token}.{holder:08x}"


def _references(name: str, texts: Texts) -> Texts:
    """Where the texts are in an object that has one behind the other; none for an empty one."""
    results, errors, rejects = texts
    firsts = (0, len(results), len(results) + len(errors))
    found = (
        payloads.Reference(name=name, first=first, size=len(text)).dump() if text else b""
        for first, text in zip(firsts, texts, strict=True)
    )
    results, errors, rejects = found
    return results, errors, rejects


def _parsed(holder: Holder, lane: bytes, spec: bytes, chunk: Sequence[Any], data: bytes) -> Lease:
    """Raises ValueError for what was not written by this version."""
    job_id, _, token, attempt, plan, _, losses, parts, waited_ms, trail = chunk
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
        trail=Trail.parse(trail.decode()),
        parts_done={
            Rows.parse(rows.decode()): records.parse_result(result)
            for rows, result in zip(parts[::2], parts[1::2], strict=True)
        },
        waited_seconds=waited_ms / 1000 if waited_ms >= 0 else None,
    )
