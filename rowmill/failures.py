"""Error class → exit code and the one line that a person reads."""

from enum import IntEnum
from typing import Any

import click

from rowmill.errors import InvalidUrlError, RowmillError, SourceError, TransportError


class ExitCode(IntEnum):
    """What the process says to its caller."""

    FAILED = 1
    USAGE = 2
    SOME_ROWS_FAILED = 3
    NO_SERVER = 4
    INTERRUPTED = 130


class FailingGroup(click.Group):
    """A group whose commands may raise the client's errors; each becomes one line."""

    # `Any`, as click declares it: whatever the command's function returns.
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RowmillError as error:
            click.echo("Error: " + " ".join(str(error).split()), err=True)
            raise click.exceptions.Exit(_exit_code(error)) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None


def _exit_code(error: RowmillError) -> ExitCode:
    if isinstance(error, TransportError):
        return ExitCode.NO_SERVER
    is_usage = isinstance(error, (InvalidUrlError, SourceError))
    return ExitCode.USAGE if is_usage else ExitCode.FAILED
