"""The group that all commands hang on."""

import click

from rowmill.commands.failures import FailingGroup
from rowmill.commands.following import cancel, errors, jobs, results, status
from rowmill.commands.models import models
from rowmill.commands.predicting import predict, submit


@click.group(cls=FailingGroup)
@click.version_option(package_name="rowmill")
def root() -> None:
    """Score tables with the models of a Rowmill server.

    \b
    rowmill models
    rowmill predict petrol.csv --model petrol -o predictions.csv

    Exit codes: 0 good, 1 the request or the job failed, 2 wrong usage,
    3 some rows failed, 4 no server was reached.
    """


for command in (predict, submit, status, results, errors, cancel, jobs, models):
    root.add_command(command)
