"""Options that commands on a model repository share, and what their texts mean."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import click

from shared.manifest import NAME_PATTERN

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

repository_option = click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The model repository.  [default: ROWMILL_MODELS_DIR, else ./models]",
)
json_option = click.option("--json", "is_json", is_flag=True, help="JSON, for programs, instead.")


def parse_metrics(_context: object, _option: object, texts: Sequence[str]) -> dict[str, float]:
    """Raises BadParameter for what is not like r2=0.93."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise click.BadParameter(f"'{text}' is not like r2=0.93.")
        found[name] = number
    return found


def check_alias_names(_context: object, _option: object, names: Sequence[str]) -> Sequence[str]:
    """Raises BadParameter, before anything is published."""
    for name in names:
        if not re.fullmatch(NAME_PATTERN, name):
            raise click.BadParameter(f"'{name}' can't name an alias; use a-z, 0-9, '-' and '_'.")
    return names
