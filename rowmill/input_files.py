"""What the command line is given to score → the files meant, and where their predictions go."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rowmill.errors import SourceError
from rowmill.formats import SUFFIXES, Format, format_of, plain
from rowmill.streams import STANDARD_STREAM

MARK = ".predictions"
"""Ends the stem of what was written for an input, so that it isn't taken for one."""


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """The files that some arguments mean."""

    names: tuple[str, ...]
    """Paths in the order given, each once; or `-`, alone."""
    skipped: tuple[str, ...] = ()
    """Outputs of an earlier run that lie among them."""
    is_one: bool
    """Whether one file was named, so that `-o` names one, too."""


def input_files(arguments: Sequence[str]) -> InputFiles:
    """The files meant by paths, patterns and directories. Raises SourceError if there is none."""
    if len(arguments) == 1 and _is_one(arguments[0]):
        return InputFiles(names=(arguments[0],), is_one=True)
    found = dict.fromkeys(name for argument in arguments for name in _meant(argument))
    skipped = tuple(name for name in found if is_output(name))
    names = tuple(name for name in found if name not in skipped)
    if not names:
        raise SourceError(" ".join(arguments), "there are only outputs of an earlier run")
    return InputFiles(names=names, skipped=skipped, is_one=False)


def is_output(name: str) -> bool:
    """Whether the name is one that `target_in` gives."""
    return Path(name).stem.endswith(MARK) and format_of(name) is not None


def target_in(directory: Path, name: str, format: Format) -> Path:
    """Where the predictions of an input go: `data.csv.gz` → `data.predictions.csv`."""
    return directory / f"{Path(plain(name)).stem}{MARK}.{format}"


def _is_one(argument: str) -> bool:
    path = Path(argument)
    # A pipe, as bash's <(…) gives, is no regular file.
    return argument == STANDARD_STREAM or (path.exists() and not path.is_dir())


def _meant(argument: str) -> Iterator[str]:
    """Raises SourceError for what means nothing."""
    path = Path(argument)
    if argument == STANDARD_STREAM:
        raise SourceError("stdin", "it can't be one of several inputs; name it alone")
    if path.is_dir():
        files = [str(each) for each in _listed(path) if _is_table(each)]
        reason = f"it holds no {', '.join(f'*{suffix}' for suffix in SUFFIXES)} or *.gz of them"
    elif path.exists():
        files, reason = [argument], ""
    elif glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))
        files, reason = [name for name in matches if Path(name).is_file()], "no file matches it"
    else:
        files, reason = [], "it does not exist; give a file, a directory or a quoted pattern"
    if not files:
        raise SourceError(f"'{argument}'", reason)
    yield from files


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise SourceError(f"'{directory}'", error.strerror or str(error)) from error


def _is_table(path: Path) -> bool:
    is_named = format_of(path.name) is not None and not path.name.startswith(".")
    return is_named and path.is_file()
