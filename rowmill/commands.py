"""The commands of `rowmill`: each translates its options, calls the client, shows the answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

import click

from rowmill.client import DEFAULT_URL, Client
from rowmill.errors import JobFailedError, RowmillError
from rowmill.failures import ExitCode, FailingGroup
from rowmill.formats import Format
from rowmill.jobs import Job, JobStatus
from rowmill.model_commands import models
from rowmill.options import (
    STANDARD_STREAM,
    format_for,
    format_option,
    input_of,
    job_argument,
    json_option,
    show,
    submit_options,
    target_option,
    write_to,
)
from rowmill.progress_bar import ProgressBar
from rowmill.submission import SubmitOptions
from rowmill.tables import job_summary, job_table, job_text


@click.group(cls=FailingGroup)
@click.option(
    "--url", envvar="ROWMILL_URL", default=DEFAULT_URL, show_default=True, help="The server."
)
@click.version_option(package_name="rowmill")
@click.pass_context
def root(context: click.Context, url: str) -> None:
    """Score tables with the models of a Rowmill server.

    \b
    rowmill models
    rowmill predict petrol.csv --model petrol -o predictions.csv

    Exit codes: 0 good, 1 the request or the job failed, 2 wrong usage,
    3 some rows failed, 4 no server was reached.
    """
    context.obj = context.with_resource(Client(url))


@root.command()
@submit_options
@target_option
@format_option
@click.pass_obj
def predict(
    client: Client,
    source: str,
    *,
    target: str,
    format: Format | None,
    **options: Unpack[SubmitOptions],
) -> None:
    """Score FILE ('-' is stdin) and write the predictions.

    Rows that can't be scored don't stop the others: the exit code is then 3.
    """
    with _bar(source) as bar:
        job = client.submit(input_of(source), on_sent=bar.sent, **options).job
        with _naming(job):
            job = client.wait(job.id, on_progress=bar.seen)
    with _naming(job):
        write_to(client.results(job.id, format_for(format, target)), target)
    _report(job)


@root.command()
@submit_options
@json_option
@click.pass_obj
def submit(client: Client, source: str, *, is_json: bool, **options: Unpack[SubmitOptions]) -> None:
    """Submit FILE ('-' is stdin) and print the job's id at once."""
    with _bar(source) as bar:
        job = client.submit(input_of(source), on_sent=bar.sent, **options).job
    show(job.document, job.id, is_json=is_json)


@root.command()
@job_argument
@click.option("--wait", is_flag=True, help="Wait for the job's end; then the exit code tells it.")
@json_option
@click.pass_obj
def status(client: Client, job_id: str, *, wait: bool, is_json: bool) -> None:
    """Show one job."""
    job = client.job(job_id)
    if wait:
        with ProgressBar() as bar, _naming(job):
            job = client.wait(job_id, on_progress=bar.seen)
    show(job.document, job_text(job), is_json=is_json)
    if wait:
        _report(job)


@root.command()
@job_argument
@target_option
@format_option
@click.pass_obj
def results(client: Client, job_id: str, *, target: str, format: Format | None) -> None:
    """Write the predictions of a job that has ended."""
    write_to(client.results(job_id, format_for(format, target)), target)


@root.command()
@job_argument
@target_option
@format_option
@click.pass_obj
def errors(client: Client, job_id: str, *, target: str, format: Format | None) -> None:
    """List the rows that have no prediction, and why."""
    write_to(client.errors(job_id, format_for(format, target)), target)


@root.command()
@job_argument
@json_option
@click.pass_obj
def cancel(client: Client, job_id: str, *, is_json: bool) -> None:
    """Stop a job; its finished rows stay readable."""
    job = client.cancel(job_id)
    show(job.document, f"{job.id} {job.status}", is_json=is_json)


@root.command()
@click.option("--status", type=click.Choice([str(name) for name in JobStatus]))
@click.option("-m", "--model", help="Only jobs of this model.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--after", metavar="ID", help="Only jobs older than this one.")
@json_option
@click.pass_obj
def jobs(
    client: Client,
    *,
    status: str | None,
    model: str | None,
    limit: int,
    after: str | None,
    is_json: bool,
) -> None:
    """List jobs, newest first."""
    page = client.jobs(status=status, model=model, limit=limit, after=after)
    document = {"jobs": [job.document for job in page.jobs], "has_more": page.has_more}
    show(document, job_table(page.jobs), is_json=is_json)
    if page.has_more and not is_json:
        click.echo(f"There are more: rowmill jobs --after {page.jobs[-1].id}", err=True)


root.add_command(models)


@contextmanager
def _naming(job: Job) -> Iterator[None]:
    """Names the job on stderr when the command stops before its end; the job doesn't."""
    try:
        yield
    except JobFailedError:
        raise  # it names the job itself
    except (RowmillError, KeyboardInterrupt):
        known = f"'rowmill status {job.id}', 'rowmill results {job.id}'"
        click.echo(f"Job {job.id} stays on the server; see {known}.", err=True)
        raise


def _bar(source: str) -> ProgressBar:
    is_stream = source == STANDARD_STREAM
    return ProgressBar(input_bytes=None if is_stream else Path(source).stat().st_size)


def _report(job: Job) -> None:
    """Warnings and a line about the whole job on stderr; ends the process with 3 if rows failed."""
    for warning in job.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(job_summary(job), err=True)
    if job.failed:
        raise click.exceptions.Exit(ExitCode.SOME_ROWS_FAILED)
