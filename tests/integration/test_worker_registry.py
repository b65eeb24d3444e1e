"""Workers are counted on as long as they are heard of, and models are as fast as measured."""

import pytest
from redis import Redis

from shared.job_store import keys, workers
from shared.job_store.workers import WorkerRegistry


@pytest.fixture
def registry(redis: Redis) -> WorkerRegistry:
    return WorkerRegistry(redis)


def test_live_workers_are_counted_by_their_processes(registry: WorkerRegistry) -> None:
    assert registry.live_processes() == 0

    registry.beat("a", processes=2)
    registry.beat("b", processes=3)
    registry.beat("a", processes=4)

    assert registry.live_processes() == 7


def test_a_worker_not_heard_of_is_dead_until_it_beats_again(
    registry: WorkerRegistry, redis: Redis
) -> None:
    registry.beat("a", processes=2)
    registry.beat("b", processes=1)
    age(redis, "a", seconds=workers.DEAD_AFTER_SECONDS + 1)
    assert (registry.live_processes(), registry.is_live("a")) == (1, False)

    registry.beat("a", processes=2)

    assert (registry.live_processes(), registry.is_live("a")) == (3, True)


def age(redis: Redis, worker: str, *, seconds: float) -> None:
    """Make a worker's last beat older."""
    seen, processes = redis.hget(keys.WORKERS, worker).split()
    redis.hset(keys.WORKERS, worker, f"{float(seen) - seconds:.3f} {int(processes)}")


def test_a_worker_dead_for_long_is_forgotten(registry: WorkerRegistry, redis: Redis) -> None:
    registry.beat("old", processes=2)
    registry.beat("quiet", processes=2)
    age(redis, "old", seconds=workers.FORGOTTEN_AFTER_SECONDS + 1)
    age(redis, "quiet", seconds=workers.FORGOTTEN_AFTER_SECONDS - 60)

    registry.beat("new", processes=1)

    assert set(redis.hkeys(keys.WORKERS)) == {b"quiet", b"new"}


def test_a_worker_that_leaves_is_not_counted_on(registry: WorkerRegistry) -> None:
    registry.beat("a", processes=2)

    registry.leave("a")

    assert (registry.live_processes(), registry.is_live("a")) == (0, False)


@pytest.mark.parametrize(("processes", "window"), [(0, 4), (1, 4), (2, 4), (3, 6), (16, 32)])
def test_the_window_grows_with_the_live_processes(
    registry: WorkerRegistry, processes: int, window: int
) -> None:
    if processes:
        registry.beat("a", processes=processes)

    assert registry.window() == window


def test_the_speed_of_a_model_is_smoothed(registry: WorkerRegistry) -> None:
    assert registry.speed("m/1") is None

    registry.record_speed("m/1", 1000.0)
    registry.record_speed("m/1", 2000.0)
    registry.record_speed("m/2", 5.0)

    assert (registry.speed("m/1"), registry.speed("m/2")) == (1300.0, 5.0)


def test_a_lasting_change_of_speed_is_followed(registry: WorkerRegistry) -> None:
    registry.record_speed("m/1", 1000.0)

    for _ in range(12):
        registry.record_speed("m/1", 100.0)

    assert registry.speed("m/1") == pytest.approx(100, rel=0.2)


def test_one_odd_measurement_does_not_carry_the_speed_away(registry: WorkerRegistry) -> None:
    registry.record_speed("m/1", 100.0)

    registry.record_speed("m/1", 1e9)

    assert registry.speed("m/1") <= 100 * workers.MAX_SPEED_UP


def test_a_speed_can_be_forgotten(registry: WorkerRegistry) -> None:
    registry.record_speed("m/1", 100.0)
    registry.record_speed("m/2", 100.0)

    registry.forget_speed("m/1")

    assert (registry.speed("m/1"), registry.speed("m/2")) == (None, 100.0)
