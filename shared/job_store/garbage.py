"""Objects that nobody needs any more: noted by the scripts, which can't reach them; deleted here.

A note stays until its objects are deleted, so whoever dies meanwhile is made up for by the next.
All of a job's objects are looked for twice: when it goes, and once more when whoever was about to
write one has learnt that it is gone.
"""

import logging
from dataclasses import dataclass

from redis import Redis

from shared import payloads
from shared.job_store import keys
from shared.job_store.connection import translated_errors
from shared.job_store.scripts import Scripts

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 60.0
"""Who has claimed a note and not done with it in so long is dead, or its object store is away."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is to be deleted: the objects under a URL whose names begin with `prefix`."""

    text: str

    @property
    def prefix(self) -> str:
        return self.text.split(" ")[0]

    @property
    def url(self) -> str:
        return self.text.split(" ")[2]


class Garbage:
    """Works notes off. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, "claim_garbage")

    def work_off(self) -> None:
        """Delete what is due. Raises StoreError; what is left then is due again in a minute."""
        while found := self._scripts.run("claim_garbage", round(CLAIM_SECONDS * 1000)):
            self.clear(Note(text=found.decode()))

    def clear(self, note: Note) -> None:
        """Delete what a note is of, and the note. Idempotent. Raises StoreError."""
        deleted = payloads.opened(note.url).clear(note.prefix)
        with translated_errors():
            self._redis.zrem(keys.GARBAGE, note.text)
        logger.info("objects deleted", extra={"prefix": note.prefix, "objects": deleted})
