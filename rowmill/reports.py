"""What commands say on stderr about a job, and the exit code that goes with it."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from rowmill.errors import JobFailedError, RowmillError
from rowmill.failures import ExitCode
from rowmill.jobs import Job
from rowmill.tables import job_summary, validation_summary


@contextmanager
def naming(job_id: str) -> Iterator[None]:
    """Names the job on stderr when the command stops before its end; the job doesn't."""
    try:
        yield
    except JobFailedError:
        raise  # it names the job itself
    except (RowmillError, KeyboardInterrupt):
        known = f"'rowmill status {job_id}', 'rowmill results {job_id}'"
        click.echo(f"Job {job_id} stays on the server; see {known}.", err=True)
        raise


def report(job: Job, *, is_quiet: bool = False) -> None:
    """Warnings and a line about the whole job; ends the process with 3 if rows failed."""
    if not is_quiet:
        for line in told(job):
            click.echo(line, err=True)
    if job.failed:
        raise click.exceptions.Exit(ExitCode.SOME_ROWS_FAILED)


def told(job: Job) -> Iterator[str]:
    """The lines about a job that has ended well."""
    for warning in job.warnings:
        yield f"Warning: {warning}"
    is_validation = job.document.get("validate_only", False)
    yield validation_summary(job) if is_validation else job_summary(job)
