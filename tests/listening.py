"""An API process's ear for the ends of jobs, which is closed when the test is over."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

from shared.job_store.ends import Ends
from shared.job_store.store import JobStore
from tests.waiting import wait_until


@contextmanager
def listening(redis: Redis) -> Iterator[Ends]:
    """What an API process has to wait with."""
    ends = Ends(redis, JobStore(redis))
    yield ends
    ends.close()
    for channel in redis.pubsub_channels("ends:*"):
        redis.publish(channel, '["0", []]')  # or it would notice within a second
    wait_until(lambda: listeners(ends) == [])


def listeners(ends: Ends) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread._target == ends._listen]
