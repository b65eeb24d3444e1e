"""The bytes of a chunk that lie in an object store: fetched before it is scored, stored after.

While the object store is away an attempt keeps its chunk, for a while: others could do no better,
unless it is this worker's way to it that is blocked. Then the chunk is given back, which is held
against nobody.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from shared.chunks import ChunkResult
from shared.errors import PayloadLostError, StoreError
from shared.job_store.leases import Lease, Leases, Outcome
from shared.job_store.store import JobStore
from shared.jobs import JobErrorCode
from worker.outage import persistently

PATIENCE_SECONDS = 30.0
"""How long an attempt waits for an object store: longer than a restart takes."""

STAND_BACK_SECONDS = 2.0
"""How long a process asks for nothing after it gave a chunk back, so that others may take it."""


class AttemptOverError(Exception):
    """The result of an attempt is not wanted any more; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, kw_only=True)
class ChunkBytes:
    """Takes and gives the bytes of chunks, wherever they are. Raises AttemptOverError."""

    store: JobStore
    leases: Leases
    time_limit_seconds: float
    patience_seconds: float = PATIENCE_SECONDS

    def fetched(self, lease: Lease) -> Lease:
        """The lease with its records. A job whose records are lost is ended as failed."""
        try:
            return persistently(self.leases.fetched, meanwhile=self._waiting(lease))(lease)
        except PayloadLostError as error:
            # Records of a chunk that somebody else has committed, or of a job that has ended, are
            # not lost but deleted.
            if why := persistently(self._keep)(lease):
                raise AttemptOverError(why) from None
            persistently(self.store.fail)(lease.job_id, JobErrorCode.PAYLOAD_LOST, str(error))
            persistently(self.leases.give_back)(lease)
            raise AttemptOverError(Outcome.ENDED) from None

    def commit(self, lease: Lease, result: ChunkResult) -> Outcome:
        """Store the result of a chunk; what became of it."""
        return persistently(self.leases.commit, meanwhile=self._waiting(lease))(lease, result)

    def _keep(self, lease: Lease) -> Outcome | None:
        """Go on holding a chunk; returns why not."""
        return self.leases.begin_part(lease, None, seconds=self.time_limit_seconds)

    def _waiting(self, lease: Lease) -> Callable[[], None]:
        waiting_since: float | None = None

        def wait() -> None:
            nonlocal waiting_since
            waiting_since = waiting_since or time.monotonic()
            with suppress(StoreError):
                if why := self._keep(lease):
                    raise AttemptOverError(why)
            if time.monotonic() - waiting_since > self.patience_seconds:
                persistently(self.leases.give_back)(lease)
                time.sleep(STAND_BACK_SECONDS)
                raise AttemptOverError(Outcome.RETURNED)

        return wait
