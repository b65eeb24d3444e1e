"""Error class → exit code and the one line that a person reads."""

from enum import IntEnum
from typing import Any

import click

from rowmill.errors import InvalidUrlError, RowmillError, SourceError, TransportError


class ExitCode(IntEnum):
    """What the process says to its caller."""

    GOOD = 0
    FAILED = 1
    USAGE = 2
    SOME_ROWS_FAILED = 3
    NO_SERVER = 4
    INTERRUPTED = 130


def exit_code_of(error: RowmillError) -> ExitCode:
    """The exit code an error ends the process with."""
    if isinstance(error, TransportError):
        return ExitCode.NO_SERVER
    if isinstance(error, (InvalidUrlError, SourceError)):
        return ExitCode.USAGE
    return ExitCode.FAILED


class FailingGroup(click.Group):
    """A group whose commands may raise the client's errors."""

    # `Any`, as click declares it: whatever the command's function returns.
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RowmillError as error:
            click.echo("Error: " + " ".join(str(error).split()), err=True)
            raise click.exceptions.Exit(exit_code_of(error)) from error
