"""Options that several commands share."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Concatenate, ParamSpec, TypeVar

import click

from rowmill.client import DEFAULT_URL, Client
from rowmill.downloads import save
from rowmill.errors import OutputError
from rowmill.formats import ResultFormat, format_of
from rowmill.submission import SubmitOptions

Options = ParamSpec("Options")
Answer = TypeVar("Answer")

STANDARD_STREAM = "-"
"""Stands for stdin or stdout where a path is asked for."""


def with_client(
    command: Callable[Concatenate[Client, Options], Answer],
) -> Callable[Options, Answer]:
    """Adds `--url` and `--api-key` and passes the client they make as first argument."""

    @click.option(
        "--url", envvar="ROWMILL_URL", default=DEFAULT_URL, show_default=True, help="The server."
    )
    @click.option("--api-key", envvar="ROWMILL_API_KEY", help="Sent as a bearer token.")
    @functools.wraps(command)
    def run(*args: Options.args, **kwargs: Options.kwargs) -> Answer:
        url, api_key = str(kwargs.pop("url")), kwargs.pop("api_key")
        with Client(url, api_key=str(api_key) if api_key else None) as client:
            return command(client, *args, **kwargs)

    return run


def with_submit_options(command: Callable[Options, Answer]) -> Callable[Options, Answer]:
    """Adds FILE and what a job may be asked to do, for `submit_options` to read."""
    path = click.Path(exists=True, dir_okay=False, allow_dash=True)

    @click.argument("source", metavar="FILE", type=path)
    @click.option("-m", "--model", help="NAME, NAME:VERSION or NAME@ALIAS.")
    @click.option("--output", metavar="KIND", help="predict, predict_proba, …")
    @click.option("--join", is_flag=True, help="Append the input columns to the results.")
    @click.option("--key", metavar="COLUMN", help="Carry one input column into the results.")
    @click.option("--delimiter", metavar="CHAR", help="Between columns; 'tab' for a tab.")
    @functools.wraps(command)
    def run(*args: Options.args, **kwargs: Options.kwargs) -> Answer:
        return command(*args, **kwargs)

    return run


def submit_options(
    *, output: str | None, join: bool, key: str | None, delimiter: str | None
) -> SubmitOptions:
    """The options as the client takes them."""
    return SubmitOptions(
        output=output,
        join="input" if join else None,
        key=key,
        delimiter="\t" if delimiter in {"tab", "\\t"} else delimiter,
    )


def source_of(path: str) -> Path | BinaryIO:
    """The file to submit."""
    return sys.stdin.buffer if path == STANDARD_STREAM else Path(path)


def checked_target(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """The path to write to; refused before any work is done if it can't be written later."""
    if value is None or value == STANDARD_STREAM:
        return STANDARD_STREAM
    path = Path(value).resolve()
    if path.is_dir():
        raise click.BadParameter(f"'{value}' is a directory; name a file.")
    if not path.parent.is_dir():
        raise click.BadParameter(f"There is no directory '{path.parent}'; create it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.BadParameter(f"'{value}' can't be written here; name another file.")
    return value


target_option = click.option(
    "-o",
    "--out",
    "target",
    metavar="FILE",
    callback=checked_target,
    help="Write here instead of to stdout.",
)

format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice([str(name) for name in ResultFormat]),
    help="Of the results; without it by the name of the -o file, or csv.",
)

json_option = click.option("--json", "is_json", is_flag=True, help="The server's JSON instead.")


def format_for(format_name: str | None, target: str) -> ResultFormat:
    """The format asked for, else the one the target's name promises."""
    return ResultFormat(format_name) if format_name else format_of(Path(target))


def write(blocks: Iterable[bytes], target: str) -> None:
    """Writes to the target: a path whole or not at all, stdout as it comes."""
    if target != STANDARD_STREAM:
        save(blocks, target)
        return
    try:
        save(blocks, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # 'rowmill results … | head': click ends the process without a word
    except OSError as error:
        raise OutputError("stdout", error.strerror or str(error)) from error


def show(document: Mapping[str, object], text: str, *, is_json: bool) -> None:
    """Prints the server's document for programs, or the text for people."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False) if is_json else text)
