"""`rowmill predict` and `rowmill submit`: files go to the server, predictions come back."""

from collections.abc import Sequence
from typing import Unpack

import click

from rowmill.batch_command import predict_many
from rowmill.client import Client
from rowmill.formats import Format
from rowmill.input_files import input_files
from rowmill.options import (
    checked_source,
    format_for,
    format_option,
    guard_option,
    json_option,
    quiet_option,
    show,
    submit_options,
)
from rowmill.progress_bar import ProgressBar
from rowmill.reports import naming, report
from rowmill.scoring import Order, awaited, submitted, write_outcome
from rowmill.streams import STANDARD_STREAM, input_bytes
from rowmill.submission import SubmitOptions
from rowmill.targets import EXISTING, items_in, target_of_one


@click.command()
@click.argument("sources", metavar="FILE...", nargs=-1, type=click.Path(), callback=checked_source)
@submit_options
@click.option(
    "-o",
    "--out",
    "target",
    type=click.Path(allow_dash=True),
    default=STANDARD_STREAM,
    help="Write here instead of to stdout: a file, or a directory for several inputs.",
)
@format_option
@guard_option
@click.option(
    "--existing",
    type=click.Choice(EXISTING),
    default="fail",
    show_default=True,
    help="What to do if a file that would be written into a directory is there already.",
)
@quiet_option
@json_option
@click.pass_context
def predict(
    context: click.Context,
    sources: Sequence[str],
    *,
    target: str,
    format: Format | None,
    input_format: Format | None,
    guard_formulas: bool | None,
    existing: str,
    is_quiet: bool,
    is_json: bool,
    **options: Unpack[SubmitOptions],
) -> None:
    """Score FILEs and write the predictions.

    FILE may be '-' for stdin, a directory (its *.csv, *.ndjson, *.json, *.parquet and *.arrow
    files, also *.gz) or a quoted pattern. Several inputs need a directory behind -o, which is
    made: the predictions of data.csv are data.predictions.csv there.

    \b
    rowmill predict petrol.csv --model petrol -o predictions.csv
    cat petrol.csv | rowmill predict - --model petrol | head
    rowmill predict data/ 'more/*.parquet' --model petrol -o out/

    Rows that can't be scored don't stop the others: the exit code is then 3. Of several files
    the worst exit code counts.
    """
    order = Order(options=options, input_format=input_format, guard_formulas=guard_formulas)
    files = input_files(sources)
    if is_json and target == STANDARD_STREAM:
        raise click.UsageError("stdout takes the predictions; with --json name a file with -o.")
    if not files.is_one:
        items = items_in(files, target, format=format or "csv", existing=existing)
        predict_many(
            context, items, order, format=format or "csv", is_quiet=is_quiet, is_json=is_json,
            skipped=len(files.names) - len(items),
        )  # fmt: skip
        return
    target = target_of_one(files.names[0], target, format=format, existing=existing)
    _predict_one(
        context.obj, files.names[0], order, target=target, format=format_for(format, target),
        is_quiet=is_quiet, is_json=is_json,
    )  # fmt: skip


def _predict_one(
    client: Client,
    source: str,
    order: Order,
    *,
    target: str,
    format: Format,
    is_quiet: bool,
    is_json: bool,
) -> None:
    with ProgressBar(is_quiet=is_quiet) as bar:
        track = bar.track(input_bytes(source))
        job_id = submitted(client, source, order, on_sent=track.sent)
        with naming(job_id):
            job = awaited(client, job_id, order, on_progress=track.seen)
    with naming(job_id):
        write_outcome(client, job_id, order, target=target, format=format)
    if is_json:
        show(job.document, "", is_json=True)
    report(job, is_quiet=is_quiet)


@click.command()
@click.argument(
    "source",
    metavar="FILE",
    required=False,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    callback=checked_source,
)
@submit_options
@click.option(
    "--callback-url", metavar="URL", help="Where the server posts the job when it has ended."
)
@quiet_option
@json_option
@click.pass_obj
def submit(
    client: Client,
    source: str,
    *,
    input_format: Format | None,
    is_quiet: bool,
    is_json: bool,
    **options: Unpack[SubmitOptions],
) -> None:
    """Submit FILE ('-' is stdin) and print the job's id at once.

    \b
    job=$(rowmill submit petrol.csv --model petrol)
    rowmill results "$job" --follow
    """
    order = Order(options=options, input_format=input_format)
    with ProgressBar(is_quiet=is_quiet) as bar:
        track = bar.track(input_bytes(source))
        job_id = submitted(client, source, order, on_sent=track.sent)
    if is_json:
        show(client.job(job_id).document, "", is_json=True)
    else:
        click.echo(job_id)
