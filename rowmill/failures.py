"""Error class → exit code and the one line that a person reads."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError

from rowmill.errors import (
    InvalidApiKeyError,
    InvalidUrlError,
    ProblemError,
    RowmillError,
    SourceError,
    TransportError,
)
from rowmill.tables import printable

ADVICE = {
    "header_mismatch": {
        "?delimiter=%3B": "--delimiter ';'",
        "?delimiter=%09": "--delimiter tab",
        "?delimiter=%7C": "--delimiter '|'",
        "?delimiter=%2C": "--delimiter ','",
    },
    "unauthorized": {"set ROWMILL_API_KEY, or give Client an api_key": "set ROWMILL_API_KEY"},
    "job_not_found": {"GET /jobs": "'rowmill jobs'"},
    "model_not_found": {"?model=": "--model NAME"},
}
"""Of a problem's code: what the server says in HTTP, and how the command line calls it. Of a server
that says it otherwise the message stays as it came."""


class ExitCode(IntEnum):
    """What the process says to its caller."""

    FAILED = 1
    USAGE = 2
    SOME_ROWS_FAILED = 3
    NO_SERVER = 4
    INTERRUPTED = 130


class FailingGroup(click.Group):
    """A group whose commands may raise the client's errors; each becomes one line.

    So does wrong usage, for which click has four.
    """

    # `Any`, as click declares it: settings of the context.
    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        with _one_line_failures(), _one_line_usage():
            return super().make_context(*arguments, **settings)

    # `Any`, as click declares it: whatever the command's function returns.
    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_failures(), _one_line_usage():
            return super().invoke(ctx)


class WrongUsageError(click.ClickException):
    """A `click.UsageError` that is shown in one line."""

    exit_code = ExitCode.USAGE


@contextmanager
def _one_line_failures() -> Iterator[None]:
    try:
        yield
    except RowmillError as error:
        click.echo(f"Error: {one_line(error)}", err=True)
        raise click.exceptions.Exit(exit_code_of(error)) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    except UnicodeEncodeError as error:
        click.echo(f"Error: {error.object!a} is no text that could be sent.", err=True)
        raise click.exceptions.Exit(ExitCode.USAGE) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # the reader of a pipe has gone: click ends the process without a word
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"Error: {error.strerror or error}{where}.", err=True)
        raise click.exceptions.Exit(ExitCode.FAILED) from error


@contextmanager
def _one_line_usage() -> Iterator[None]:
    try:
        yield
    except NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "rowmill"
        said = " ".join(error.format_message().split())
        raise WrongUsageError(f"{said} See '{command} --help'.") from error


def one_line(error: RowmillError) -> str:
    """What the error says, without line ends and in words of the command line."""
    said = " ".join(str(error).split())
    advice = ADVICE.get(error.code, {}) if isinstance(error, ProblemError) else {}
    for of_http, of_ours in advice.items():
        said = said.replace(of_http, of_ours)
    return printable(said)


def exit_code_of(error: RowmillError) -> ExitCode:
    """What the process says when a command ends with this error."""
    if isinstance(error, TransportError):
        return ExitCode.NO_SERVER
    is_usage = isinstance(error, (InvalidUrlError, InvalidApiKeyError, SourceError))
    return ExitCode.USAGE if is_usage else ExitCode.FAILED
