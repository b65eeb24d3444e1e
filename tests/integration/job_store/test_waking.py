"""Who is woken for what waits: one process that is free for it, by its bell or by a message, and
nobody while somebody is about to look."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from shared.job_store import keys
from shared.job_store.intake import Appended, NewJob
from shared.job_store.leases import Holder, Lease, Leases, Taken
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobTerms, Lane, new_job_id
from tests.factories import MAX_JOB_LOSSES, make_body, make_intake, make_spec
from tests.job_steps import LANES, WORKER, JobSteps, submit_alone


def submit(steps: JobSteps, lane: Lane = Lane.SMALL, **spec: object) -> bool:
    """Submit a job of one chunk; whether its API must send a message."""
    if lane is Lane.BULK:
        return steps.append(steps.create(lane=lane, **spec)) is Appended.MESSAGE_NEEDED
    job = NewJob(
        id=new_job_id(), spec=make_spec(**spec), terms=JobTerms(lane=lane), body=make_body()
    )
    return submit_alone(steps.intake, job)[1]


def rung(steps: JobSteps) -> list[str]:
    """Whose bells were rung and not heard yet, a bell as often as it was rung."""
    start = keys.FOR_SCRIPTS["BELL"] % ""
    bells = [key.decode() for key in steps.redis.scan_iter(f"{start}*")]
    return [bell.removeprefix(start) for bell in bells for _ in range(steps.redis.llen(bell))]


# --- a message


@pytest.mark.parametrize("lane", Lane)
def test_one_message_is_sent_until_somebody_has_looked(steps: JobSteps, lane: Lane) -> None:
    steps.beat()

    needed = [submit(steps, lane) for _ in range(3)]

    assert needed == [True, False, False]
    assert steps.take_together(1).is_message_needed == (lane is Lane.BULK)


@pytest.mark.parametrize("lane", Lane)
def test_who_was_woken_and_never_comes_holds_others_back_for_a_second(
    steps: JobSteps, lane: Lane
) -> None:
    steps.beat()
    submit(steps, lane)

    assert 0 < steps.redis.pttl(keys.FOR_SCRIPTS["WOKEN"] % lane) <= 1000

    steps.nobody_looks()
    assert submit(steps, lane)


def test_lanes_are_woken_each_for_itself(steps: JobSteps) -> None:
    steps.beat()

    assert [submit(steps, lane) for lane in LANES * 2] == [True, True, False, False]


def test_nobody_is_called_if_nobody_is_free(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=1)
    steps.beat("stopping", processes=0, bulk=0)
    submit(steps, Lane.BULK)
    steps.take_together(1)
    steps.nobody_looks()

    assert not submit(steps, Lane.BULK)
    assert submit(steps, Lane.SMALL)
    steps.take_together(2)
    assert not submit(steps, Lane.SMALL)


def test_who_takes_calls_another_one_for_what_is_left(steps: JobSteps) -> None:
    steps.beat(processes=3, bulk=3)
    for _ in range(4):
        submit(steps, Lane.BULK)

    taken = [steps.take_together(process) for process in (1, 2, 3)]

    assert [len(one.leases) for one in taken] == [1, 1, 1]
    assert [one.is_message_needed for one in taken] == [True, True, False]


def test_who_takes_all_calls_nobody(steps: JobSteps) -> None:
    for _ in range(5):
        submit(steps)

    taken = steps.take_together()

    assert (len(taken.leases), taken.is_message_needed) == (5, False)


def test_who_takes_a_small_job_calls_another_one_for_bulk_that_waits(steps: JobSteps) -> None:
    submit(steps, Lane.BULK)
    submit(steps, Lane.SMALL)

    taken = steps.take_together()

    assert (taken.leases[0].lane, taken.is_message_needed) == (Lane.SMALL, True)


# --- who is about to look


def test_who_commits_looks_itself(steps: JobSteps) -> None:
    submit(steps)
    steps.commit_all(steps.take_together().leases)
    moments = steps.lengthen_moments()

    assert [submit(steps, lane) for lane in LANES] == [False, False]
    assert all(0 < moment <= 100 for moment in moments)


def test_who_has_looked_holds_nobody_back(steps: JobSteps) -> None:
    submit(steps)
    steps.commit_all(steps.take_together(1).leases)
    submit(steps)

    steps.take_together(1)

    assert [submit(steps, lane) for lane in LANES] == [True, True]


def test_who_may_not_run_bulk_holds_nobody_back_from_it(steps: JobSteps) -> None:
    steps.beat("full", processes=2, bulk=1)
    submit(steps, Lane.BULK)
    steps.take_together(1, worker="full")
    submit(steps)
    small = steps.take_together(2, worker="full").leases
    steps.beat("free")
    steps.nobody_looks()

    steps.commit_all(small)

    assert submit(steps, Lane.BULK)


def test_who_is_told_to_stop_holds_nobody_back(steps: JobSteps) -> None:
    submit(steps)
    leases = steps.take_together().leases
    steps.beat(processes=0, bulk=0)
    steps.beat("free")
    steps.nobody_looks()

    steps.commit_all(leases)

    assert [submit(steps, lane) for lane in LANES] == [True, True]


def test_who_is_back_soon_holds_others_back_from_small_jobs(steps: JobSteps) -> None:
    submit(steps)
    steps.nobody_looks()

    steps.take_together(hold_seconds=60)

    assert [submit(steps, lane) for lane in LANES] == [False, True]
    assert 0 < steps.redis.pttl(keys.FOR_SCRIPTS["WOKEN"] % Lane.SMALL) <= 60_000


def test_nobody_is_held_back_from_what_is_left(steps: JobSteps) -> None:
    for _ in range(2):
        submit(steps)

    taken = steps.take_together(most_jobs=1, hold_seconds=60)

    assert taken.is_message_needed
    assert steps.redis.pttl(keys.FOR_SCRIPTS["WOKEN"] % Lane.SMALL) <= 1000


# --- a bell


@pytest.mark.parametrize("lane", Lane)
def test_of_those_who_linger_one_is_rung_and_no_message_sent(steps: JobSteps, lane: Lane) -> None:
    for process in (1, 2, 3):
        steps.linger(process)

    assert [submit(steps, lane) for _ in range(3)] == [False] * 3

    [name] = rung(steps)
    process = int(name.removeprefix(f"{WORKER} "))
    assert steps.leases.listen(Holder(worker=WORKER, process=process), 1)
    assert rung(steps) == []
    still = {member.decode() for member in steps.redis.zrange(keys.LINGERING, 0, -1)}
    assert still == {f"{WORKER} {other}" for other in {1, 2, 3} - {process}}


def test_who_was_not_rung_hears_nothing(steps: JobSteps) -> None:
    steps.linger(1)

    assert not steps.leases.listen(Holder(worker=WORKER, process=1), 0.05)


def test_who_takes_rings_another_one_for_what_is_left(steps: JobSteps) -> None:
    for process in (1, 2):
        steps.linger(process)
    for number in range(2):
        submit(steps, model_version=str(number + 1))
    [first] = rung(steps)
    steps.redis.delete(keys.FOR_SCRIPTS["BELL"] % first)

    taken = steps.take_together(int(first.removeprefix(f"{WORKER} ")))

    assert (len(taken.leases), taken.is_message_needed) == (1, False)
    [second] = rung(steps)
    assert second != first


def test_bulk_does_not_ring_a_process_that_is_kept_for_small_jobs(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=1)
    submit(steps, Lane.BULK)
    steps.take_together(1)
    steps.linger(2)

    assert not submit(steps, Lane.BULK)
    assert rung(steps) == []
    assert not submit(steps, Lane.SMALL)
    assert rung(steps) == [f"{WORKER} 2"]


def test_bulk_rings_a_process_of_the_worker_that_may_run_it(steps: JobSteps) -> None:
    steps.beat("a", processes=2, bulk=1)
    steps.beat("b", processes=2, bulk=1)
    submit(steps, Lane.BULK)
    steps.take_together(1, worker="a")
    steps.linger(2, worker="a")
    steps.linger(1, worker="b")

    submit(steps, Lane.BULK)

    assert rung(steps) == ["b 1"]


@pytest.mark.parametrize("gone", ["over", "left", "stopping"])
def test_who_lingers_no_more_is_passed_over(steps: JobSteps, gone: str) -> None:
    steps.linger(1, worker="gone")
    steps.beat("here")
    if gone == "over":
        steps.redis.zadd(keys.LINGERING, {"gone 1": 1})
    elif gone == "left":
        steps.registry.leave("gone")
    else:
        steps.beat("gone", processes=0, bulk=0)

    assert submit(steps)

    assert rung(steps) == []
    if gone == "over":
        assert not steps.redis.exists(keys.LINGERING)


def test_a_process_lingers_only_if_there_is_nothing(steps: JobSteps) -> None:
    submit(steps)

    taken = steps.take_together(linger_seconds=60)

    assert (len(taken.leases), taken.lingers) == (1, False)
    assert not steps.redis.exists(keys.LINGERING)
    assert steps.take_together(2) == Taken()
    assert steps.take_together(2, linger_seconds=60) == Taken(lingers=True)
    assert not submit(steps)
    assert rung(steps) == [f"{WORKER} 2"]


def test_who_takes_or_has_no_process_to_spare_lingers_no_more(steps: JobSteps) -> None:
    steps.linger(1)
    steps.take_together(1)
    assert not steps.redis.exists(keys.LINGERING)

    steps.linger(1)
    steps.beat(processes=0, bulk=0)

    assert steps.take_together(1, linger_seconds=60) == Taken()
    assert not steps.redis.exists(keys.LINGERING)


# --- nothing is left waiting


class WakingMachine(RuleBasedStateMachine):
    """A worker of three processes, two of which may run bulk, woken as the store says.

    A process is off until a message comes, looks for work, runs it, looks again, or lingers. At no
    moment may there be work that a process could do, and nobody who is about to look, or has said
    that it is back so soon that nobody else need be woken.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        redis.flushdb()
        self.steps = JobSteps(
            redis=redis,
            store=JobStore(redis),
            intake=make_intake(redis),
            leases=Leases(redis, time_limit_seconds=60, max_job_losses=MAX_JOB_LOSSES),
            registry=WorkerRegistry(redis, dead_after_seconds=1000, max_job_losses=MAX_JOB_LOSSES),
        )
        self.messages = 0
        self.looking: set[int] = set()
        self.lingering: set[int] = set()
        self.running: dict[int, Sequence[Lease]] = {}
        self.back_soon: set[int] = set()

    @initialize()
    def begin(self) -> None:
        self.steps.beat(processes=3, bulk=2)

    @property
    def off(self) -> list[int]:
        busy = self.looking | self.lingering | self.running.keys()
        return [process for process in (1, 2, 3) if process not in busy]

    @rule(lane=st.sampled_from(LANES), version=st.sampled_from("12"))
    def submit(self, lane: Lane, version: str) -> None:
        self.messages += submit(self.steps, lane, model_version=version)

    @precondition(lambda self: self.messages and self.off)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.messages -= 1
        self.looking.add(data.draw(st.sampled_from(self.off)))

    @precondition(lambda self: self.looking)
    @rule(data=st.data(), linger_seconds=st.sampled_from([0, 60]), hold=st.booleans())
    def look(self, data: st.DataObject, linger_seconds: float, *, hold: bool) -> None:
        process = data.draw(st.sampled_from(sorted(self.looking)))
        self._look(process, linger_seconds=linger_seconds, hold_seconds=60 if hold else 0)
        leases = self.running.get(process, ())
        if hold and leases and leases[0].lane is Lane.SMALL:
            self.back_soon.add(process)

    def _look(self, process: int, **terms: float) -> None:
        self.looking.discard(process)
        taken = self.steps.take_together(process, most_jobs=3, **terms)
        self.messages += taken.is_message_needed
        if taken.leases:
            self.running[process] = taken.leases
        elif taken.lingers:
            self.lingering.add(process)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self._commit(data.draw(st.sampled_from(sorted(self.running))))

    def _commit(self, process: int) -> None:
        self.steps.commit_all(self.running.pop(process))
        self.back_soon.discard(process)
        self.looking.add(process)

    @precondition(lambda self: self.lingering)
    @rule(data=st.data())
    def hear_or_tire(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.lingering)))
        self.steps.redis.lpop(keys.bell(WORKER, process))
        self.lingering.remove(process)
        self._look(process)

    @rule()
    def let_time_pass(self) -> None:
        self.steps.nobody_looks()

    @invariant()
    def somebody_looks_for_what_can_be_run(self) -> None:
        is_about_to_look = bool(self.looking or (self.messages and self.off) or self.bells())
        for lane in LANES:
            if self.steps.redis.exists(keys.FOR_SCRIPTS["READY"] % lane) and self.is_free(lane):
                is_held = lane is Lane.SMALL and self.back_soon
                assert is_about_to_look or is_held, lane

    def bells(self) -> list[str]:
        lingering = {f"{WORKER} {process}" for process in self.lingering}
        return [name for name in rung(self.steps) if name in lingering]

    def is_free(self, lane: Lane) -> bool:
        lanes = [leases[0].lane for leases in self.running.values()]
        return len(lanes) < 3 and (lane is Lane.SMALL or lanes.count(Lane.BULK) < 2)

    def teardown(self) -> None:
        """Who is woken does all there is, though nobody looks for themselves now and then."""
        while self.looking or self.running or (self.messages and self.off) or self.bells():
            for process in list(self.running):
                self._commit(process)
            if self.messages and self.off:
                self.messages -= 1
                self.looking.add(self.off[0])
            for process in self.lingering & {int(name.split()[1]) for name in self.bells()}:
                self.lingering.remove(process)
                self.steps.redis.lpop(keys.bell(WORKER, process))
                self.looking.add(process)
            for process in list(self.looking):
                self._look(process, linger_seconds=60)
        assert not list(self.steps.redis.scan_iter("ready:*"))


@pytest.mark.timeout(600)  # Hypothesis takes up to five minutes to make a failure short
def test_whatever_happens_somebody_looks_for_work_that_can_be_done(redis: Redis) -> None:
    run_state_machine_as_test(
        lambda: WakingMachine(redis),
        settings=settings(
            max_examples=150, stateful_step_count=40, suppress_health_check=list(HealthCheck)
        ),
    )
