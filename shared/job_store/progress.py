"""A job as it goes on, for who watches it: woken by what is told of it, and not polling."""

import time
from collections.abc import Iterator
from typing import Any

from redis import Redis

from shared.errors import StoreUnavailableError
from shared.job_store import keys
from shared.job_store.connection import translated_errors
from shared.job_store.store import OUTAGE_SECONDS, JobStore
from shared.jobs import Job

LOOK_SECONDS = 1.0
"""A watcher looks without being woken so often: a message may be lost, and nobody is told that a
job was begun or has got more rows."""

PAUSE_SECONDS = 0.5
"""Least time between two looks at a job that goes on: its chunks may be committed by the dozen."""


class Progress:
    """Watches jobs. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis, store: JobStore) -> None:
        self._redis = redis
        self._store = store

    def watch(self, job_id: str) -> Iterator[Job | None]:
        """A job as it is now, then every half second to second, and at once when it has ended.

        None while Redis is out of reach; outlasts a restart. Raises JobNotFoundError, JobGoneError,
        StoreUnavailableError while iterating.
        """
        away_since, looked_at = 0.0, time.monotonic()
        with self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
            while True:
                try:
                    _listen(subscription, keys.progress(job_id), looked_at + PAUSE_SECONDS)
                    looked_at = time.monotonic()
                    job = self._store.get(job_id)
                    away_since = 0.0
                except StoreUnavailableError:
                    away_since = away_since or time.monotonic()
                    if time.monotonic() - away_since > OUTAGE_SECONDS:
                        raise
                    yield None
                    continue
                yield job
                if job.has_ended:
                    return


# Any: a PubSub, which has no types.
def _listen(subscription: Any, channel: str, not_before: float) -> None:
    """Return when a chunk was committed, but `not_before` that time; at once when the job has
    ended; after `LOOK_SECONDS` at the latest.

    The first time it is the subscription's own message: what happens after that is heard.
    """
    until = time.monotonic() + LOOK_SECONDS
    with translated_errors():
        if not subscription.subscribed:
            subscription.subscribe(channel)
        while (left := until - time.monotonic()) > 0:
            message = subscription.get_message(timeout=left)
            if message is None:
                continue
            # A chunk's number; a job's end is told by a word.
            if not (message["type"] == "message" and message["data"].isdigit()):
                return
            until = min(until, not_before)
