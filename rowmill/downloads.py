"""Results on their way into a file: a reader sees the old file or the whole new one."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rowmill.errors import OutputError

Target = str | os.PathLike[str] | BinaryIO
"""A path, or a file opened in binary mode."""


def save(blocks: Iterable[bytes], target: Target) -> int:
    """Writes all blocks and gives their bytes. A path gets its file at the end, atomically.

    If anything fails, a file at the path stays as it was. A path that is no regular file, such as
    a pipe, is written to directly. Raises `OutputError` and what the blocks raise.
    """
    if not isinstance(target, (str, os.PathLike)):
        return _write(blocks, target)
    path = Path(target).resolve()  # a link stays a link: the file behind it is replaced
    with _writing(path), _file_for(path) as file:
        return _write(blocks, file)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(str(path), error.strerror or str(error)) from error


@contextmanager
def _file_for(path: Path) -> Iterator[BinaryIO]:
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
    else:
        with _aside(path) as file:
            yield file


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


def _write(blocks: Iterable[bytes], file: BinaryIO) -> int:
    written_bytes = 0
    for block in blocks:
        file.write(block)
        written_bytes += len(block)
    return written_bytes
