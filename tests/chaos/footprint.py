"""What a run leaves behind in Redis."""

import re
from dataclasses import dataclass

from redis import Redis

PERMANENT_FAMILIES = {
    # Bounded by themselves: see shared/job_store/keys.py.
    "workers", "speeds", "counters", "backlog", "sweep", "models", "serving", "usage", "api_keys",
    # Until objects of deleted jobs have been looked for twice.
    "garbage",
    # Celery's.
    "unacked", "unacked_index", "unacked_mutex",
}  # fmt: skip
"""The indexes of jobs are not among them: without jobs they have no key."""

BINDINGS = "_kombu.binding"
"""How keys begin in which Celery keeps its queues: one for each, whatever is in it."""

PASSING = re.compile(r"tombstone|idempotency|^work:|^opened:|^callbacks|^session:")
"""Keys of deleted jobs, lines of callbacks, sessions, queues and reports of dead workers: may stay
for a while, and must have a time to live."""

BYTES_PER_DELETED_JOB = 1_000
"""For its tombstone and its idempotency key, with the overhead of a key."""

SLACK_BYTES = 4 * 1024**2
"""Connections and buffers, which come and go with the processes."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Keys by family, with how many have a time to live, and memory."""

    families: dict[str, list[bool]]
    """Family → for each of its keys, whether it has a time to live."""
    memory_bytes: int

    def complaints(self, before: "Footprint", *, deleted_jobs: int) -> list[str]:
        """What there is more of than before, beyond what may be."""
        complaints = []
        for family, are_mortal in self.families.items():
            is_known = family in PERMANENT_FAMILIES or family in before.families
            if PASSING.search(family):
                if not all(are_mortal):
                    complaints.append(f"keys {family} have no time to live")
            elif family.startswith(BINDINGS):
                continue
            elif not is_known or len(are_mortal) > len(before.families.get(family, [True])):
                complaints.append(f"{len(are_mortal)} keys {family} are left")
        allowed = before.memory_bytes + SLACK_BYTES + BYTES_PER_DELETED_JOB * deleted_jobs
        if self.memory_bytes > allowed:
            complaints.append(f"{self.memory_bytes:,} bytes are left of {allowed:,} allowed")
        return complaints


def footprint(redis: Redis) -> Footprint:
    """What is there now."""
    families: dict[str, list[bool]] = {}
    for key in redis.scan_iter(count=1000):
        is_mortal = redis.ttl(key) != -1  # -2, gone meanwhile, is mortal enough
        families.setdefault(_family(key.decode()), []).append(is_mortal)
    return Footprint(families=families, memory_bytes=redis.info("memory")["used_memory"])


def _family(key: str) -> str:
    """The key without what is special to one job or one moment."""
    return re.sub(r"[0-9a-f]{32}|\d+", "*", key)
