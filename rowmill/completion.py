"""Completion in shells: the script that turns it on, and names that only the server knows."""

from collections.abc import Callable, Iterator

import click
from click.shell_completion import BashComplete, CompletionItem, get_completion_class

from rowmill.client import DEFAULT_URL, Client
from rowmill.errors import RowmillError

TIMEOUT_SECONDS = 1.0
"""Somebody waits for the answer with a finger on the tab key."""

VARIABLE = "_ROWMILL_COMPLETE"
"""What the scripts set; click looks for it."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the script that completes commands, models and job ids in SHELL.

    \b
    eval "$(rowmill completion bash)"                        in ~/.bashrc
    eval "$(rowmill completion zsh)"                         in ~/.zshrc, after compinit
    rowmill completion fish > ~/.config/fish/completions/rowmill.fish
    """
    root = context.find_root().command
    known = get_completion_class(shell) or BashComplete
    click.echo(known(root, {}, "rowmill", VARIABLE).source())


def model_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Models of the server that begin so."""
    return [item for item in _silently(context, _models) if item.value.startswith(incomplete)]


def job_ids(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The newest jobs of the server that begin so."""
    return [item for item in _silently(context, _jobs) if item.value.startswith(incomplete)]


def _models(client: Client) -> Iterator[CompletionItem[str]]:
    return (CompletionItem(model.name, help=model.description) for model in client.models())


def _jobs(client: Client) -> Iterator[CompletionItem[str]]:
    jobs = client.jobs().jobs
    return (CompletionItem(job.id, help=f"{job.status} {job.model}") for job in jobs)


def _silently(
    context: click.Context, ask: Callable[[Client], Iterator[CompletionItem[str]]]
) -> list[CompletionItem[str]]:
    """What the server says; nothing if there is none: a message would land in the line typed."""
    given = context.find_root().params
    url, api_key = given.get("url") or DEFAULT_URL, given.get("api_key")
    try:
        with Client(url, api_key, timeout=TIMEOUT_SECONDS, patience=0) as client:
            return list(ask(client))
    except RowmillError:
        return []
