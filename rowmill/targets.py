"""Where predictions go: checked before any work is done, so that nothing is lost or overwritten."""

from pathlib import Path

import click

from rowmill.batch import Item
from rowmill.formats import Format, format_of
from rowmill.input_files import InputFiles, target_in
from rowmill.streams import STANDARD_STREAM, input_bytes

EXISTING = ("fail", "skip", "overwrite")
"""What may be done about a file that is there already."""


def target_of_one(source: str, target: str, *, format: Format | None, existing: str) -> str:
    """Where the predictions of the one input go. Raises UsageError for what can't be."""
    path = Path(target)
    if target == STANDARD_STREAM:
        return target
    if path.is_dir():
        if source == STANDARD_STREAM:
            raise click.UsageError(f"-o '{target}' is a directory; name a file for stdin's rows.")
        found = InputFiles(names=(source,), is_one=True)
        items = items_in(found, target, format=format or "csv", existing=existing)
        if not items:
            raise click.exceptions.Exit(0)
        return str(items[0].target)
    if not path.resolve().parent.is_dir():
        raise click.UsageError(f"There is no directory '{path.resolve().parent}'; create it first.")
    if source != STANDARD_STREAM and path.exists() and path.samefile(source):
        raise click.UsageError(f"-o '{target}' is the input itself; name another file.")
    return target


def items_in(files: InputFiles, target: str, *, format: Format, existing: str) -> list[Item]:
    """What to score into a directory, which is made. Raises UsageError for what can't be."""
    directory = Path(target)
    if target == STANDARD_STREAM:
        raise click.UsageError("Several inputs need a directory for their predictions: -o DIR.")
    if directory.exists() and not directory.is_dir():
        raise click.UsageError(f"-o '{target}' is a file; several inputs need a directory.")
    if not directory.exists() and format_of(target):
        raise click.UsageError(
            f"-o '{target}' is named like a file; several inputs need a directory, here or new."
        )
    for name in files.skipped:
        click.echo(f"{name}: skipped, it is the output of an earlier run.", err=True)
    items: dict[Path, Item] = {}
    for name in files.names:
        path = target_in(directory, name, format)
        if path in items:
            both = f"'{items[path].source}' and '{name}'"
            raise click.UsageError(f"{both} would both be written to '{path}'; score them apart.")
        items[path] = Item(source=name, target=path, size_bytes=input_bytes(name) or 0)
    there = [path for path in items if path.exists()]
    if there and existing == "fail":
        raise click.UsageError(
            f"'{there[0]}' is there already; add --existing skip or --existing overwrite."
        )
    directory.mkdir(parents=True, exist_ok=True)
    for path in there if existing == "skip" else ():
        click.echo(f"{items.pop(path).source}: skipped, '{path}' is there already.", err=True)
    return list(items.values())
