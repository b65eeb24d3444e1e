"""One row scored while a page waits for it: each kind of output is a small job of its own."""

import csv
import io
import time
from dataclasses import dataclass

from api.intake.bodies import Body
from api.pages.row_errors import row_errors
from api.specification import SubmitOptions
from api.submission import Sender, Submission, Submitted
from api.waiting import WaitingRoom
from shared.chunks import RowError
from shared.errors import TooManyWaitingError
from shared.job_store.ends import Awaited, Seen
from shared.job_store.store import JobStore
from shared.jobs import InputFormat, Job
from shared.manifest import Manifest
from shared.signature import OutputColumn, OutputKind

WAIT_SECONDS = 10.0
"""How long a page waits; after that it shows where the job is."""

KEPT_SECONDS = 3600
"""How long the job of a form is kept: long enough to look at it, and no clutter tomorrow."""

EXPLANATIONS = (OutputKind.PREDICT_PROBA, OutputKind.CONTRIBUTIONS)
"""What is shown beside a prediction, where a model offers it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one job of one row."""

    job: Job
    values: tuple[tuple[OutputColumn, str], ...] = ()
    """The columns of the output and their texts; empty without a prediction."""
    errors: tuple[RowError, ...] = ()
    """What is wrong with the row."""
    failure: str = ""
    """Why the job failed, where the row is not to blame."""


@dataclass(frozen=True, kw_only=True)
class RowScorer:
    """Scores single rows. Safe to share by threads."""

    submission: Submission
    store: JobStore
    waiting_room: WaitingRoom

    def score(self, manifest: Manifest, table: bytes, sender: Sender) -> dict[OutputKind, Outcome]:
        """The outcomes of the one row in `table`, a CSV, by this very version: the default output
        first, and what explains it if there is a prediction.

        Raises TooManyWaitingError and what `Submission.submit` raises.
        """
        offered = manifest.signature.outputs
        deadline = time.monotonic() + WAIT_SECONDS
        with self.waiting_room.thread() as may_wait:
            if not may_wait:
                raise TooManyWaitingError
            default = manifest.signature.default_output
            first = self._outcome(self._submit(manifest, default, table, sender), deadline)
            outcomes = {default: first}
            if first.values:
                kinds = [kind for kind in EXPLANATIONS if kind in offered and kind != default]
                submitted = [(k, self._submit(manifest, k, table, sender)) for k in kinds]
                outcomes |= {kind: self._outcome(job, deadline) for kind, job in submitted}
        return outcomes

    def _submit(
        self, manifest: Manifest, output: OutputKind, table: bytes, sender: Sender
    ) -> Submitted:
        reference = f"{manifest.name}:{manifest.version}"
        options = SubmitOptions(model=reference, output=output, expires_in=KEPT_SECONDS)
        body = Body(iter([table]), InputFormat.CSV)
        sent_by = Sender(owner=sender.owner, caller=sender.caller, announced_bytes=len(table))
        return self.submission.submit(options, body, sent_by)

    def _outcome(self, submitted: Submitted, deadline: float) -> Outcome:
        seen = self._ended(submitted.job, deadline)
        job = seen.job
        if not job.has_ended:
            return Outcome(job=job)
        if not job.succeeded:
            errors = tuple(row_errors(job, self.store))
            failure = "" if errors else job.error_detail or f"The job was {job.status}."
            return Outcome(job=job, errors=errors, failure=failure)
        text = seen.results or b"".join(self.store.results(job))
        record = next(csv.reader(io.StringIO(text.decode(), newline="")))
        # Between the number of the row and its error.
        columns = zip(job.spec.result_columns, record, strict=True)
        return Outcome(job=job, values=tuple(columns)[1:-1])

    def _ended(self, job: Job | Awaited, deadline: float) -> Seen:
        if isinstance(job, Job):
            if job.has_ended:
                return Seen(job=job)
            job = Awaited(job_id=job.id, spec=job.spec)
        hearing = self.waiting_room.ends.hear(job)
        try:
            return hearing.wait(timeout_seconds=max(0.0, deadline - time.monotonic()))
        finally:
            hearing.close()
