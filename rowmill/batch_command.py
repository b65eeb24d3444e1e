"""`rowmill predict` with several inputs: a line for each, a line for all, the worst exit code."""

import time
from collections.abc import Sequence
from functools import partial

import click

from rowmill.batch import Batch, Item, Outcome, StoppedError
from rowmill.failures import ExitCode, exit_code_of, one_line
from rowmill.formats import Format
from rowmill.options import client_of, show
from rowmill.progress_bar import ProgressBar
from rowmill.reports import told
from rowmill.scoring import Order
from rowmill.tables import counted, duration_text

WORST_FIRST = (ExitCode.NO_SERVER, ExitCode.USAGE, ExitCode.FAILED, ExitCode.SOME_ROWS_FAILED)
"""What the process says is the first of these that an input came to."""


def predict_many(
    context: click.Context,
    items: Sequence[Item],
    order: Order,
    *,
    format: Format,
    is_quiet: bool,
    is_json: bool,
    skipped: int,
) -> None:
    """Scores all items; ends the process with the worst exit code of them.

    `skipped` inputs are none of them, because what would be written is there.
    """
    begin = time.monotonic()
    outcomes = []
    with ProgressBar(is_quiet=is_quiet) as bar:
        bar.expect([item.size_bytes for item in items])
        batch = Batch(partial(client_of, context), order, format=format, track=bar.track)
        try:
            for outcome in batch.outcomes(items):
                outcomes.append(outcome)
                _tell(outcome, bar, is_quiet=is_quiet)
        except KeyboardInterrupt:
            for job_id in batch.running.values():
                bar.say(f"Job {job_id} stays on the server; see 'rowmill status {job_id}'.")
            raise
    if is_json:
        show({"files": [_document(outcome) for outcome in outcomes]}, "", is_json=True)
    if not is_quiet:
        click.echo(_total(outcomes, time.monotonic() - begin, skipped=skipped), err=True)
    codes = {_code(outcome) for outcome in outcomes}
    raise click.exceptions.Exit(next((code for code in WORST_FIRST if code in codes), 0))


def _tell(outcome: Outcome, bar: ProgressBar, *, is_quiet: bool) -> None:
    name = outcome.item.source
    if isinstance(outcome.error, StoppedError):
        return  # the line for all counts it
    if outcome.error is not None:
        bar.say(f"{name}: Error: {one_line(outcome.error)}")
    elif outcome.job is not None and not is_quiet:
        for line in told(outcome.job):
            bar.say(f"{name}: {line}")


def _total(outcomes: Sequence[Outcome], seconds: float, *, skipped: int) -> str:
    """Like `Scored 1,993 of 2,000 rows of 3 files in 4.2 s; 1 more file failed.`."""
    jobs = [outcome.job for outcome in outcomes if outcome.job is not None]
    good, rows = sum(job.succeeded for job in jobs), sum(job.total for job in jobs)
    share = "" if good == rows else f"{good:,} of "
    lost = len(outcomes) - len(jobs)
    more = f"; {counted(lost, 'more file')} failed" if lost else ""
    more += f"; {counted(skipped, 'file')} skipped" if skipped else ""
    done = f"{share}{counted(rows, 'row')} of {counted(len(jobs), 'file')}"
    return f"Scored {done} in {duration_text(seconds)}{more}."


def _code(outcome: Outcome) -> int:
    if outcome.error is not None:
        return exit_code_of(outcome.error)
    has_failed_rows = outcome.job is not None and outcome.job.failed
    return ExitCode.SOME_ROWS_FAILED if has_failed_rows else 0


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        "input": outcome.item.source,
        "output": str(outcome.item.target) if outcome.job else None,
        "job": outcome.job.document if outcome.job else None,
        "error": one_line(outcome.error) if outcome.error else None,
    }
