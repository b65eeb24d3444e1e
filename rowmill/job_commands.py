"""Commands about one job or all of them: each translates its options and shows the answer."""

from collections.abc import Mapping

import click

from rowmill.client import Client
from rowmill.completion import model_names
from rowmill.formats import Format
from rowmill.jobs import GOOD_END_STATUSES, JobStatus
from rowmill.options import (
    format_for,
    format_option,
    guard_option,
    job_argument,
    json_option,
    model_option,
    quiet_option,
    show,
    target_option,
)
from rowmill.progress_bar import ProgressBar
from rowmill.reports import naming, report
from rowmill.streams import write_to
from rowmill.tables import job_table, job_text


@click.command()
@job_argument
@click.option("--wait", is_flag=True, help="Wait for the job's end; then the exit code tells it.")
@quiet_option
@json_option
@click.pass_obj
def status(client: Client, job_id: str, *, wait: bool, is_quiet: bool, is_json: bool) -> None:
    """Show one job."""
    job = client.job(job_id)
    if wait:
        with ProgressBar(is_quiet=is_quiet) as bar, naming(job_id):
            job = client.wait(job_id, on_progress=bar.track().seen)
    show(job.document, job_text(job), is_json=is_json)
    if wait:
        report(job, is_quiet=is_quiet)


@click.command()
@job_argument
@click.option(
    "--follow",
    is_flag=True,
    help="Write rows of a job that has not ended as they are scored; then the exit code tells its"
    " end.",
)
@click.option("--offset", type=click.IntRange(0), metavar="N", help="Leave out the first N rows.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="Write at most N rows.")
@target_option
@format_option
@guard_option
@quiet_option
@click.pass_obj
def results(
    client: Client,
    job_id: str,
    *,
    follow: bool,
    offset: int | None,
    limit: int | None,
    target: str,
    format: Format | None,
    guard_formulas: bool | None,
    is_quiet: bool,
) -> None:
    """Write the predictions of a job, in the order of its input.

    \b
    rowmill results job_01… -o predictions.parquet
    rowmill results job_01… --follow --format ndjson | while read -r row; do …; done
    """
    blocks = client.results(
        job_id, format_for(format, target), follow=follow, offset=offset, limit=limit,
        guard_formulas=guard_formulas,
    )  # fmt: skip
    if not follow:
        write_to(blocks, target)
        if not is_quiet and (shortfall := client.job(job_id).shortfall):
            click.echo(shortfall, err=True)
        return
    with naming(job_id):
        write_to(blocks, target)
        job = client.job(job_id)
    if job.has_ended and job.status not in GOOD_END_STATUSES:
        raise client.failure_of(job)
    if job.has_ended:  # with a --limit the rows may be there before the end
        report(job, is_quiet=is_quiet)


@click.command()
@job_argument
@target_option
@format_option
@guard_option
@json_option
@click.pass_obj
def errors(
    client: Client,
    job_id: str,
    *,
    target: str,
    format: Format | None,
    guard_formulas: bool | None,
    is_json: bool,
) -> None:
    """List the rows that have no prediction, and why."""
    asked = "json" if is_json else format_for(format, target)
    write_to(client.errors(job_id, asked, guard_formulas=guard_formulas), target)


@click.command()
@job_argument
@json_option
@click.pass_obj
def cancel(client: Client, job_id: str, *, is_json: bool) -> None:
    """Stop a job; its finished rows stay readable."""
    job = client.cancel(job_id)
    show(job.document, f"{job.id} {job.status}", is_json=is_json)


@click.command()
@job_argument
@model_option
@click.option("--wait", is_flag=True, help="Wait for the new job's end; the exit code tells it.")
@quiet_option
@json_option
@click.pass_obj
def retry(
    client: Client, job_id: str, *, model: str | None, wait: bool, is_quiet: bool, is_json: bool
) -> None:
    """Make a new job of the rows that failed in one that has ended, and print its id.

    By default the same model version scores them; rows keep their numbers.
    """
    child_id = client.retry(job_id, model=model).id
    if not is_json:
        click.echo(child_id)
    if not wait:
        if is_json:
            show(client.job(child_id).document, "", is_json=True)
        return
    with ProgressBar(is_quiet=is_quiet) as bar, naming(child_id):
        job = client.wait(child_id, on_progress=bar.track().seen)
    if is_json:
        show(job.document, "", is_json=True)
    report(job, is_quiet=is_quiet)


@click.command()
@job_argument
@click.pass_obj
def delete(client: Client, job_id: str) -> None:
    """Delete a job and its data at once; one that runs is cancelled."""
    client.delete(job_id)
    click.echo(f"deleted {job_id}")


@click.command()
@click.option("--status", type=click.Choice([str(name) for name in JobStatus]))
@click.option(
    "-m", "--model", metavar="NAME", shell_complete=model_names, help="Only jobs of this model."
)
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
    document: Mapping[str, object] = {
        "jobs": [job.document for job in page.jobs],
        "has_more": page.has_more,
    }
    show(document, job_table(page.jobs), is_json=is_json)
    if page.has_more and not is_json:
        click.echo(f"There are more: rowmill jobs --after {page.jobs[-1].id}", err=True)
