"""Options that several commands share, and what they stand for."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from rowmill.client import DEFAULT_URL, Client
from rowmill.completion import job_ids, model_names
from rowmill.formats import MEDIA_TYPES, Format, format_of
from rowmill.streams import STANDARD_STREAM

Command = TypeVar("Command", bound=Callable[..., None])
Source = TypeVar("Source", str | None, tuple[str, ...])


def client_of(context: click.Context) -> Client:
    """A client of the server that the command was given, for a thread of its own."""
    given = context.find_root().params
    return Client(given["url"] or DEFAULT_URL, api_key=given["api_key"])


def checked_source(_context: click.Context, parameter: click.Parameter, value: Source) -> Source:
    """Refuses no input at all; click would not say that stdin may be one."""
    if not value:
        raise click.UsageError(f"Missing argument '{parameter.metavar}', or '-' for stdin.")
    return value


def checked_target(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuses a path that can't be written later before any work is done."""
    directory = Path(value).resolve().parent
    if not directory.is_dir():
        raise click.BadParameter(f"there is no directory '{directory}'; create it first.")
    return value


target_option = click.option(
    "-o",
    "--out",
    "target",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True),
    default=STANDARD_STREAM,
    callback=checked_target,
    help="Write here instead of to stdout.",
)
format_option = click.option(
    "--format",
    type=click.Choice(list(MEDIA_TYPES)),
    help="Without it by the name of the -o file, or csv.",
)
guard_option = click.option(
    "--guard-formulas",
    is_flag=True,
    default=None,
    help="For spreadsheets: an apostrophe before cells of a CSV that they would run.",
)
json_option = click.option("--json", "is_json", is_flag=True, help="JSON, for programs, instead.")
quiet_option = click.option(
    "-q", "--quiet", "is_quiet", is_flag=True, help="Say nothing on stderr but errors."
)
job_argument = click.argument("job_id", metavar="ID", shell_complete=job_ids)
model_option = click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=model_names,
    help="NAME, NAME:VERSION or NAME@ALIAS.",
)


def submit_options(command: Command) -> Command:
    """Adds what a job may be asked to do, by the names of `SubmitOptions`."""
    additions = (
        model_option,
        click.option(
            "--output",
            metavar="KIND",
            help="predict, predict_proba, decision_function, transform or contributions.",
        ),
        click.option("--join", flag_value="input", help="Add the input columns to the results."),
        click.option("--key", metavar="COLUMN", help="Carry one input column into the results."),
        click.option(
            "--input-format",
            type=click.Choice(list(MEDIA_TYPES)),
            help="What the input is. Without it by the file's name, or csv.",
        ),
        click.option(
            "--delimiter",
            metavar="CHAR",
            callback=lambda _context, _option, value: "\t" if value == "tab" else value,
            help="One of , ; | or 'tab'.",
        ),
        click.option(
            "--error-threshold", type=int, metavar="N", help="Rows that may fail; -1 is any number."
        ),
        click.option(
            "--deadline", type=int, metavar="SECONDS", help="When the job must have ended."
        ),
        click.option("--expires-in", type=int, metavar="SECONDS", help="How long to keep it."),
        click.option("--strict", is_flag=True, default=None, help="Refuse unknown columns."),
        click.option(
            "--validate-only",
            is_flag=True,
            default=None,
            help="Score nothing; only find the rows that would fail.",
        ),
    )
    for add in reversed(additions):
        command = add(command)
    return command


def format_for(asked: Format | None, target: str) -> Format:
    """The format asked for, else the one the target's name promises."""
    return asked or format_of(target) or "csv"


def show(document: Mapping[str, object], text: str, *, is_json: bool) -> None:
    """Prints the document for programs, or the text for people."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False) if is_json else text)
