"""Jobs for the model `fussy`, which multiplies by ten and refuses numbers below zero."""

from pathlib import Path
from typing import Any

from shared.jobs import JobTerms, Lane, new_job_id
from shared.model_repository import ModelRepository
from shared.suspicion import LossReason, Rows
from tests.factories import make_plan, make_spec
from tests.job_steps import JobSteps

BODY = (b"1\n2\n", b"-3\nx\n", b"inf\n4\n")
"""Good, refused by the model, no number, infinite."""
RESULTS = b"1,10,\n2,20,\n3,,prediction_failed\n4,,not_a_number\n5,,not_finite\n6,40,\n"


def submit(
    steps: JobSteps,
    models_dir: Path,
    body: tuple[bytes, ...] = BODY,
    lane: Lane = Lane.BULK,
    **changes: Any,
) -> str:
    """A job for the model `fussy`, a chunk for each part of the body."""
    manifest = ModelRepository(models_dir).resolve("fussy")
    spec = {"model_name": "fussy", "model_sha256": manifest.artifact.sha256} | changes
    job_id = new_job_id()
    steps.intake.create(job_id, make_spec(**spec), JobTerms(lane=lane))
    first_row = 1
    for number, data in enumerate(body):
        rows = data.count(b"\n")
        plan = make_plan(number, rows=rows, first_row=first_row, first_line=first_row + 1)
        steps.intake.append_chunk(job_id, plan, data, result_bytes=0)
        first_row += rows
    steps.close(job_id)
    return job_id


def texts(steps: JobSteps, job_id: str) -> tuple[bytes, bytes]:
    job = steps.store.get(job_id)
    return b"".join(steps.store.results(job)), b"".join(steps.store.errors(job))


def lose(steps: JobSteps, *, rows: Rows | None, times: int = 1) -> None:
    """Lose attempts on the next chunk while they were scoring these rows."""
    for _ in range(times):
        lease = steps.leased()
        steps.leases.begin_part(lease, rows, seconds=1)
        steps.leases.give_back(lease, reason=LossReason.DIED)
