"""The command line's root: the server it speaks to, and its commands."""

import click

from rowmill.client import DEFAULT_URL
from rowmill.completion import completion
from rowmill.failures import FailingGroup
from rowmill.job_commands import cancel, delete, errors, jobs, results, retry, status
from rowmill.model_commands import models
from rowmill.options import client_of
from rowmill.predict_commands import predict, submit
from rowmill.top_command import top


@click.group(cls=FailingGroup)
@click.option(
    "--url",
    envvar="ROWMILL_URL",
    show_envvar=True,
    default=DEFAULT_URL,
    show_default=True,
    help="The server.",
)
@click.option(
    "--api-key",
    envvar="ROWMILL_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="Where the server asks for one. In the environment nobody else sees it in the list of"
    " processes.",
)
@click.version_option(package_name="rowmill")
@click.pass_context
def root(context: click.Context, /, **_server: str | None) -> None:
    """Score tables with the models of a Rowmill server.

    \b
    rowmill models
    rowmill predict petrol.csv --model petrol -o predictions.csv

    \b
    Environment:
    ROWMILL_URL       the server, instead of --url
    ROWMILL_API_KEY   the API key, instead of --api-key

    \b
    Exit codes:
    0    good
    1    the request or the job failed
    2    wrong usage
    3    the job ended, and some rows failed
    4    no server was reached
    130  stopped with Ctrl-C
    """
    context.obj = context.with_resource(client_of(context))


for command in (
    predict, submit, status, results, errors, cancel, retry, delete, jobs, models, top, completion
):  # fmt: skip
    root.add_command(command)
