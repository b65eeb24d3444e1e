"""`rowmill predict` and `rowmill submit`: a file in, predictions or a job out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from rowmill.advance import duration_text
from rowmill.client import Client
from rowmill.commands.failures import ExitCode
from rowmill.commands.options import (
    STANDARD_STREAM,
    format_for,
    format_option,
    json_option,
    show,
    source_of,
    submit_options,
    target_option,
    with_client,
    with_submit_options,
    write,
)
from rowmill.errors import OutputError, ProblemError, TransportError
from rowmill.job_handle import JobHandle
from rowmill.jobs import Job
from rowmill.progress_bar import ProgressBar, has_terminal
from rowmill.submission import SubmitOptions


@click.command()
@with_submit_options
@target_option
@format_option
@with_client
def predict(
    client: Client,
    source: str,
    *,
    model: str | None,
    output: str | None,
    join: bool,
    key: str | None,
    delimiter: str | None,
    target: str,
    format_name: str | None,
) -> None:
    """Score FILE ('-' is stdin) and write the predictions.

    Rows that can't be scored don't stop the others: the exit code is then 3.
    """
    options = submit_options(output=output, join=join, key=key, delimiter=delimiter)
    job = _score(client, source, model=model, options=options)
    with remembering(job):
        write(job.results(format_for(format_name, target)), target)
    report(job.job)


@click.command()
@with_submit_options
@json_option
@with_client
def submit(
    client: Client,
    source: str,
    *,
    model: str | None,
    output: str | None,
    join: bool,
    key: str | None,
    delimiter: str | None,
    is_json: bool,
) -> None:
    """Submit FILE ('-' is stdin) and print the job's id at once."""
    options = submit_options(output=output, join=join, key=key, delimiter=delimiter)
    with _bar(source) as bar:
        job = client.submit(source_of(source), model=model, on_sent=bar.sent, **options)
    show(job.job.document, job.id, is_json=is_json)


def follow(job: JobHandle, bar: ProgressBar) -> None:
    """Waits for the job's end under a progress bar."""
    with remembering(job):
        job.wait(on_progress=bar.seen)


@contextmanager
def remembering(job: JobHandle) -> Iterator[None]:
    """Names the job on stderr when the command stops before its end; the job doesn't."""
    try:
        yield
    except (TransportError, ProblemError, OutputError):
        click.echo(_reminder(job), err=True)
        raise
    except KeyboardInterrupt:
        click.echo(_reminder(job), err=True)
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None


def report(job: Job) -> None:
    """One line about the whole job on stderr; ends the process with 3 if rows failed."""
    for warning in job.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(summary(job), err=True)
    if job.counts.failed:
        raise click.exceptions.Exit(ExitCode.SOME_ROWS_FAILED)


def summary(job: Job) -> str:
    """Like `Scored 993 of 1,000 rows in 1.2 s with petrol:1; 7 failed, see …`."""
    counts = job.counts
    took = "" if job.duration_seconds is None else f" in {duration_text(job.duration_seconds)}"
    if not counts.failed:
        return f"Scored {counts.succeeded:,} rows{took} with {job.model}."
    return (
        f"Scored {counts.succeeded:,} of {counts.total:,} rows{took} with {job.model};"
        f" {counts.failed:,} failed, see 'rowmill errors {job.id}'."
    )


def _reminder(job: JobHandle) -> str:
    if job.job.has_ended:
        return f"Job {job.id} has ended; 'rowmill results {job.id}' has its predictions."
    return f"Job {job.id} goes on; see 'rowmill status {job.id}', 'rowmill cancel {job.id}'."


def _score(client: Client, source: str, *, model: str | None, options: SubmitOptions) -> JobHandle:
    with _bar(source) as bar:
        job = client.submit(source_of(source), model=model, on_sent=bar.sent, **options)
        bar.seen(job.job)
        follow(job, bar)
    return job


def _bar(source: str) -> ProgressBar:
    input_bytes = None if source == STANDARD_STREAM else Path(source).stat().st_size
    return ProgressBar(is_shown=has_terminal(), input_bytes=input_bytes)
