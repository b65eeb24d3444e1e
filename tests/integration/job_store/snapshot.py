"""All that the server holds at a moment, and whether it is what must be there."""

from dataclasses import dataclass
from typing import Any

from shared.feature_counts import FeatureCounts
from shared.job_store import keys
from shared.job_store.stages import STAGES
from shared.jobs import END_STATUSES, JobStatus, Lane
from tests.integration.job_store.expectation import Expectation, ExpectedJob
from tests.job_steps import JobSteps


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    values: dict[str, Any]
    """By key: texts by field, texts in order or in none, scores by member, or None for other
    types."""
    lifetimes: dict[str, int]
    """Seconds by key; negative for none."""

    @classmethod
    def of(cls, steps: JobSteps) -> "Snapshot":
        names = [key.decode() for key in steps.redis.scan_iter(count=1000)]
        pipe = steps.redis.pipeline(transaction=False)
        for name in names:
            pipe.type(name)
            pipe.ttl(name)
        types, lifetimes = (found := pipe.execute())[::2], found[1::2]
        for name, kind in zip(names, types, strict=True):
            if kind == b"hash":
                pipe.hgetall(name)
            elif kind == b"list":
                pipe.lrange(name, 0, -1)
            elif kind == b"set":
                pipe.smembers(name)
            elif kind == b"zset":
                pipe.zrange(name, 0, -1, withscores=True)
            else:
                pipe.exists(name)
        values = [_decoded(value) for value in pipe.execute()]
        return cls(
            values=dict(zip(names, values, strict=True)),
            lifetimes=dict(zip(names, lifetimes, strict=True)),
        )

    def _of_job(self, job: ExpectedJob, suffix: str) -> Any:
        return self.values.get(f"{keys.record(job.id)}{suffix}") or {}

    def _inputs(self, job: ExpectedJob) -> set[str]:
        """Numbers of the chunks whose input is there."""
        start = f"{keys.record(job.id)}:input:"
        return {key.removeprefix(start) for key in self.values if key.startswith(start)}

    def check_job(self, job: ExpectedJob) -> None:
        record = self._of_job(job, "")
        if job.is_gone:
            of_job = [key for key in self.values if key.startswith(keys.record(job.id))]
            assert of_job == [keys.tombstone(job.id)]
            return
        self._check_counts(job, record)
        self._check_status(job, record)
        self._check_chunks(job, record)

    def _check_counts(self, job: ExpectedJob, record: dict[str, str]) -> None:
        def count(name: str) -> int:
            return int(record.get(name, 0))

        done = sum(chunk.rows for chunk in job.done)
        assert count("total") == sum(chunk.rows for chunk in job.chunks)
        assert count("failed") == job.failed
        assert count("succeeded") == done - job.failed
        assert count("chunks_done") == len(job.done) <= count("chunks_total") == len(job.chunks)
        assert count("attempts_lost") == job.losses
        counted = FeatureCounts.parse(record.get("feature_counts", ""))
        assert counted.seen == counted.rows == done
        assert counted.sums == ({"0:missing": job.failed} if job.failed else {})

    def _check_status(self, job: ExpectedJob, record: dict[str, str]) -> None:
        assert (record["status"] if record["status"] in END_STATUSES else "") == job.status
        if job.is_open:
            assert (record["status"] == "receiving") == (not job.is_received)
            return
        assert not self._inputs(job)
        assert not self._of_job(job, ":returned")
        assert not self._of_job(job, ":parts")

    def _check_chunks(self, job: ExpectedJob, record: dict[str, str]) -> None:
        done = {str(number) for number, chunk in enumerate(job.chunks) if chunk.committed_by}
        assert set(self._of_job(job, ":results")) == done
        if not job.is_open:
            return
        assert self._inputs(job) == numbers(job) - done
        taken = int(record.get("chunks_taken", 0))
        never_taken = [str(number) for number in range(taken, len(job.chunks))]
        to_run = [*self._of_job(job, ":returned"), *never_taken]
        waiting = [str(n) for n, chunk in enumerate(job.chunks) if chunk.is_waiting]
        assert sorted(to_run) == sorted(waiting)

    def check_leases(self, expected: Expectation) -> None:
        """Whoever runs a chunk is known, so that its death is noticed."""
        found = {
            (key.removeprefix("leases:"), name, *text.split()[:2])
            for key, leases in self.values.items()
            if key.startswith("leases:")
            for name, text in leases.items()
        }
        assert found == {
            (lease.holder.worker, attempt.name, str(lease.holder.process), str(lease.token))
            for attempt in expected.all_running()
            for lease in [attempt.lease]
        }
        assert {worker for worker, *_ in found} <= set(self.values.get(keys.WORKERS, {}))

    def check_backlog(self, expected: Expectation) -> None:
        backlog = self.values.get(keys.BACKLOG, {})
        for what in ("rows", "bytes"):
            owed = {
                f"{what}:{job.id}": job.owed_rows if what == "rows" else job.owed_bytes
                for job in expected.jobs
                if job.is_open
            }
            found = {name: int(n) for name, n in backlog.items() if name.startswith(f"{what}:")}
            assert {name: n for name, n in found.items() if n} == {
                name: n for name, n in owed.items() if n
            }
            assert int(backlog.get(what, 0)) == sum(owed.values())

    def check_unfinished(self, expected: Expectation) -> None:
        """Whoever looks for the jobs of a stage finds them all."""
        assert self.values.get(keys.UNFINISHED, {}) == {
            job.id: STAGES[job.lane, JobStatus(self._of_job(job, "")["status"])]
            for job in expected.jobs
            if job.is_open
        }

    def check_owned(self, expected: Expectation) -> None:
        """What a key may do is bounded by what it has not ended yet, and lists show all it has."""
        for owner in {job.caller for job in expected.jobs} - {""}:
            owned = [job for job in expected.jobs if job.caller == owner and not job.is_gone]
            assert set(self.values.get(keys.jobs(owner), {})) == {job.id for job in owned}
            in_flight = self.values.get(keys.FOR_SCRIPTS["IN_FLIGHT"] % owner, set())
            assert in_flight == {job.id for job in owned if job.is_open}

    def check_lines(self, expected: Expectation) -> None:
        """A job with chunks to run is in its caller's line, once, and the caller in the ring."""
        for lane in Lane:
            ring = self.values.get(f"ready:{lane}", [])
            start = f"ready:{lane}:"
            lines = {
                k.removeprefix(start): v for k, v in self.values.items() if k.startswith(start)
            }
            assert sorted(ring) == sorted(lines)
            for line in lines.values():
                assert len(line) == len(set(line))
            for job in expected.jobs:
                if job.lane is lane and job.has_chunks_to_run:
                    assert job.id in lines[job.caller]

    def check_waiting(self, expected: Expectation) -> None:
        """The index of waiting chunks has all that could be run and are not, and no other; small
        jobs are in another one as long as nobody has begun them."""
        for lane in Lane:
            assert set(self.values.get(keys.waiting(lane), {})) == {
                f"{job.id} {number}"
                for job in expected.jobs
                if job.lane is lane and job.is_open
                for number, chunk in enumerate(job.chunks)
                if chunk.is_waiting and (lane is Lane.BULK or chunk.was_leased)
            }

    def check_lifetimes(self) -> None:
        lasting = {key for key, seconds in self.lifetimes.items() if seconds < 0}
        assert {key for key in lasting if key.startswith(("job:", "idempotency:"))} == set()


def numbers(job: ExpectedJob) -> set[str]:
    return {str(number) for number in range(len(job.chunks))}


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name.decode(): text.decode() for name, text in value.items()}
    if isinstance(value, set):
        return {member.decode() for member in value}
    if isinstance(value, list) and value and isinstance(value[0], list | tuple):
        return {member.decode(): score for member, score in value}
    return [text.decode() for text in value] if isinstance(value, list) else None
