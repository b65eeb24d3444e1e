"""What a job store must do, told without Redis: who may commit what, and what is left to run."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from shared.job_store.leases import Lease, Outcome
from shared.jobs import Lane
from tests.job_steps import LANES, lease_field


@dataclass(eq=False, kw_only=True)
class ExpectedChunk:
    rows: int
    growth: int
    held_by: "Attempt | None" = None
    """The only attempt that may commit it."""
    committed_by: "Attempt | None" = None
    failed: int = 0
    was_leased: bool = False

    @property
    def is_waiting(self) -> bool:
        return self.held_by is None and self.committed_by is None


@dataclass(eq=False, kw_only=True)
class ExpectedJob:
    id: str
    lane: Lane
    caller: str
    threshold: int
    payload_url: str
    promised: int
    """Bytes its body was expected to bring and has not brought."""
    chunks: list[ExpectedChunk] = field(default_factory=list)
    is_received: bool = False
    status: str = ""
    """Of its end; empty while it has none."""
    is_gone: bool = False
    losses: int = 0
    deaths: int = 0

    @property
    def is_open(self) -> bool:
        return not (self.status or self.is_gone)

    @property
    def is_fresh(self) -> bool:
        """Whether it is a job of one chunk that nobody has begun, so that it may join another."""
        return (
            self.is_open
            and self.is_received
            and len(self.chunks) == 1
            and not self.chunks[0].was_leased
        )

    @property
    def has_chunks_to_run(self) -> bool:
        return self.is_open and any(chunk.is_waiting for chunk in self.chunks)

    @property
    def done(self) -> list[ExpectedChunk]:
        return [chunk for chunk in self.chunks if chunk.committed_by]

    @property
    def failed(self) -> int:
        return sum(chunk.failed for chunk in self.done)

    @property
    def owed_rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks if not chunk.committed_by)

    @property
    def owed_bytes(self) -> int:
        return self.promised + sum(c.growth for c in self.chunks if not c.committed_by)

    def append(self, rows: int, *, growth: int, input_bytes: int) -> None:
        self.chunks.append(ExpectedChunk(rows=rows, growth=growth))
        self.promised -= min(self.promised, growth + input_bytes)

    def close(self) -> None:
        if self.is_open:
            self.is_received = True
            self.promised = 0
            self.end_if_complete()

    def end(self, status: str) -> None:
        if self.is_open:
            self.status = status

    def end_if_complete(self) -> None:
        if not (self.is_received and len(self.done) == len(self.chunks)):
            return
        all_rows = sum(chunk.rows for chunk in self.chunks)
        if self.failed == 0:
            self.end("succeeded")
        else:
            self.end("partially_succeeded" if self.failed < all_rows else "failed")


@dataclass(eq=False, kw_only=True)
class Attempt:
    lease: Lease
    job: ExpectedJob

    @property
    def chunk(self) -> ExpectedChunk:
        return self.job.chunks[self.lease.plan.number]

    @property
    def is_valid(self) -> bool:
        return self.job.is_open and self.chunk.held_by is self

    @property
    def name(self) -> str:
        return lease_field(self.lease)


class Expectation:
    """All jobs and workers. What the store leaves open, such as whose turn it is, it is told."""

    def __init__(self, *, max_losses: int) -> None:
        self.jobs: list[ExpectedJob] = []
        self._max_losses = max_losses
        self._bulk: dict[str, int] = {}
        self._running: dict[str, list[Attempt]] = {}
        """By worker, also attempts on jobs that have ended: their process is still busy."""

    @property
    def open_jobs(self) -> int:
        return sum(job.is_open for job in self.jobs)

    def create(self, job_id: str, **traits: object) -> ExpectedJob:
        job = ExpectedJob(id=job_id, **traits)
        self.jobs.append(job)
        return job

    # --- workers

    def knows(self, worker: str) -> bool:
        return worker in self._bulk

    def running(self, worker: str) -> list[Attempt]:
        return self._running.get(worker, [])

    def all_running(self) -> list[Attempt]:
        return [attempt for attempts in self._running.values() for attempt in attempts]

    def is_held(self, attempt: Attempt) -> bool:
        return attempt in self.all_running()

    def beat(
        self, worker: str, *, bulk: int, alive: Collection[int], given_back: Collection[str]
    ) -> None:
        self._bulk[worker] = bulk
        dead = [a for a in self.running(worker) if a.lease.holder.process not in alive]
        self._lose(dead, given_back, reason="died")

    def could_run(self, worker: str) -> bool:
        return self._lane_for(worker) is not None

    def busy_processes(self, worker: str) -> int:
        return len({attempt.lease.holder.process for attempt in self.running(worker)})

    def _lane_for(self, worker: str) -> Lane | None:
        busy = self.busy_processes(worker)
        if busy >= 3:
            return None
        running_bulk = sum(a.lease.lane is Lane.BULK for a in self.running(worker))
        may_run_bulk = running_bulk < self._bulk[worker]
        waiting = {job.lane for job in self.jobs if job.has_chunks_to_run}
        lanes = LANES[::-1] if busy and not running_bulk else LANES
        allowed = [lane for lane in lanes if lane is Lane.SMALL or may_run_bulk]
        return next((lane for lane in allowed if lane in waiting), None)

    def leave(self, worker: str, given_back: Collection[str]) -> None:
        self._lose(list(self.running(worker)), given_back, reason="returned")
        self._bulk.pop(worker, None)

    def sweep(
        self,
        done: list[tuple[str, str]],
        *,
        silent: str | None = None,
        overdue: Attempt | None = None,
    ) -> None:
        lost = [overdue] if overdue else list(self.running(str(silent)))
        reason = "overdue" if overdue else "vanished"
        self._lose(lost, [name for what, name in done if what == reason], reason=reason)
        if silent:
            assert ("dead", silent) in done
            del self._bulk[silent]

    def _lose(self, attempts: list[Attempt], given_back: Collection[str], *, reason: str) -> None:
        """Give back these attempts; the store says in which order, and none but these."""
        by_name = {attempt.name: attempt for attempt in attempts}
        for name in given_back:
            assert by_name[name].is_valid
            self.give_back(by_name[name], reason=reason)
        for attempt in attempts:
            assert not attempt.is_valid
            self._release(attempt)

    # --- attempts

    def lane_of_next(self, worker: str, process: int) -> Lane | None:
        """Where the next chunk comes from if this process asks for one; it drops what it holds."""
        if not self.knows(worker):
            return None
        for attempt in [a for a in self.running(worker) if a.lease.holder.process == process]:
            self.give_back(attempt, reason="returned")
        return self._lane_for(worker)

    def take_together(self, leases: Sequence[Lease], *, most_jobs: int, most_rows: int) -> None:
        """Check what was taken with one another, before each is taken."""
        jobs = [self._job_of(lease) for lease in leases]
        if len(jobs) > 1:
            assert all(job.is_fresh and job.lane is Lane.SMALL for job in jobs)
            assert len({job.id for job in jobs}) == len(jobs) <= most_jobs
            assert len({job.threshold for job in jobs}) == 1
            assert sum(job.chunks[0].rows for job in jobs) <= most_rows

    def _job_of(self, lease: Lease) -> ExpectedJob:
        return next(job for job in self.jobs if job.id == lease.job_id)

    def take(self, lease: Lease) -> Attempt:
        job = self._job_of(lease)
        attempt = Attempt(lease=lease, job=job)
        assert job.is_open
        assert attempt.chunk.is_waiting
        attempt.chunk.held_by = attempt
        attempt.chunk.was_leased = True
        self._running.setdefault(lease.holder.worker, []).append(attempt)
        return attempt

    def outcome_of(self, attempt: Attempt) -> Outcome:
        """What a commit by this attempt must give."""
        if attempt.job.is_gone:
            return Outcome.GONE
        if attempt is attempt.chunk.committed_by:
            return Outcome.COMMITTED
        if not attempt.job.is_open:
            return Outcome.ENDED
        return Outcome.COMMITTED if attempt is attempt.chunk.held_by else Outcome.STALE

    def commit(self, attempt: Attempt, *, failed: int) -> None:
        self._release(attempt)
        if not attempt.is_valid:
            return
        job, chunk = attempt.job, attempt.chunk
        chunk.held_by, chunk.committed_by, chunk.failed = None, attempt, failed
        if 0 <= job.threshold < job.failed:
            job.end("failed")
        else:
            job.end_if_complete()

    def give_back(self, attempt: Attempt, *, reason: str) -> None:
        self._release(attempt)
        if not attempt.is_valid:
            return
        attempt.chunk.held_by = None
        if reason != "returned":
            attempt.job.losses += 1
            attempt.job.deaths += reason == "died"
            if reason == "died" and attempt.job.deaths > self._max_losses:
                attempt.job.end("failed")

    def release_unless_valid(self, attempt: Attempt) -> None:
        if not attempt.is_valid:
            self._release(attempt)

    def _release(self, attempt: Attempt) -> None:
        if attempt in self.running(attempt.lease.holder.worker):
            self._running[attempt.lease.holder.worker].remove(attempt)
