"""A server that holds a job in every state, and everything that can be written about one."""

from pathlib import Path

from shared.api_keys import NewKey, Scope
from shared.chunks import RejectedRows
from shared.job_store import keys
from shared.job_store.api_keys import ApiKeys
from shared.job_store.deliveries import Attempt, Deliveries
from shared.job_store.model_reports import Comparison, ModelReports, VersionReport
from shared.job_store.sessions import Sessions
from shared.jobs import JobErrorCode, JobTerms, Lane, new_job_id
from shared.suspicion import LossReason, Rows
from tests.factories import make_result, make_spec
from tests.job_steps import WORKER, JobSteps


def jobs_in_every_state(steps: JobSteps) -> list[str]:
    """Jobs that have ended, one that arrives, others whose chunks wait, run and were lost."""
    ended = [steps.submit(chunks=2) for _ in range(3)]
    for failed in (0, 3, 10):
        steps.run(failed=failed)
    failed = steps.create()
    steps.store.fail(failed, JobErrorCode.UPLOAD_INCOMPLETE, "Gone.")
    return [*ended, failed, told_of(steps), with_objects(steps), *open_jobs(steps)]


def with_objects(steps: JobSteps) -> str:
    """A cancelled job that may have objects, beside the socket of the server."""
    socket = steps.redis.connection_pool.connection_kwargs["path"]
    job_id = steps.create(payload_url=f"file://{Path(socket).parent / 'objects'}")
    steps.store.cancel(job_id)
    return job_id


def told_of(steps: JobSteps) -> str:
    """An ended job whose callback did not listen the first time."""
    job_id = steps.ended_with_callback()
    deliveries = Deliveries(steps.redis)
    delivery = deliveries.claim(seconds=10)
    assert delivery is not None
    deliveries.try_again(delivery, Attempt(at_ms=1, duration_seconds=1.0, status=500), seconds=60)
    return job_id


def open_jobs(steps: JobSteps) -> list[str]:
    with_key = new_job_id()
    key, _ = ApiKeys(steps.redis).create(NewKey(name="ci", scopes=[Scope.SUBMIT]))
    Sessions(steps.redis).begin(key)
    terms = JobTerms(
        owner=key.id,
        most_in_flight=9,
        caller="me",
        lane=Lane.SMALL,
        idempotency_key="k",
        expected_bytes=1000,
    )
    steps.intake.create(with_key, make_spec(deadline_seconds=50), terms)
    running = steps.submit(lane=Lane.SMALL, chunks=4, caller="you")
    steps.leases.give_back(steps.leased(1), reason=LossReason.DIED)
    again = steps.leased(1)
    done = Rows(first=0, behind=5)
    steps.leases.begin_part(again, None, seconds=1, done=done, result=make_result())
    late = steps.leased(2)
    steps.leases.give_back(late)
    steps.commit(late)
    with_rejects = steps.leased(3)
    rejected = RejectedRows(rows=(1,), lines=(2,), records=b"1\n")
    result = make_result(succeeded=9, failed=1, rejected=rejected)
    steps.leases.commit(with_rejects, result)
    returned = steps.leased(4)
    steps.leases.give_back(returned)
    waiting = [steps.submit(caller="you", chunks=2), awaited_and_rung_for(steps)]
    steps.linger(6)
    steps.registry.record_speed("echo/1", 100.0)
    tell_of_models(steps)
    steps.registry.sweep()
    # Whoever looks at all keys takes longer, on a busy machine, than these live.
    for key in (keys.SWEEP, keys.bell(WORKER, 5), "woken:small"):
        assert steps.redis.pexpire(key, 60_000)
    return [with_key, running, *waiting]


def tell_of_models(steps: JobSteps) -> None:
    reports = ModelReports(steps.redis)
    ready = VersionReport(sha256="0" * 64, is_tried=True)
    reports.tell(WORKER, {"echo/1": ready}, serving={"echo": "1"})
    reports.tell_opened(WORKER, 1, ["echo/1"])
    found = Comparison(version_id="echo/1", shadow_version_id="echo/2", output="predict", rows=1)
    reports.count_comparison(found)
    for process, version_id in ((1, "echo/2"), (99, "echo/3")):
        reports.begin_shadowing(WORKER, process, version_id, "0" * 64)
    steps.beat()


def awaited_and_rung_for(steps: JobSteps) -> str:
    """A small job whose end somebody waits for, and for which a process was rung."""
    steps.linger(5)
    steps.nobody_looks()
    job_id = steps.submit(lane=Lane.SMALL)
    steps.store.await_end(job_id, keys.ends("api"))
    return job_id
