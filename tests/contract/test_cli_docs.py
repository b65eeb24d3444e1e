"""The command line reference names the commands and options there are, and nothing else."""

import re
from collections.abc import Iterator

import click
import pytest

from rowmill.commands import root
from rowmill.failures import ExitCode
from tests.contract import documents
from tests.contract.documents import DOCS

PAGE = DOCS / "reference/cli.md"


def commands(command: click.Command, path: str = "rowmill") -> Iterator[tuple[str, click.Command]]:
    """All commands below this one by their whole names."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield f"{path} {name}", found
            yield from commands(found, f"{path} {name}")


COMMANDS = dict(commands(root))


def options(command: click.Command) -> set[str]:
    return {
        name
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }


def documented(heading: str) -> set[str]:
    """The options in the tables below a heading."""
    return {name for name in documents.names(PAGE, heading) if re.match("--?[a-z]", name)}


def test_every_command_has_a_heading_and_every_heading_a_command() -> None:
    headings = re.findall(r"^##+ `(rowmill [\w ]+)`$", PAGE.read_text(), re.MULTILINE)

    assert len(headings) == len(set(headings))
    assert set(headings) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_its_table_and_nothing_else(name: str) -> None:
    assert documented(f"`{name}`") == options(COMMANDS[name])


def test_the_options_of_all_commands_are_in_their_table() -> None:
    assert documented("Options of every command") == options(root) | {"--help"}


def test_every_exit_code_is_in_the_reference_and_in_the_help() -> None:
    codes = {0, *map(int, ExitCode)}

    assert {int(code) for code in documents.names(PAGE, "Exit codes")} == codes
    assert {int(code) for code in re.findall(r"^ *(\d+) ", root.help or "", re.M)} == codes


def test_every_variable_is_in_the_reference_and_in_the_help() -> None:
    variables = {
        option.envvar
        for option in root.params
        if isinstance(option, click.Option) and option.envvar
    }

    assert set(documents.names(PAGE, "Environment")) == variables
    assert all(str(variable) in (root.help or "") for variable in variables)
