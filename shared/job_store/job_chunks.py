"""The chunks of one job, for who looks at it: how each stands, who scored it, its first results.

Reads alone, in few commands; what takes a command for each chunk is asked of few of them. All
methods raise StoreUnavailableError when Redis does not answer in time; `result_heads` raises
PayloadStoreUnavailableError, too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from redis import Redis

from shared import payloads
from shared.job_store import keys
from shared.job_store.connection import text, translated_errors
from shared.job_store.scripts import Scripts
from shared.jobs import Job

MAX_CHUNKS = 10_000
"""Of a job with more of them nobody is told how each stands: that would take the server, which
serves nobody else meanwhile, more than a few milliseconds."""


HEADS_AT_ONCE = 4
"""The server copies all of a chunk's results, some MB, to cut off their head."""


class ChunkState(StrEnum):
    """How a chunk stands."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    DROPPED = "dropped"
    """Its job ended before it was scored."""


class JobChunks:
    """Looks at chunks. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, "read_heads")

    def states(self, job: Job) -> list[ChunkState]:
        """How each chunk of the job stands; nothing if it has more than `MAX_CHUNKS`."""
        if job.chunks_total > MAX_CHUNKS:
            return []
        if job.has_ended and job.chunks_done == job.chunks_total:
            return [ChunkState.DONE] * job.chunks_total
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hkeys(keys.results(job.id))
            pipe.lrange(keys.returned(job.id), 0, -1)
            pipe.hget(keys.record(job.id), "chunks_taken")
            done, returned, taken = pipe.execute()
        behind = 0 if job.has_ended else int(taken or 0)
        rest = ChunkState.DROPPED if job.has_ended else ChunkState.WAITING
        states = [rest] * job.chunks_total
        # Chunks are taken in order; who gave one back is the exception.
        states[:behind] = [ChunkState.RUNNING] * min(behind, job.chunks_total)
        for numbers, state in ((returned, rest), (done, ChunkState.DONE)):
            for number in map(int, numbers):
                # One may have been appended after the snapshot.
                if number < len(states):
                    states[number] = state
        return states

    def workers(self, job: Job) -> dict[str, int]:
        """How many of the committed chunks each worker scored, most first; nothing for a job with
        more than `MAX_CHUNKS` chunks or of an earlier Rowmill."""
        done = self.done(job)
        if not done:
            return {}
        with translated_errors():
            names = self._redis.hmget(keys.chunks(job.id), [f"{number}:worker" for number in done])
        return dict(Counter(text(name) for name in names if name).most_common())

    def done(self, job: Job) -> list[int]:
        """Numbers of the committed chunks, in order, as far as `states` tells."""
        states = self.states(job)
        return [number for number, state in enumerate(states) if state is ChunkState.DONE]

    def result_heads(self, job: Job, numbers: Sequence[int], *, size_bytes: int) -> list[bytes]:
        """The first so many bytes of the result lines of each of these chunks.

        What lies behind is cut off, as a rule within a line. Chunks without results are left out.
        """
        if job.spec.payload_url:
            return self._heads_elsewhere(job, numbers, size_bytes)
        steps = [numbers[at : at + HEADS_AT_ONCE] for at in range(0, len(numbers), HEADS_AT_ONCE)]
        found = (self._scripts.run("read_heads", job.id, size_bytes, *step) for step in steps)
        return [head for some in found for head in some if head]

    def _heads_elsewhere(self, job: Job, numbers: Sequence[int], size_bytes: int) -> list[bytes]:
        if not numbers:
            return []
        with translated_errors():
            found = self._redis.hmget(keys.results(job.id), [str(number) for number in numbers])
        whole = (payloads.Reference.parse(text(reference)) for reference in found if reference)
        parts = (replace(reference, size=min(reference.size, size_bytes)) for reference in whole)
        return [head for head in payloads.opened(job.spec.payload_url).read_all(parts) if head]
