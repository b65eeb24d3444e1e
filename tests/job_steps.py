"""Steps that an API and workers take with jobs; what a test does not care about has a default."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis

from shared.chunks import ChunkPlan
from shared.errors import RowmillError
from shared.job_store import keys
from shared.job_store.connection import connect
from shared.job_store.intake import (
    Appended,
    FirstRequest,
    JobIntake,
    NewJob,
    TakenIn,
    WholeBody,
)
from shared.job_store.leases import Holder, Lease, Leases, Outcome, Taken, Terms
from shared.job_store.store import JobStore
from shared.job_store.workers import Pulse, WorkerRegistry
from shared.jobs import Job, JobSpec, JobTerms, Lane, new_job_id
from shared.trail import NO_TRAIL, Trail
from tests.factories import (
    MAX_JOB_LOSSES,
    make_body,
    make_capacity,
    make_intake,
    make_plan,
    make_result,
    make_spec,
)

WORKER = "host/1"
PROCESSES = 20
LANES = (Lane.SMALL, Lane.BULK)


def live_processes(registry: WorkerRegistry) -> int:
    """Of all workers that were heard of lately, those that are ready."""
    return sum(capacity.processes for capacity in registry.live().values())


@dataclass(frozen=True, kw_only=True)
class JobSteps:
    """Chunks have ten rows; a worker has processes 1 to 20, of which all but one may run bulk."""

    redis: Redis
    store: JobStore
    intake: JobIntake
    leases: Leases
    registry: WorkerRegistry

    # --- an API

    def create(
        self, *, lane: Lane = Lane.BULK, caller: str = "", trail: Trail = NO_TRAIL, **spec: Any
    ) -> str:
        """A job that is receiving."""
        job_id, terms = new_job_id(), JobTerms(lane=lane, caller=caller, trail=trail)
        self.intake.create(job_id, make_spec(**spec), terms)
        return job_id

    def request(self, **terms: Any) -> tuple[str, FirstRequest | None]:
        """The id asked for on these terms, and what their idempotency key made before."""
        job_id = new_job_id()
        return job_id, self.intake.create(job_id, make_spec(), JobTerms(**terms))

    def ended_with_callback(self, url: str = "https://example.com/hook", **spec: Any) -> str:
        """A job that was cancelled, which its callback is to be told."""
        job_id = new_job_id()
        self.intake.create(job_id, make_spec(**spec), JobTerms(callback_url=url))
        self.store.cancel(job_id)
        return job_id

    def append(
        self,
        job_id: str,
        number: int = 0,
        *,
        plan: ChunkPlan | None = None,
        result_bytes: int = 0,
        payload_url: str = "",
    ) -> Appended:
        plan = plan or make_plan(number)
        return self.intake.append_chunk(
            job_id,
            plan,
            b"1\n" * plan.rows,
            result_bytes=result_bytes,
            payload_url=payload_url,
        )

    def close(self, job_id: str) -> None:
        self.intake.close(job_id, input_bytes=22, sha256="a" * 64)

    def submit_small(
        self, *, rows: int = 10, caller: str = "", trail: Trail = NO_TRAIL, **spec: Any
    ) -> str:
        """A small job that was taken in at once."""
        job_id, terms = new_job_id(), JobTerms(lane=Lane.SMALL, caller=caller, trail=trail)
        submit_whole(self.intake, job_id, make_spec(**spec), terms, make_body(make_plan(rows=rows)))
        return job_id

    def submit(self, *, chunks: int = 1, **job: Any) -> str:
        """A job whose input is all there."""
        job_id = self.create(**job)
        for number in range(chunks):
            self.append(job_id, number, payload_url=job.get("payload_url", ""))
        self.close(job_id)
        return job_id

    # --- a worker

    def beat(
        self,
        worker: str = WORKER,
        *,
        processes: int = PROCESSES,
        bulk: int | None = None,
        alive: Collection[int] = range(1, PROCESSES + 1),
    ) -> Pulse:
        bulk_processes = processes - 1 if bulk is None else bulk
        capacity = make_capacity(processes, bulk_processes)
        return self.registry.beat(worker, capacity, alive=alive)

    def take(
        self, process: int = 1, *, worker: str = WORKER, lanes: Sequence[Lane] = LANES
    ) -> Lease | None:
        """A lease for a process of a worker, which says that it lives if it never did before."""
        self._be_alive(worker)
        taken = self.leases.take(Holder(worker=worker, process=process), lanes)
        return taken.leases[0] if taken.leases else None

    def take_together(self, process: int = 1, *, worker: str = WORKER, **terms: Any) -> Taken:
        """As a worker takes: what wants the same together, unless `terms` say otherwise."""
        self._be_alive(worker)
        defaults: dict[str, Any] = {"most_jobs": 64, "most_rows": 1000, "most_seconds": 0.25}
        holder = Holder(worker=worker, process=process)
        return self.leases.take(holder, LANES, Terms(**defaults | terms))

    def _be_alive(self, worker: str) -> None:
        if not self.redis.hexists(keys.WORKERS, worker):
            self.beat(worker)
        self.let_a_moment_pass()

    def commit_all(self, leases: Sequence[Lease]) -> list[Outcome]:
        """Commit all rows of several chunks."""
        results = [make_result(succeeded=lease.plan.rows) for lease in leases]
        return self.leases.commit_all(list(zip(leases, results, strict=True)))

    def linger(self, process: int, *, worker: str = WORKER, lanes: Sequence[Lane] = ()) -> None:
        """Let a process listen to its bell for a minute; it has found nothing to run."""
        if not self.redis.hexists(keys.WORKERS, worker):
            self.beat(worker)
        holder = Holder(worker=worker, process=process)
        assert self.leases.take(holder, lanes, Terms(linger_seconds=60)) == Taken(lingers=True)

    def nobody_looks(self) -> None:
        """Let the moments be over in which somebody was about to look for work."""
        self.redis.delete(*(keys.FOR_SCRIPTS["WOKEN"] % lane for lane in LANES))

    def lengthen_moments(self) -> list[int]:
        """Let who has just committed be about to look for a minute; for how long it was before, in
        milliseconds, by lane."""
        names = [keys.FOR_SCRIPTS["WOKEN"] % lane for lane in LANES]
        pipeline = self.redis.pipeline()
        for name in names:
            pipeline.pttl(name)
            pipeline.pexpire(name, 60_000)
        return [int(left) for left in pipeline.execute()[::2]]

    def leased(self, process: int = 1, *, worker: str = WORKER) -> Lease:
        """As `take`, where there must be something to run."""
        lease = self.take(process, worker=worker)
        assert lease is not None
        return lease

    def commit(self, lease: Lease, *, failed: int = 0) -> Outcome:
        """Commit all rows of a chunk; its result names the chunk."""
        succeeded = lease.plan.rows - failed
        results = b"chunk %d\n" % lease.plan.number
        return self.leases.commit(
            lease, make_result(succeeded=succeeded, failed=failed, results=results)
        )

    def run(self, *, failed: int = 0) -> Outcome:
        """Take the next chunk and commit it."""
        return self.commit(self.leased(), failed=failed)

    def run_all(self) -> list[Lease]:
        """Take and commit until nothing is left; what was run, in order."""
        run = []
        while lease := self.take():
            self.commit(lease)
            run.append(lease)
        return run

    # --- time

    def let_a_moment_pass(self) -> None:
        """Let those be over who were about to look for work; what waits for them is anybody's."""
        self.redis.delete(*(f"woken:{lane}" for lane in Lane))

    def silence(self, worker: str = WORKER, *, seconds: float = 11) -> None:
        """Let a worker's last beat be so long ago."""
        at, rest = self.redis.hget(keys.WORKERS, worker).split(b" ", 1)
        self.redis.hset(keys.WORKERS, worker, b"%d %b" % (int(at) - seconds * 1000, rest))

    def overdue(self, lease: Lease) -> None:
        """Let a lease's time be over."""
        where, field = keys.leases(lease.holder.worker), lease_field(lease)
        rest, _ = self.redis.hget(where, field).rsplit(b" ", 1)
        self.redis.hset(where, field, b"%b 1" % rest)

    def make_due(self, zset: str, job_id: str) -> None:
        """Let the moment a job has in a sorted set have come."""
        assert self.redis.zadd(zset, {job_id: 1}, xx=True, ch=True) == 1

    def age(self, job_id: str, *, seconds: int) -> None:
        """Let the last change of a job be so long ago."""
        for key in self.redis.scan_iter(f"{keys.record(job_id)}*"):
            self.redis.pexpire(key, max(0, self.redis.pttl(key) - seconds * 1000))
        self.redis.hincrby(keys.record(job_id), "expires_at_ms", -seconds * 1000)
        self.redis.zincrby(keys.EXPIRIES, -seconds * 1000, job_id)

    def expire(self, job_id: str) -> None:
        """Let all that the retention bounds reach its end, as the server and the sweep see it."""
        self.make_due(keys.EXPIRIES, job_id)
        for key in self.redis.scan_iter(f"{keys.record(job_id)}*"):
            if key != keys.tombstone(job_id).encode():
                self.redis.pexpire(key, 0)

    def sweep(self) -> list[tuple[str, str]]:
        """A sweep, whenever the last one was."""
        self.redis.delete(keys.SWEEP)
        return self.registry.sweep()

    # --- what there is to see

    def counts(self, job_id: str) -> tuple[int, int, int, int]:
        job = self.store.get(job_id)
        return job.total, job.succeeded, job.failed, job.pending

    def lifetimes(self, job_id: str) -> dict[str, int]:
        """Seconds that each key of a job is kept, by what stands behind the job's id."""
        name = keys.record(job_id)
        found = [key.decode() for key in self.redis.scan_iter(f"{name}*")]
        return {key.removeprefix(name): self.redis.ttl(key) for key in found}

    def results(self, job: Job | str) -> list[bytes]:
        found = self.store.get(job) if isinstance(job, str) else job
        return list(self.store.results(found))

    def backlog(self) -> dict[str, int]:
        """Rows and bytes that jobs still bring, in all and by job."""
        found = self.redis.hgetall(keys.BACKLOG)
        pairs = ((name.decode(), value) for name, value in found.items())
        return {name: int(value) for name, value in pairs if name.startswith(("rows", "bytes"))}

    def everything(self) -> dict[bytes, Any]:
        """All that the server holds but moments that every change moves, and what is held for
        moments: the sweep's lock, and that somebody is about to look for work."""
        found: dict[bytes, Any] = {}
        for key in self.redis.scan_iter():
            if key.startswith(b"woken:"):
                continue
            found[key] = self.redis.hgetall(key) if self._is_hash(key) else self.redis.dump(key)
            if isinstance(found[key], dict):
                found[key].pop(b"expires_at_ms", None)
        found.pop(keys.SWEEP.encode(), None)
        found.pop(keys.EXPIRIES.encode(), None)
        return found

    def _is_hash(self, key: bytes) -> bool:
        return bool(self.redis.type(key) == b"hash")


@contextmanager
def steps_on(redis_url: str) -> Iterator[JobSteps]:
    """Steps on a server of one's own, which is empty then."""
    redis = connect(redis_url)
    redis.flushdb()
    yield JobSteps(
        redis=redis,
        store=JobStore(redis),
        intake=make_intake(redis),
        leases=Leases(redis, time_limit_seconds=60, max_job_losses=MAX_JOB_LOSSES),
        registry=WorkerRegistry(redis, dead_after_seconds=100, max_job_losses=MAX_JOB_LOSSES),
    )
    redis.close()


def lease_field(lease: Lease) -> str:
    """How a lease is named among those of its worker, and in what is given back."""
    return f"{lease.job_id} {lease.plan.number}"


def submit_whole(
    intake: JobIntake, job_id: str, spec: JobSpec, terms: JobTerms, body: WholeBody
) -> TakenIn | FirstRequest:
    """Take in one whole job; raises why it is not taken in."""
    return submit_alone(intake, NewJob(id=job_id, spec=spec, terms=terms, body=body))[0]


def submit_alone(intake: JobIntake, job: NewJob) -> tuple[TakenIn | FirstRequest, bool]:
    """`submit_whole`, and whether a worker must be woken by a message."""
    group = intake.submit_all([job])
    [outcome] = group.jobs
    if isinstance(outcome, RowmillError):
        raise outcome
    return outcome, group.is_message_needed
