"""What the commands on a model repository print: lines for people, JSON for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import click
from pydantic import ValidationError

from shared.errors import ModelError


def show(document: Mapping[str, object], lines: Sequence[Sequence[str]], *, is_json: bool) -> None:
    """Prints one or the other, the cells of lines in columns."""
    if is_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Rowmill's errors as the command line shows its own."""
    try:
        yield
    except ModelError as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    except ValidationError as error:
        wrong = error.errors()[0]
        name = "_".join(map(str, ("rowmill", *wrong["loc"]))).upper()
        raise click.ClickException(f"The setting {name} is not usable: {wrong['msg']}.") from error
