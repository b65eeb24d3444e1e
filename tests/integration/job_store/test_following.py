"""Results followed while chunks are committed: in order, woken, and whatever happens to the job."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

from shared.errors import JobGoneError, JobNotFoundError
from shared.jobs import JobErrorCode, new_job_id
from tests.job_steps import JobSteps
from tests.waiting import wait_until


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers look for themselves so late that only a message wakes them in time."""
    monkeypatch.setattr("shared.job_store.store.LOOK_SECONDS", 60)


def rest_of(texts: Iterator[bytes]) -> list[bytes]:
    """All that still comes, without the looks at nothing new."""
    return [text for text in texts if text]


def next_text(texts: Iterator[bytes]) -> bytes:
    return wait_until(lambda: next(texts))


# --- order


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_chunk_is_given_as_soon_as_it_and_all_before_it_are_committed(
    steps: JobSteps, order: tuple[int, ...]
) -> None:
    job_id = steps.submit(chunks=4)
    leases = [steps.leased(process) for process in range(1, 5)]
    texts = steps.store.follow(job_id)
    given: list[bytes] = [next(texts)]
    committed: set[int] = set()

    for chunk in order:
        steps.commit(leases[chunk])
        committed.add(chunk)
        ready = next(n for n in range(5) if n not in committed)
        while len(rest_of(iter(given))) < ready:
            given.append(next(texts))

    given += texts
    assert rest_of(iter(given)) == [b"chunk %d\n" % number for number in range(4)]
    assert given[0] == b""


def test_a_job_is_followed_while_its_body_arrives(steps: JobSteps) -> None:
    job_id = steps.create()
    texts = steps.store.follow(job_id)

    nothing = next(texts)
    steps.append(job_id, 0)
    steps.run()
    first = next_text(texts)
    steps.append(job_id, 1)
    steps.run()
    steps.close(job_id)

    assert (nothing, first) == (b"", b"chunk 0\n")
    assert rest_of(texts) == [b"chunk 1\n"]


def test_a_job_that_has_ended_is_given_as_it_is(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    steps.run_all()

    assert list(steps.store.follow(job_id)) == steps.results(job_id)


# --- ends


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "end",
    [
        lambda steps, job_id: steps.store.cancel(job_id),
        lambda steps, job_id: steps.store.fail(job_id, JobErrorCode.UPLOAD_INCOMPLETE, "Gone."),
        lambda steps, job_id: (steps.make_due("deadlines", job_id), steps.sweep()),
    ],
    ids=["cancel", "fail", "deadline"],
)
def test_of_a_job_that_ends_early_all_that_is_finished_is_given(
    steps: JobSteps, end: Callable[[JobSteps, str], object]
) -> None:
    job_id = steps.submit(chunks=5, deadline_seconds=50)
    leases = [steps.leased(process) for process in range(1, 5)]
    for chunk in (0, 3, 2):
        steps.commit(leases[chunk])
    texts = steps.store.follow(job_id)
    first = next_text(texts)

    end(steps, job_id)

    assert first == b"chunk 0\n"
    assert rest_of(texts) == [b"chunk 2\n", b"chunk 3\n"] == steps.results(job_id)[1:]


@pytest.mark.usefixtures("patient")
def test_chunks_that_will_never_come_are_not_waited_for(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.job_store.store.READ_CHUNKS", 2)
    job_id = steps.submit(chunks=9)
    leases = [steps.leased(process) for process in range(1, 9)]
    steps.commit(leases[7])
    texts = steps.store.follow(job_id)
    next(texts)
    steps.store.cancel(job_id)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(rest_of, texts).result(timeout=10) == [b"chunk 7\n"]


@pytest.mark.usefixtures("patient")
def test_who_follows_learns_that_their_job_was_deleted(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2)
    steps.run()
    texts = steps.store.follow(job_id)
    next_text(texts)

    steps.store.delete(job_id)

    with pytest.raises(JobGoneError, match="deleted"):
        rest_of(texts)


def test_who_follows_learns_that_their_job_has_expired(steps: JobSteps) -> None:
    job_id = steps.submit()
    texts = steps.store.follow(job_id)
    next(texts)

    steps.expire(job_id)

    with pytest.raises(JobGoneError, match="expired"):
        rest_of(texts)


def test_a_job_that_never_was_can_not_be_followed(steps: JobSteps) -> None:
    with pytest.raises(JobNotFoundError):
        next(steps.store.follow(new_job_id()))


# --- notifications


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "change",
    [lambda steps, _: steps.run(), lambda steps, job_id: steps.store.cancel(job_id)],
    ids=["commit", "end"],
)
def test_who_follows_is_woken(steps: JobSteps, change: Callable[[JobSteps, str], object]) -> None:
    job_id = steps.submit(chunks=2)
    texts = steps.store.follow(job_id)
    next(texts)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, texts, b"end")

        change(steps, job_id)

        assert following.result(timeout=10) in {b"chunk 0\n", b"", b"end"}


def test_a_follower_whose_notification_was_lost_finds_the_chunk_within_seconds(
    steps: JobSteps,
) -> None:
    job_id = steps.submit(chunks=2)
    texts = steps.store.follow(job_id)
    next(texts)

    assert steps.redis.client_kill_filter(_type="pubsub") == 1
    steps.run_all()

    found = [wait_until(lambda: next(texts), timeout=5), *rest_of(texts)]
    assert found == [b"chunk 0\n", b"chunk 1\n"]


def test_a_follower_who_stops_leaves_no_subscription(steps: JobSteps) -> None:
    texts = steps.store.follow(steps.submit())
    next(texts)
    assert len(steps.redis.client_list(_type="pubsub")) == 1

    texts.close()  # type: ignore[attr-defined]

    wait_until(lambda: not steps.redis.client_list(_type="pubsub"))
