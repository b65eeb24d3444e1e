"""`rowmill models`: what the server says of models, and changes of a repository on this machine.

The latter come from whoever installs them, by entry points: this package speaks HTTP only.
"""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

import click

from rowmill.client import Client
from rowmill.options import json_option, show
from rowmill.tables import model_table, model_text

INSTALLED = "rowmill.models"
"""The group of entry points of commands that need more than HTTP."""


class ModelsGroup(click.Group):
    """Its own commands, and those that are installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        installed = (entry.name for entry in _installed())
        return sorted({*super().list_commands(ctx), *installed})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        found = [entry for entry in _installed() if entry.name == cmd_name]
        return own or (_loaded(found[0]) if found else None)


def _installed() -> Iterator[EntryPoint]:
    return iter(entry_points(group=INSTALLED))


def _loaded(entry: EntryPoint) -> click.Command:
    try:
        command: click.Command = entry.load()
        return command
    except ModuleNotFoundError as error:
        return _unavailable(entry.name, missing=error.name or "")


def _unavailable(name: str, *, missing: str) -> click.Command:
    """A command that says what it lacks."""

    def fail() -> None:
        raise click.ClickException(f"no module '{missing}'; run: pip install 'rowmill[worker]'")

    hint = "Not available here: it needs what a worker needs."
    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    return click.Command(name, callback=fail, help=hint, context_settings=anything)


@click.group(cls=ModelsGroup, invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context, *, is_json: bool) -> None:
    """List the models, look at one, or publish and roll out versions."""
    if context.invoked_subcommand is None:
        context.invoke(list_models, is_json=is_json)


@models.command("list")
@json_option
@click.pass_obj
def list_models(client: Client, *, is_json: bool) -> None:
    """List the models of the server."""
    found = client.models()
    document = {"models": [model.document for model in found]}
    show(document, model_table(found), is_json=is_json)


@models.command("show")
@click.argument("reference", metavar="NAME")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="First wait until jobs get this version, for so long at most; exit code 1 if it fails.",
)
@json_option
@click.pass_obj
def show_model(
    client: Client, reference: str, *, wait_seconds: float | None, is_json: bool
) -> None:
    """Show a model of the server: its input columns, and how each version does.

    NAME may be name@alias or name:version, too.

    \b
    rowmill models show churn:2 --wait 60    in a pipeline, behind 'publish'
    """
    if wait_seconds is None:
        model = client.model(reference)
    else:
        model = client.wait_until_served(reference, timeout=wait_seconds)
    show(model.document, model_text(model), is_json=is_json)
