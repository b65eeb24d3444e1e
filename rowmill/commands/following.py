"""Commands on jobs that exist: status, results, errors, cancel, jobs."""

import click

from rowmill.client import Client
from rowmill.commands.options import (
    format_for,
    format_option,
    json_option,
    show,
    target_option,
    with_client,
    write,
)
from rowmill.commands.predicting import follow, report
from rowmill.jobs import JobStatus
from rowmill.progress_bar import ProgressBar, has_terminal
from rowmill.tables import job_table, job_text

job_argument = click.argument("job_id", metavar="ID")


@click.command()
@job_argument
@click.option("--wait", is_flag=True, help="Wait for the job's end; then the exit code tells it.")
@json_option
@with_client
def status(client: Client, job_id: str, *, wait: bool, is_json: bool) -> None:
    """Show one job."""
    job = client.job(job_id)
    if wait:
        with ProgressBar(is_shown=has_terminal()) as bar:
            follow(job, bar)
    show(job.job.document, job_text(job.job), is_json=is_json)
    if wait:
        report(job.job)


@click.command()
@job_argument
@click.option("--follow", "is_followed", is_flag=True, help="Also before the end, as rows come.")
@target_option
@format_option
@with_client
def results(
    client: Client, job_id: str, *, is_followed: bool, target: str, format_name: str | None
) -> None:
    """Write the predictions of a job."""
    job = client.job(job_id)
    write(job.results(format_for(format_name, target), follow=is_followed), target)


@click.command()
@job_argument
@target_option
@with_client
def errors(client: Client, job_id: str, *, target: str) -> None:
    """List the rows that have no prediction, and why."""
    write(client.job(job_id).errors(format_for(None, target)), target)


@click.command()
@job_argument
@json_option
@with_client
def cancel(client: Client, job_id: str, *, is_json: bool) -> None:
    """Stop a job; its finished rows stay readable."""
    job = client.job(job_id).cancel()
    show(job.document, f"{job.id} {job.status}", is_json=is_json)


@click.command()
@click.option("--status", "wanted", type=click.Choice([str(name) for name in JobStatus]))
@click.option("-m", "--model", help="Only jobs of this model.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--after", metavar="ID", help="Only jobs older than this one.")
@json_option
@with_client
def jobs(
    client: Client,
    *,
    wanted: str | None,
    model: str | None,
    limit: int,
    after: str | None,
    is_json: bool,
) -> None:
    """List jobs, newest first."""
    page = client.jobs(status=wanted, model=model, limit=limit, after=after)
    document = {"jobs": [job.job.document for job in page], "has_more": page.has_more}
    show(document, job_table(job.job for job in page), is_json=is_json)
    if page.has_more and not is_json:
        click.echo(f"There are more: rowmill jobs --after {page.jobs[-1].id}", err=True)
