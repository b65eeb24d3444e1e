"""`rowmill models`: what the server can score with."""

import click

from rowmill.client import Client
from rowmill.commands.options import json_option, show, with_client
from rowmill.tables import model_table, model_text


@click.command()
@click.argument("name", required=False)
@json_option
@with_client
def models(client: Client, name: str | None, *, is_json: bool) -> None:
    """List the models, or show NAME with its input columns."""
    if name is not None:
        model = client.model(name)
        show(model.document, model_text(model), is_json=is_json)
        return
    found = client.models()
    document = {"models": [model.document for model in found]}
    show(document, model_table(found), is_json=is_json)
