"""Results on their way into a file: a reader sees the old file or the whole new one."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rowmill.errors import OutputError


def save(blocks: Iterable[bytes], path: str | os.PathLike[str]) -> None:
    """Writes all blocks to a file that is there only when it is whole.

    If anything fails, a file at the path stays as it was. A path that is no regular file, such as
    a pipe, is written to directly. Raises `OutputError` and what the blocks raise.
    """
    path = Path(path)
    is_special = path.exists() and not path.is_file()
    try:
        # Resolved, so a link stays a link: the file behind it is replaced.
        with path.open("wb") if is_special else _aside(path.resolve()) as file:
            write(blocks, file)
    except OSError as error:
        raise OutputError(str(path), error.strerror or str(error)) from error


def write(blocks: Iterable[bytes], file: BinaryIO) -> None:
    """Writes all blocks to an open file, each as it comes: somebody may be watching."""
    for block in blocks:
        file.write(block)
        file.flush()


@contextmanager
def _aside(path: Path) -> Iterator[BinaryIO]:
    """A hidden file in the same directory that takes the path's place if all goes well."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with aside.open("xb") as file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
